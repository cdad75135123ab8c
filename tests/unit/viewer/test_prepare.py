"""How the image's build makes the viewer's folder, with a package of a few lines instead of OHIF's 200 MB."""

import base64
import gzip
import hashlib
import importlib.util
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.paths import ROOT

PROGRAM = ROOT / "images" / "label-server" / "viewer" / "prepare.py"
LOCK = PROGRAM.with_name("viewer.lock")
spec = importlib.util.spec_from_file_location("prepare", PROGRAM)
assert spec and spec.loader
prepare = importlib.util.module_from_spec(spec)
spec.loader.exec_module(prepare)

PAGE = "".join(
    (
        *(f'<link href="/assets/{number}.png">' for number in range(32)),
        *('<script>window.PUBLIC_URL="/";</script>' for _ in range(2)),
        '<script defer="defer" src="/init-service-worker.js"></script>',
        '<a href="https://other.example/">',
    )
)
WORKER = '/*! worker, MIT */\nx = () => { __webpack_require__.p = "/"; };\n'
SHADER = '"/* Copyright (c) shader\\n  BSD */ void main() {}"\n'
FILES = {
    "index.html": PAGE,
    "app.bundle.css": "a { background: url(/a.png) }\n" * 5,
    "app.bundle.js": WORKER + "/** @license React v18\n * MIT */\n/* no matter */ // copyright\n",
    **{f"{number}.bundle.js": WORKER for number in range(7)},
    "other.bundle.js": SHADER,
    "manifest.json": '{"icons": [{"src": "/assets/a.png"}]}',
    "assets/browserconfig.xml": '<square src="/assets/b.png"/>',
    "assets/a.png": "picture",
    **{name + "model.bin" if name.endswith("/") else name: "not needed" for name in prepare._LEFT_OUT},
}


class Npm:
    """A package as npm fetches it, and its lock."""

    def __init__(self, folder: Path) -> None:
        self.files = dict(FILES)
        self.lock, self.package, self.made = folder / "viewer.lock", folder / "app.tgz", folder / "ohif"

    def pack(self) -> None:
        with tarfile.open(self.package, "w:gz") as archive:
            for name, text in {
                "package/LICENSE": "MIT",
                **{f"package/dist/{k}": v for k, v in self.files.items()},
            }.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))
        digest = base64.b64encode(hashlib.sha512(self.package.read_bytes()).digest()).decode()
        self.lock.write_text(json.dumps({"package": "@ohif/app", "version": "3", "integrity": f"sha512-{digest}"}))

    def prepare(self) -> dict[str, bytes]:
        """Make the folder; its files by name."""
        self.pack()
        prepare.main(self.lock, self.package, self.made)
        return self.read()

    def read(self) -> dict[str, bytes]:
        files = [file for file in self.made.rglob("*") if file.is_file()]
        return {str(file.relative_to(self.made)): file.read_bytes() for file in files}


@pytest.fixture
def npm(tmp_path: Path) -> Npm:
    return Npm(tmp_path)


def test_what_names_the_address_is_rewritten(npm):
    made = {name: content.decode() for name, content in npm.prepare().items() if not name.endswith(".gz")}
    assert made["index.html"].count('href="/ohif/assets/') == 32
    assert made["index.html"].count('window.PUBLIC_URL="/ohif/"') == 2
    assert 'href="https://other.example/"' in made["index.html"]
    assert made["app.bundle.css"].count("url(/ohif/a.png)") == 5
    scripts = [name for name, text in made.items() if '__webpack_require__.p = "/ohif/"' in text]
    assert sorted(scripts) == sorted(["app.bundle.js", *(f"{number}.bundle.js" for number in range(7))])
    assert made["manifest.json"] == '{"icons": [{"src": "/ohif/assets/a.png"}]}'
    assert made["assets/browserconfig.xml"] == '<square src="/ohif/assets/b.png"/>'


def test_what_is_not_needed_is_left_out(npm):
    made = npm.prepare()
    assert not [name for name in made if name.removesuffix(".gz").startswith(prepare._LEFT_OUT)]
    assert b"init-service-worker" not in made["index.html"] and b"not needed" not in b"".join(made.values())


def test_packed_files_are_the_files_themselves(npm):
    made = npm.prepare()
    packed = {name: gzip.decompress(content) for name, content in made.items() if name.endswith(".gz")}
    assert packed == {f"{name}.gz": made[name] for name in made if f"{name}.gz" in made}
    assert {"index.html.gz", "app.bundle.js.gz", "app.bundle.css.gz", "manifest.json.gz"} <= set(packed)
    assert "assets/a.png.gz" not in packed


def test_the_same_package_gives_the_same_files_at_another_time(npm, tmp_path, monkeypatch):
    npm.pack()
    made = []
    for hour in (1, 2):
        monkeypatch.setattr("time.time", lambda hour=hour: 3600.0 * hour)
        npm.made = tmp_path / f"made{hour}"
        prepare.main(npm.lock, npm.package, npm.made)
        made.append(npm.read())
    assert made[0] == made[1]


def test_licences_are_kept(npm):
    """OHIF's own, and what the scripts say of their parts: once, and no other comment."""
    made = npm.prepare()
    assert made["LICENSE"] == b"MIT" and made["viewer.lock"] == npm.lock.read_bytes()
    comments = ["/*! worker, MIT */", "/** @license React v18\n * MIT */", "/* Copyright (c) shader\n  BSD */"]
    assert made["NOTICES.txt"].decode() == "".join(f"{each}\n\n" for each in comments)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("index.html", lambda text: text + '<img src="/new.png">', "index.html has 34 times, not 33 times"),
        ("index.html", lambda text: text.replace('window.PUBLIC_URL="/"', "", 1), "index.html has 1 times, not 2"),
        ("index.html", lambda text: text.replace("init-service-worker", "init-sw"), "index.html has 0 times, not 1"),
        ("app.bundle.css", lambda text: text + "b { background: url(/b.png) }", "app.bundle.css has 6 times, not 5"),
        ("0.bundle.js", lambda text: text * 2, "0.bundle.js has 2 times, not 1"),
        ("0.bundle.js", lambda _: "", "7 scripts say where they lie, not 8"),
        ("9.bundle.js", lambda _: WORKER, "9 scripts say where they lie, not 8"),
    ],
    ids=["a link", "the public path", "the service worker", "a picture", "twice", "a script less", "a script more"],
)
def test_another_versions_files_are_refused_by_name(npm, name: str, change: Callable[[str], str], said: str):
    npm.files[name] = change(npm.files.get(name, ""))
    with pytest.raises(ValueError, match=said):
        npm.prepare()
    assert not npm.made.exists()


def test_another_package_than_the_locks_is_refused(npm):
    npm.pack()
    npm.package.write_bytes(npm.package.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"app\.tgz is not the package that viewer\.lock names"):
        prepare.main(npm.lock, npm.package, npm.made)
    assert not npm.made.exists()


def test_it_names_the_package_for_npm():
    done = subprocess.run([sys.executable, PROGRAM, "--name", LOCK], capture_output=True, text=True, check=True)
    assert done.stdout == "{package}@{version}\n".format(**json.loads(LOCK.read_text()))


def test_the_lock_pins_one_version_by_its_integrity():
    lock = json.loads(LOCK.read_text())
    algorithm, _, digest = lock["integrity"].partition("-")
    assert algorithm == "sha512" and len(base64.b64decode(digest, validate=True)) == 64
    assert all(part.isdigit() for part in lock["version"].split(".")) and lock["licence"] == "MIT"
