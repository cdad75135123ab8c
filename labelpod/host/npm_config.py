"""Where npm's packages come from: the machine's own npm configuration, handed to the label server's build."""

import os
import re
from pathlib import Path

_SYSTEM = (Path("/etc/npmrc"), Path("/usr/etc/npmrc"), Path("/usr/local/etc/npmrc"))
# A registry, one of a scope, a login at a registry, and proxies. Certificates come with the CA bundle.
_KEY = re.compile(r"registry|@[^:]+:registry|//.+:(_authToken|_auth|username|_password)|proxy|https-proxy|noproxy")
_FROM_ENVIRONMENT = ("registry", "proxy", "https_proxy", "noproxy")
_VARIABLE = re.compile(r"\$\{([^}]+)\}")


def text() -> str:
    """An npmrc of what npm on this machine would use, "" if nothing is set; npm itself need not be there."""
    return "".join(f"{key}={value}\n" for key, value in sorted(_found().items()))


def registry(scope: str) -> str:
    """The registry that is set for a scope's packages, "" if npm takes its own."""
    found = _found()
    return found.get(f"{scope}:registry") or found.get("registry", "")


def _found() -> dict[str, str]:
    found: dict[str, str] = {}
    for file in (*_SYSTEM, Path(_from_environment("userconfig") or "~/.npmrc").expanduser()):
        found |= _settings(file)
    for name in _FROM_ENVIRONMENT:
        if value := _from_environment(name):
            found[name.replace("_", "-")] = value
    return found


def _from_environment(name: str) -> str:
    """What a variable of npm's says, "" if it is not set; npm writes them small and takes them large, too."""
    return os.environ.get(f"npm_config_{name}") or os.environ.get(f"NPM_CONFIG_{name.upper()}") or ""


def _settings(file: Path) -> dict[str, str]:
    """The lines of an npmrc that a build needs."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = ((key.strip(), value.strip()) for key, sign, value in (line.partition("=") for line in lines) if sign)
    return {key: _VARIABLE.sub(_value, value) for key, value in pairs if _KEY.fullmatch(key)}


def _value(variable: re.Match[str]) -> str:
    """A variable of the environment, which npm leaves as it is written if it is not set."""
    return os.environ.get(variable[1], variable[0])
