"""The script of the start page that connects 3D Slicer: it asks for the address, which the server does not know."""

import pytest

from label_server.web.start_page import slicer_script
from tests.support.fake_slicer import Slicer
from tests.support.web import HTML, TOKENS, Server

BEGINNING = "http://testserver/"
ADDRESS = f"{BEGINNING}{TOKENS['anna']}/"


def run(app: Slicer, *answers: str) -> None:
    app.answers = list(answers)
    app.run(slicer_script.script(BEGINNING))


@pytest.mark.parametrize("typed", [ADDRESS, ADDRESS.rstrip("/"), f" {ADDRESS}\n"])
def test_slicer_is_set_up_with_the_address_that_its_user_has(typed: str):
    app = Slicer()
    run(app, typed)
    assert app.stored["MONAILabel/serverUrl"] == ADDRESS and app.done[-1] == f"connect {ADDRESS}"
    assert app.offered == [BEGINNING]


def test_the_user_is_asked_again_until_it_is_an_address():
    app = Slicer()
    run(app, "", BEGINNING, "token", "ftp://testserver/token/", f"{ADDRESS}ohif/", ADDRESS)
    assert app.stored["MONAILabel/serverUrl"] == ADDRESS and len(app.offered) == 6


def test_who_gives_up_leaves_slicer_as_it_was():
    app = Slicer()
    with pytest.raises(RuntimeError, match="No address was given"):
        run(app)
    assert app.stored == {} and app.done == []


def test_the_second_run_offers_the_address_of_the_first():
    app = Slicer()
    run(app, ADDRESS)
    run(app, ADDRESS)
    app.stored["MONAILabel/serverUrl"] = "http://other/token/"
    run(app, ADDRESS)
    assert app.offered == [BEGINNING, ADDRESS, BEGINNING]


def test_whatever_the_host_says_it_stays_a_text():
    text = slicer_script.script("http://x'); import os #/\n")
    assert 'BEGINNING = "http://x\'); import os #/\\n"' in text


def test_the_script_is_a_download_without_a_token(server: Server):
    answer = server.ask("GET", "https://testserver/connect.py", "anna", headers=HTML)
    assert answer.headers["content-disposition"] == 'attachment; filename="connect.py"'
    assert "BEGINNING = 'https://testserver/'" in answer.text and "holds an access token" not in answer.text
    assert TOKENS["anna"] not in answer.text
    assert 'href="/connect.py" download' in server.ask("GET", "/", "anna", headers=HTML).text
