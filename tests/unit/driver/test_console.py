"""Which docker commands the user sees."""

import logging

import pytest

from labelpod import console

COMPOSE = "docker compose --file a.yaml --file b.yaml --file c.yaml --file d.yaml --env-file .env --project-name ps"


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (f"{COMPOSE} up --detach", True),
        (f"{COMPOSE} stop orthanc", True),
        (f"{COMPOSE} ps --quiet --all", False),
        (f"{COMPOSE} config", False),
        ("docker image pull debian:12", True),
        ("docker image inspect debian:12", False),
        ("docker ps", False),
    ],
)
def test_commands_that_change_something_are_shown_and_questions_are_not(command, shown, capsys):
    for verbose in (False, True):
        console.verbose(verbose)
        logging.getLogger("python_on_whales").info(f"Running command: /usr/bin/{command}")
        assert (capsys.readouterr().err == f"$ {command}\n") is (shown or verbose)


@pytest.mark.parametrize("text", ["a[/b]c", "x[bold]y", "[", "[/]", "[link=http://x]", ":key:", "a:lock:b"])
def test_brackets_and_emoji_codes_are_shown_as_they_are(text, capsys):
    console.out.print(text)
    console.say(text)
    assert capsys.readouterr() == (f"{text}\n", f"{text}\n")
