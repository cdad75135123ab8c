"""The viewer's files: OHIF's, which a small folder stands in for, and ours beside them."""

import gzip
import os
import re
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from label_server.web import ohif
from label_server.web.gateway import Gateway
from tests.support import web
from tests.support.web import Server

PAGE = """<!doctype html><html><head><script>window.PUBLIC_URL="/ohif/";</script>
<script type="module">const two = 2;</script><script src="/ohif/app-config.js"></script></head><body></body></html>"""
BUNDLE = b"// the application, " + bytes(range(32, 127)) * 20
FILES = {
    "index.html": PAGE.encode(),
    "app.bundle.js": BUNDLE,
    "app.bundle.css": b"body { color: black }",
    "codec.wasm": b"\0asm\1\0\0\0",
    "manifest.json": b"{}",
    "assets/favicon.ico": b"\0\0\1\0",
}
PACKED = ("app.bundle.js", "codec.wasm")
# Of this folder's parent, which nobody may read.
OUTSIDE = "a word that is outside"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A viewer's folder; packed files are a moment younger, as in the image."""
    folder = tmp_path / "ohif"
    (folder / "assets").mkdir(parents=True)
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    for name in PACKED:
        packed = folder / f"{name}.gz"
        packed.write_bytes(gzip.compress(FILES[name], mtime=0))
        os.utime(packed, (packed.stat().st_mtime + 2,) * 2)
    (tmp_path / "outside.txt").write_text(OUTSIDE)
    (folder / "link.txt").symlink_to(tmp_path / "outside.txt")
    return folder


@pytest.fixture
def viewer(folder: Path, tmp_path: Path) -> Iterator[Server]:
    """The gate with the viewer behind it, and nothing else."""
    inner = Starlette(routes=[Mount("/ohif", ohif.OhifFiles(folder))])
    with TestClient(Gateway(inner, web.users(tmp_path), open_on_loopback=False)) as client:
        yield Server(client)


def raw(viewer: Server, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body as they are sent: nothing is unpacked."""
    said = {"Authorization": f"Bearer {web.TOKENS['anna']}"} | {
        name.replace("_", "-"): text for name, text in headers.items()
    }
    with viewer.client.stream(method, f"http://testserver/ohif/{path}", headers=said) as answer:
        return answer.status_code, dict(answer.headers), b"".join(answer.iter_raw())


def policy(viewer: Server, path: str) -> dict[str, set[str]]:
    directives = viewer.ask("GET", path, "anna").headers["content-security-policy"].split("; ")
    return {name: set(values) for name, *values in map(str.split, directives)}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("app.bundle.js", "text/javascript; charset=utf-8"),
        ("app.bundle.css", "text/css; charset=utf-8"),
        ("codec.wasm", "application/wasm"),
        ("manifest.json", "application/json"),
    ],
)
@pytest.mark.parametrize("taken", ["gzip, br", "identity"])
def test_a_file_has_its_own_type_packed_or_not(viewer: Server, name: str, kind: str, taken: str):
    status, headers, _ = raw(viewer, name, accept_encoding=taken)
    assert (status, headers["content-type"]) == (200, kind)


def test_a_picture_is_sent_as_it_is(viewer: Server):
    status, headers, body = raw(viewer, "assets/favicon.ico", accept_encoding="gzip")
    assert (status, body) == (200, FILES["assets/favicon.ico"])
    assert headers["content-type"].startswith("image/") and "content-encoding" not in headers


@pytest.mark.parametrize("said", ["gzip", "gzip, deflate, br", "br;q=1.0, gzip;q=0.8", "*", "GZIP"])
def test_a_packed_file_is_sent_to_who_takes_gzip(viewer: Server, folder: Path, said: str):
    _, headers, body = raw(viewer, "app.bundle.js", accept_encoding=said)
    assert headers["content-encoding"] == "gzip" and headers["vary"] == "Accept-Encoding"
    assert body == (folder / "app.bundle.js.gz").read_bytes() and int(headers["content-length"]) == len(body)


@pytest.mark.parametrize("said", ["", "identity", "br", "gzip;q=0", "gzip; q=0.0, *", "*;q=0", "xgzip"])
def test_who_does_not_take_gzip_gets_the_file_itself(viewer: Server, said: str):
    _, headers, body = raw(viewer, "app.bundle.js", accept_encoding=said)
    assert body == BUNDLE and "content-encoding" not in headers and "accept-encoding" in headers["vary"].lower()


@pytest.mark.parametrize("said", ["gzip", "identity"])
def test_a_head_says_how_long_the_file_is_that_a_get_sends(viewer: Server, said: str):
    _, asked, sent = raw(viewer, "app.bundle.js", accept_encoding=said)
    status, headers, body = raw(viewer, "app.bundle.js", "HEAD", accept_encoding=said)
    assert (status, body) == (200, b"") and int(headers["content-length"]) == len(sent)
    assert headers.get("content-encoding") == asked.get("content-encoding")


@pytest.mark.parametrize("said", ["gzip", "identity"])
def test_a_part_is_one_of_the_file_that_is_sent_whole(viewer: Server, said: str):
    _, _, whole = raw(viewer, "app.bundle.js", accept_encoding=said)
    status, headers, body = raw(viewer, "app.bundle.js", accept_encoding=said, range="bytes=3-12")
    assert (status, body) == (206, whole[3:13])
    assert headers["content-range"] == f"bytes 3-12/{len(whole)}"


@pytest.mark.parametrize("said", ["gzip", "identity"])
@pytest.mark.parametrize("condition", ["etag", "last-modified"])
def test_a_file_that_a_browser_has_is_not_sent_again(viewer: Server, said: str, condition: str):
    _, had, _ = raw(viewer, "app.bundle.js", accept_encoding=said)
    asked = {"etag": "if_none_match", "last-modified": "if_modified_since"}[condition]
    status, headers, body = raw(viewer, "app.bundle.js", accept_encoding=said, **{asked: had[condition]})
    assert (status, body) == (304, b"") and headers["etag"].removeprefix("W/") == had["etag"].removeprefix("W/")


def test_a_packed_file_and_the_file_itself_are_not_taken_for_each_other(viewer: Server):
    tags = [raw(viewer, "app.bundle.js", accept_encoding=said)[1]["etag"] for said in ("gzip", "identity")]
    assert tags[0] != tags[1]


@pytest.mark.parametrize("name", ["app.bundle.js", "app.bundle.css", "codec.wasm", "assets/favicon.ico"])
def test_ohifs_files_are_kept_for_an_hour(viewer: Server, name: str):
    assert raw(viewer, name)[1]["cache-control"] == "private, max-age=3600"


@pytest.mark.parametrize("name", sorted(file.name for file in ohif.OWN.iterdir() if file != ohif.CONFIG))
def test_our_own_files_are_asked_for_again_each_time(viewer: Server, name: str):
    answer = viewer.ask("GET", f"/ohif/labelpod/{name}", "anna")
    assert answer.content == (ohif.OWN / name).read_bytes() and answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-type"].startswith(f"text/{'css' if name.endswith('.css') else 'javascript'}")
    again = viewer.ask("GET", f"/ohif/labelpod/{name}", "anna", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize(
    "path",
    [
        "",
        "index.html",
        "viewer",
        "label?StudyInstanceUIDs=1.2",
        "labelpod/",
        "labelpod/none.js",
        "assets",
        "assets/",
        "none.bundle.js",
    ],
)
def test_any_other_path_is_the_page(viewer: Server, path: str):
    answer = viewer.ask("GET", f"/ohif/{path}", "anna")
    assert (answer.status_code, answer.text) == (200, PAGE)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_written_there(viewer: Server, method: str):
    assert viewer.ask(method, "/ohif/index.html", "admin").status_code in (403, 405)


def test_the_viewers_address_may_lack_its_last_slash(server: Server):
    answer = server.ask("GET", "/ohif", "anna")
    assert (answer.status_code, answer.headers["location"]) == (303, "/ohif/")


@pytest.mark.parametrize(("user", "may"), [("anna", "false"), ("rita", "false"), ("admin", "true")])
def test_the_button_to_upload_is_shown_to_who_may(viewer: Server, user: str, may: str):
    answer = viewer.ask("GET", "/ohif/app-config.js", user)
    assert answer.text.count(f"dicomUploadEnabled: {may}") == 1 and answer.text.count("dicomUploadEnabled") == 1
    assert answer.headers["cache-control"] == "no-cache" and "javascript" in answer.headers["content-type"]


def test_the_page_runs_no_script_but_its_own(viewer: Server):
    """What a patient's name or a label says cannot become one."""
    scripts = policy(viewer, "/ohif/")["script-src"]
    inline = re.findall(r"<script(?: type=\"module\")?>(.*?)</script>", PAGE)
    digests = {f"'sha256-{b64encode(sha256(each.encode()).digest()).decode()}'" for each in inline}
    assert len(digests) == 2 and scripts == {"'self'", "'wasm-unsafe-eval'"} | digests


def test_only_a_worker_may_make_functions_of_text(viewer: Server):
    """The codec of JPEG-LS; a worker has the policy of its own file, not of the page."""
    for path in ("/ohif/app.bundle.js", "/ohif/app-config.js", "/ohif/labelpod/mode.js"):
        assert policy(viewer, path)["script-src"] == {"'self'", "'unsafe-eval'", "blob:"}
    for path in ("/ohif/", "/ohif/label", "/ohif/none.js"):
        assert not {"'unsafe-eval'", "'unsafe-inline'", "blob:"} & policy(viewer, path)["script-src"]


@pytest.mark.parametrize("path", ["/ohif/", "/ohif/app.bundle.js"])
def test_neither_page_nor_workers_reach_another_host(viewer: Server, path: str):
    found = policy(viewer, path)
    assert {source for sources in found.values() for source in sources if "//" in source or source == "*"} == set()
    assert found["default-src"] == {"'self'"} and found["connect-src"] == {"'self'", "blob:", "data:"}
    assert found["frame-ancestors"] == found["object-src"] == {"'none'"}


@pytest.mark.parametrize(
    "path",
    ["..%2foutside.txt", "%2e%2e/outside.txt", "assets/..%2f..%2foutside.txt", "link.txt", "labelpod/..%2f__init__.py"],
)
def test_there_is_no_way_out_of_the_folder(viewer: Server, path: str):
    answer = viewer.ask("GET", f"/ohif/{path}", "anna")
    assert OUTSIDE not in answer.text and "from pathlib" not in answer.text
    assert answer.text == PAGE or answer.status_code in (400, 404)


def test_who_has_no_token_gets_no_file(viewer: Server):
    for path in ("", "app.bundle.js", "labelpod/mode.js", "app-config.js"):
        assert viewer.ask("GET", f"/ohif/{path}").status_code == 401
