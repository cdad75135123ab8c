"""The viewer's files: upstream's, with our script in the page."""

import re
from base64 import b64encode
from hashlib import sha256

import pytest

from label_server.web import ohif
from tests.support.web import HTML, Server

SCRIPT = '<script type="module" src="/ohif/labelpod/panel.js"></script></head>'


@pytest.mark.parametrize(
    "path", ["/ohif/", "/ohif/viewer", "/ohif/monai-label?StudyInstanceUIDs=1.2", "/ohif/index.html"]
)
def test_a_page_of_the_viewer_has_our_script(server: Server, path: str):
    answer = server.ask("GET", path, "anna")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/html")
    assert answer.text.count(SCRIPT) == 1 and answer.headers["cache-control"] == "no-cache"


def test_the_viewers_address_may_lack_its_last_slash(server: Server):
    answer = server.ask("GET", "/ohif", "anna")
    assert (answer.status_code, answer.headers["location"]) == (303, "/ohif/")


@pytest.mark.parametrize("name", ["panel.js", "labels.js", "volumes.js"])
def test_our_scripts_are_asked_for_again_each_time(server: Server, name: str):
    answer = server.ask("GET", f"/ohif/labelpod/{name}", "anna")
    assert answer.content == (ohif.OWN / name).read_bytes() and answer.headers["cache-control"] == "no-cache"
    assert "javascript" in answer.headers["content-type"]


@pytest.mark.parametrize("path", ["assets/favicon.ico", "assets/android-chrome-36x36.png", "es6-shim.min.js"])
def test_a_file_has_its_own_type(server: Server, path: str):
    """Upstream sends index.html for every file in a sub-folder (ohif.py:35)."""
    answer = server.ask("GET", f"/ohif/{path}", "anna")
    assert answer.status_code == 200 and "text/html" not in answer.headers["content-type"]
    assert answer.content == (ohif.FOLDER / path).read_bytes() and "no-cache" not in str(answer.headers)
    assert answer.headers["cache-control"] == "private, max-age=3600"


@pytest.mark.parametrize(("user", "may"), [("anna", "false"), ("rita", "false"), ("admin", "true")])
def test_the_button_to_upload_is_shown_to_who_may(server: Server, user: str, may: str):
    answer = server.ask("GET", "/ohif/app-config.js", user)
    assert answer.text.count(f"dicomUploadEnabled: {may}") == 1 and answer.text.count("dicomUploadEnabled") == 1
    assert answer.headers["cache-control"] == "no-cache" and "javascript" in answer.headers["content-type"]


def policy(server: Server, path: str) -> dict[str, set[str]]:
    directives = server.ask("GET", path, "anna").headers["content-security-policy"].split("; ")
    return {name: set(values) for name, *values in map(str.split, directives)}


def test_the_page_runs_no_script_but_its_own(server: Server):
    """What a patient's name or a label says cannot become one."""
    page, scripts = server.ask("GET", "/ohif/", "anna").text, policy(server, "/ohif/")["script-src"]
    inline = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = {f"'sha256-{b64encode(sha256(each.encode()).digest()).decode()}'" for each in inline}
    assert len(digests) == 2 and scripts == {"'self'", "'wasm-unsafe-eval'"} | digests
    assert not re.search(r"\son[a-z]+=", page)


def test_only_a_worker_may_make_functions_of_text(server: Server):
    """The codec of JPEG-LS; a worker has the policy of its own file."""
    assert policy(server, "/ohif/app-config.js")["script-src"] == {"'self'", "'unsafe-eval'", "blob:"}
    for path in ("/ohif/", "/ohif/app-config.js", "/info/"):
        assert "'unsafe-inline'" not in policy(server, path).get("script-src", policy(server, path)["default-src"])


def test_a_browser_is_sent_to_the_viewer_and_a_program_told_who_it_is(server: Server):
    assert server.ask("GET", "/", "anna", headers=HTML).headers["location"] == "/ohif/"
    assert server.ask("GET", "/", "rita").json() == {"name": "labelpod", "user": "rita", "role": "reviewer"}


def test_there_is_no_way_out_of_the_folder(server: Server):
    for path in ("/ohif/..%2f..%2fapp.py", "/ohif/%2e%2e/app.py", "/ohif/labelpod/__init__.py"):
        assert "from pathlib" not in server.ask("GET", path, "anna").text, path


def test_a_page_without_a_head_is_noticed():
    with pytest.raises(ValueError, match="no head"):
        ohif._with_script("<html></html>")
