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
    home = os.environ.get("NPM_CONFIG_USERCONFIG") or os.environ.get("npm_config_userconfig") or "~/.npmrc"
    found: dict[str, str] = {}
    for file in (*_SYSTEM, Path(home).expanduser()):
        found |= _settings(file)
    for name in _FROM_ENVIRONMENT:
        for variable in (f"npm_config_{name}", f"NPM_CONFIG_{name.upper()}"):
            if value := os.environ.get(variable):
                found[name.replace("_", "-")] = value
    return "".join(f"{key}={value}\n" for key, value in sorted(found.items()))


def _settings(file: Path) -> dict[str, str]:
    """The lines of an npmrc that a build needs."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = ((key.strip(), value.strip()) for key, sign, value in (line.partition("=") for line in lines) if sign)
    return {key: _VARIABLE.sub(_value, value) for key, value in pairs if _KEY.fullmatch(key)}


def _value(variable: re.Match[str]) -> str:
    """A variable of the environment, which npm leaves as it is written if it is not set."""
    return os.environ.get(variable[1], variable[0])
