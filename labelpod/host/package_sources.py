"""Where packages come from: the machine's own apt, pip and npm configuration, handed to image builds.

No index and no mirror is named here. A site's mirrors, proxies, logins and certificate authority reach a
build as BuildKit secrets, so that none of them stays in an image.
"""

import ast
import functools
import os
import shutil
import sys
from pathlib import Path

from labelpod import process
from labelpod.host import npm_config, os_release

CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
# The parts of apt's configuration that say how packages are fetched; certificates come with the CA bundle.
_APT_KEYS = ("Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries")
_APT_LOCAL_FILES = ("CaInfo", "CaPath", "SslCert", "SslKey", "Proxy-Auto-Detect", "ProxyAutoDetect")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def build_arguments() -> dict[str, str]:
    """Proxy variables, which BuildKit keeps out of the image's history by itself."""
    return {name: os.environ[name] for name in _PROXIES if os.environ.get(name)}


def write_secrets(folder: Path, codename: str) -> dict[str, Path]:
    """Write what a build needs to know of the machine's package sources.

    Args:
        folder: a private temporary folder.
        codename: the Debian release of the image, for example bookworm.

    Returns:
        Secret id -> file. Ids without a file are left out; the builds do without them.

    """
    texts = {"apt_conf": _apt_conf(), "uv_config": _uv_config(), "pip_config": _pip_config()}
    texts["npm_config"] = npm_config.text()
    if sources := debian_sources(codename):
        texts["apt_sources"] = "\n".join(sources) + "\n"
        texts["apt_conf"] += 'Dir::Etc::sourcelist "/run/apt/labelpod.list";\nDir::Etc::sourceparts "/dev/null";\n'
    secrets: dict[str, Path] = {}
    if bundle := ca_bundle():
        secrets["ca_bundle"] = bundle
        texts["apt_conf"] += 'Acquire::https::CaInfo "/run/apt/ca.crt";\n'
    for name, text in texts.items():
        if text:
            secrets[name] = folder / name
            secrets[name].write_text(text, encoding="utf-8")
    return secrets


def ca_bundle() -> Path | None:
    """The machine's certificate authorities; a proxy that opens TLS has its own among them."""
    named = [os.environ.get("SSL_CERT_FILE"), _pip_settings().get("cert")]
    for path in [Path(name) for name in named if name] + [CA_BUNDLE]:
        if path.is_file():
            return path
    return None


def debian_sources(codename: str) -> list[str]:
    """Lines of a sources.list for one Debian release, from the machine's own; none on other systems."""
    if not shutil.which("apt-get"):
        return []
    listed = _output("apt-get", "indextargets", "--format", "$(ORIGIN)|$(REPO_URI)|$(RELEASE)", "Created-By: Packages")
    key = "signed-by=/usr/share/keyrings/debian-archive-keyring.gpg"
    lines = []
    for origin, uri, release in (line.split("|") for line in listed.splitlines() if line.count("|") == 2):
        if not origin.startswith("Debian"):
            continue
        name, dash, pocket = release.partition("-")
        if name == debian_codename():
            lines.append(f"deb [{key}] {uri} {codename}{dash}{pocket} main")
    return sorted(set(lines))


def debian_codename() -> str:
    """Code name of the Debian release this machine runs, "" on other systems."""
    values = os_release.of_this_machine()
    return values.get("VERSION_CODENAME", "") if values.get("ID") == "debian" else ""


def distribution() -> str:
    """Debian's code name, or "ubuntu", or "" on other systems."""
    return debian_codename() or ("ubuntu" if os_release.of_this_machine().get("ID") == "ubuntu" else "")


def pip_environment() -> dict[str, str]:
    """Where packages come from, as variables for a pip that does not see this machine's files."""
    keys = ("index-url", "extra-index-url", "find-links", "trusted-host")
    settings = _pip_settings()
    return {f"PIP_{key.upper().replace('-', '_')}": settings[key] for key in keys if key in settings}


def left_out() -> list[str]:
    """Package folders of pip's configuration that a build cannot see, because they lie on this machine."""
    return [source for source in _package_locations() if not source.startswith(("http://", "https://"))]


def _apt_conf() -> str:
    if not shutil.which("apt-config"):
        return ""
    lines = [
        line
        for line in _output("apt-config", "dump", "Acquire").splitlines()
        if line.startswith(_APT_KEYS)
        and not line.endswith(' "";')
        and not any(key.lower() in line.lower() for key in _APT_LOCAL_FILES)
    ]
    return "".join(f"{line}\n" for line in lines)


def _uv_config() -> str:
    """Pip's indexes in uv's words; with every package pinned by hash, any index may serve any package."""
    settings = _pip_settings()
    lines = []
    if (index := settings.get("index-url", "")).startswith("http"):
        lines.append(f'index-url = "{index}"')
    lines += [
        f"{uv} = {_list(settings.get(pip, ''))}"
        for pip, uv in (("extra-index-url", "extra-index-url"), ("find-links", "find-links"))
        if _list(settings.get(pip, "")) != "[]"
    ]
    if hosts := settings.get("trusted-host", "").split():
        lines.append("allow-insecure-host = [" + ", ".join(f'"{host}"' for host in hosts) + "]")
    lines.append('index-strategy = "unsafe-best-match"')
    return "\n".join(lines) + "\n"


def _pip_config() -> str:
    settings = _pip_settings()
    lines = [
        f"{key} = {' '.join(places)}"
        for key in ("index-url", "extra-index-url", "find-links")
        if (places := [each for each in settings.get(key, "").split() if each.startswith("http")])
    ]
    if hosts := settings.get("trusted-host"):
        lines.append(f"trusted-host = {hosts}")
    return "\n".join(["[global]", *lines]) + "\n"


def _list(text: str) -> str:
    return "[" + ", ".join(f'"{each}"' for each in text.split() if each.startswith("http")) + "]"


def _package_locations() -> list[str]:
    settings = _pip_settings()
    keys = ("index-url", "extra-index-url", "find-links")
    return [place for key in keys for place in settings.get(key, "").split()]


def _pip_settings() -> dict[str, str]:
    """What `pip config list` says; the environment wins over pip's files, as in pip."""
    lines = [
        line.partition("=")
        for line in _output(sys.executable, "-P", "-m", "pip", "config", "list").splitlines()
        if "=" in line
    ]
    lines.sort(key=lambda parts: parts[0].startswith(":env:"))
    return {name.rpartition(".")[2]: str(ast.literal_eval(value)) for name, _, value in lines}


@functools.cache
def _output(*command: str) -> str:
    """What pip or apt answers; each question takes them up to a second, and is asked once."""
    result = process.run(*command)
    return result.stdout if result.returncode == 0 else ""


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
