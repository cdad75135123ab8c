"""The script that connects 3D Slicer, run against stand-ins for Slicer and Qt."""

import getpass

import pytest

from labelpod import slicer
from labelpod.config.settings import Settings
from labelpod.errors import DeployError
from tests.support import paths
from tests.support.fake_slicer import Slicer

TOKEN = "t" * 32
URL = f"http://127.0.0.1:8000/{TOKEN}/"
HOSTILE = [
    '"); import os; os.abort() #',
    "'\n__import__('os').abort()\n'",
    "\\",
    '"""',
    "{{ 7 * 7 }}",
    "é\u2028\x00",
    "%s",
]


def run(app: Slicer, url: str = URL) -> None:
    app.run(slicer.script(url))


def test_slicer_is_set_up_and_connected():
    app = Slicer()
    run(app)
    assert app.stored == {
        "MONAILabel/serverUrl": URL,
        "MONAILabel/serverUrlHistory": URL,
        "MONAILabel/clientId": getpass.getuser(),
        "MONAILabel/developerMode": 0,
        "Modules/FavoriteModules": ["MONAILabel"],
    }
    assert app.done == ["open MONAILabel", "read settings", f"connect {URL}"]


def test_what_the_user_has_chosen_stays_and_a_second_run_changes_nothing():
    app = Slicer()
    app.stored |= {
        "MONAILabel/serverUrlHistory": ";".join([f"http://{number}" for number in range(10)]),
        "MONAILabel/clientId": "anna",
        "Modules/FavoriteModules": ("Data", "Volumes"),
    }
    run(app)
    history = app.stored["MONAILabel/serverUrlHistory"].split(";")
    assert history[:2] == [URL, "http://0"] and len(history) == 10
    assert app.stored["MONAILabel/clientId"] == "anna"
    assert app.stored["Modules/FavoriteModules"] == ["Data", "Volumes", "MONAILabel"]
    before = dict(app.stored)
    run(app)
    assert app.stored == before


def test_a_single_favourite_which_qt_gives_as_text_stays():
    app = Slicer()
    app.stored["Modules/FavoriteModules"] = "Data"
    run(app)
    assert app.stored["Modules/FavoriteModules"] == ["Data", "MONAILabel"]


def test_a_missing_extension_is_installed_if_wanted():
    app = Slicer(extension=False)
    run(app)
    assert app.done == ["ask", "install MONAILabel, restart True, dialogs False"]
    assert app.stored["MONAILabel/serverUrl"] == URL


def test_nothing_is_installed_where_the_user_does_not_want_it():
    app = Slicer(extension=False, yes=False)
    run(app)
    assert app.done == ["ask"]


def test_an_installation_that_fails_is_said_with_what_to_do():
    app = Slicer(extension=False)
    app.installable = False
    run(app)
    assert "Extensions Manager" in app.done[-1]


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_the_url_is_it_stays_a_text(text):
    app = Slicer()
    run(app, f"http://{text}")
    assert app.stored["MONAILabel/serverUrl"] == f"http://{text}"
    assert slicer.script(text).count("\n") == slicer.script("").count("\n")
    assert slicer.script(text).isascii()  # Slicer may read it in the encoding of its machine


def test_the_keys_are_those_of_the_module_itself():
    module = paths.ROOT / ".venv/monailabel/plugins/slicer/MONAILabel/MONAILabel.py"
    if not module.exists():
        pytest.skip("the module is not installed: it comes with the packages of the tests")
    app, text = Slicer(), module.read_text()
    run(app)
    for key in app.stored:
        assert key.startswith("Modules/") or f'"{key}"' in text, key
    for method in ("updateServerUrlGUIFromSettings", "onClickFetchInfo"):
        assert f"def {method}(self)" in text


def test_the_file_is_for_its_owner_alone(tmp_path):
    path = tmp_path / "connect.py"
    path.touch(0o644)
    slicer.write(Settings(LABEL_SERVER_TOKEN=TOKEN), path)
    assert path.stat().st_mode & 0o777 == 0o600 and repr(URL) in path.read_text()


def test_before_there_is_a_token_there_is_no_script(tmp_path):
    with pytest.raises(DeployError) as raised:
        slicer.write(Settings(), tmp_path / "connect.py")
    assert "deploy.py up" in raised.value.remedy and not list(tmp_path.iterdir())
