"""Makes the viewer's folder of OHIF's package from npm: what CT needs of it, below /ohif/, packed for browsers.

Nothing of OHIF is built: its published files are rewritten in the few places that name their own address. Each place
is counted, so that another version fails here and not in somebody's browser.
"""

import base64
import gzip
import hashlib
import json
import re
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

ADDRESS = "/ohif/"
# A model that runs in the browser and asks another host for its weights; microscopy; what only unregisters service
# workers, logs in at other servers, or fills in for browsers of ten years ago.
_LEFT_OUT = ("ort/", "dicom-microscopy-viewer/", "app-config.js", "es6-shim.min.js", "google.js")
_LEFT_OUT += ("init-service-worker.js", "oidc-client.min.js", "polyfill.min.js", "sw.js")
# File -> what to write in another way, in which other way, how often it is there.
_PAGE = (
    (r'((?:href|src|content)=")/', rf"\1{ADDRESS}", 33),
    (r'window\.PUBLIC_URL="/"', f'window.PUBLIC_URL="{ADDRESS}"', 2),
    (r'<script [^>]*src="[^"]*init-service-worker\.js"></script>', "", 1),
)
_STYLES = ((r"url\(/", f"url({ADDRESS}", 5),)
_PUBLIC_PATH = '__webpack_require__.p = "/"'
_SCRIPTS = 8  # that say so: the application, and seven that are workers
_COMMENT = re.compile(r"/\*(?:(?!/\*).)*?\*/", re.DOTALL)
_OF_A_LICENCE = re.compile(r"/\*!|@licen[cs]e|\bcopyright\b|\blicen[cs]ed under\b", re.IGNORECASE)
_PACKED = (".css", ".html", ".js", ".json", ".svg", ".wasm", ".xml")


def main(lock: Path, package: Path, folder: Path) -> None:
    """Make the folder.

    Args:
        lock: names the package, its version and its integrity.
        package: as npm fetched it, a .tgz.
        folder: to make.

    Raises:
        ValueError: it is another package, or another version's files.

    """
    wanted = json.loads(lock.read_text())["integrity"]
    algorithm, _, digest = wanted.partition("-")
    if base64.b64encode(hashlib.new(algorithm, package.read_bytes()).digest()).decode() != digest:
        raise ValueError(f"{package.name} is not the package that {lock.name} names")
    with tempfile.TemporaryDirectory(dir=folder.parent) as parent:
        with tarfile.open(package) as archive:
            archive.extractall(parent)  # noqa: S202 - the very package that is named
        unpacked = Path(parent, "package")
        prepare(unpacked / "dist")
        shutil.copy(unpacked / "LICENSE", unpacked / "dist" / "LICENSE")
        shutil.copy(lock, unpacked / "dist" / "viewer.lock")  # for who lists what is in the image
        (unpacked / "dist" / "NOTICES.txt").write_text(notices(unpacked / "dist"))
        shutil.move(unpacked / "dist", folder)
    for file in _files(folder):
        if file.suffix in _PACKED:
            file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes(), 9, mtime=0))


def prepare(folder: Path) -> None:
    """Leave out what is not needed, and write the address into the rest. Raises ValueError as `main`."""
    for name in _LEFT_OUT:
        path = folder / name
        shutil.rmtree(path) if name.endswith("/") else path.unlink()
    _rewrite(folder / "index.html", _PAGE)
    _rewrite(folder / "app.bundle.css", _STYLES)
    for name in ("manifest.json", "assets/browserconfig.xml"):
        path = folder / name
        path.write_text(path.read_text().replace('"/assets/', f'"{ADDRESS}assets/'))
    scripts = [file for file in folder.glob("*.js") if _PUBLIC_PATH in file.read_text()]
    if len(scripts) != _SCRIPTS:
        raise ValueError(f"{len(scripts)} scripts say where they lie, not {_SCRIPTS}")
    for file in scripts:
        _rewrite(file, ((re.escape(_PUBLIC_PATH), _PUBLIC_PATH.replace('"/"', f'"{ADDRESS}"'), 1),))


def notices(folder: Path) -> str:
    """What the scripts say of who made their parts and under which licence, each comment once."""
    found: dict[str, None] = {}
    for file in sorted(folder.glob("*.js")):
        comments = _COMMENT.findall(file.read_text())
        found |= dict.fromkeys(each for each in comments if _OF_A_LICENCE.search(each))
    return "".join(f"{each}\n\n" for each in found).replace("\\n", "\n")  # some are in texts of programs for GPUs


def _rewrite(file: Path, changes: tuple[tuple[str, str, int], ...]) -> None:
    text = file.read_text()
    for pattern, new, count in changes:
        text, found = re.subn(pattern, new, text)
        if found != count:
            raise ValueError(f"{file.name} has {found} times, not {count} times: {pattern}")
    file.write_text(text)


def _files(folder: Path) -> Iterator[Path]:
    return (each for each in sorted(folder.rglob("*")) if each.is_file())


if __name__ == "__main__":
    if sys.argv[1] == "--name":
        print("{package}@{version}".format(**json.loads(Path(sys.argv[2]).read_text())))
    else:
        main(*map(Path, sys.argv[1:]))
