"""`runpod publish`: the template."""

import json

import pytest

from labelpod.images import sbom
from labelpod.runpod import push, signing
from tests.contract.conftest import IMAGE, TOKEN, Runpod
from tests.contract.fake_runpod import FakeRunPod
from tests.support.engine import needs_docker

OTHER = IMAGE.replace("a" * 64, "b" * 64)


def the_template(fake: FakeRunPod) -> dict:
    (template,) = fake.templates.values()
    return template


def test_it_makes_a_template_with_the_ports_and_no_secret(fake: FakeRunPod, published: str):
    template = the_template(fake)
    assert template["name"] == "labelpod" and template["image"] == IMAGE
    assert template["ports"] == ["8000/http", "22/tcp"] and template["category"] == "NVIDIA"
    assert template["startJupyter"] is False and template["public"] is False and not template["mounts"]
    assert template["env"]["LABEL_SERVER_TOKEN"] == "{{ RUNPOD_SECRET_labelpod_token }}"
    assert template["env"]["IDLE_STOP_MINUTES"] == "60"
    assert TOKEN not in json.dumps(template)


def test_again_nothing_is_changed_and_of_what_differs_only_that(fake: FakeRunPod, published: str, runpod: Runpod):
    assert "unchanged" in runpod("publish", "--image", IMAGE).out and fake.calls["updateTemplate"] == 0
    assert "changed: image" in runpod("publish", "--image", OTHER).out
    assert "changed: env" in runpod("publish", "--image", OTHER, LABELS="lesion").out
    assert the_template(fake)["env"]["LABELS"] == "lesion" and fake.calls["createTemplate"] == 1


def test_a_dry_run_shows_the_requests_and_sends_none(fake: FakeRunPod, runpod: Runpod):
    said = runpod("publish", "--dry-run", RUNPOD_IMAGE="registry.example/labelpod")
    assert said.code == 0 and "POST /v2/templates" in said.out and '"startJupyter": false' in said.out
    assert fake.templates == {} and TOKEN not in said.out


def test_one_that_somebody_made_in_between_is_changed(fake: FakeRunPod, published: str, runpod: Runpod, monkeypatch):
    """The list is older than the template."""
    real, lists = fake.listTemplates, []

    def late(body):
        lists.append(1)
        return {"templates": []} if len(lists) <= 2 else real(body)

    monkeypatch.setattr(fake, "listTemplates", late)
    assert "changed: image" in runpod("publish", "--image", OTHER).out
    assert the_template(fake)["image"] == OTHER


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["--image", "registry.example/labelpod:latest"], {}, "not an image by its digest"),
        (["--image", IMAGE, "--public"], {"RUNPOD_REGISTRY": "reg1"}, "public template cannot have a login"),
        (["--image", IMAGE], {"BUNDLES": TOKEN}, "LABEL_SERVER_TOKEN would stand in the template"),
        pytest.param([], {}, "not known where to push", marks=needs_docker),
        ([], {"RUNPOD_IMAGE": "registry.example/labelpod:latest"}, "latest says nothing"),
        (["--image", IMAGE], {"RUNPOD_API_KEY": ""}, "no API key"),
        (["--image", IMAGE], {"RUNPOD_API_KEY": "wrong"}, "does not know the API key"),
        (["--image", IMAGE], {"RUNPOD_API_URL": "http://127.0.0.1:9"}, "cannot be reached"),
        (["--image", IMAGE], {"RUNPOD_API_KEY": "", "RUNPOD_API_KEY_FILE": "/nowhere"}, "cannot be read"),
        (["--image", IMAGE], {"RUNPOD_STACK": "No good"}, "small letters"),
        (["--image", IMAGE], {"LABEL_SERVER_TOKEN": ""}, "LABEL_SERVER_TOKEN is not set"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(fake: FakeRunPod, runpod: Runpod, arguments, environment, words):
    said = runpod("publish", *arguments, **environment)
    assert said.code == 1 and words in said.err and "Traceback" not in said.err, said
    assert len(said.err.strip().splitlines()) == 2, said.err
    assert fake.templates == {}


def test_two_templates_of_one_name_are_told_apart_by_nobody(fake: FakeRunPod, published: str, runpod: Runpod):
    fake.templates["tpl9999"] = the_template(fake) | {"id": "tpl9999"}
    said = runpod("publish", "--image", IMAGE)
    assert said.code == 1 and "there are 2 templates labelpod" in said.err and "tpl9999" in said.err


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 403, "page": True}, "RunPod does not allow it: HTTP 403"),
        ({"status": 410}, "retired this API"),
        ({"status": 413}, "too long"),
        ({"status": 500, "times": 9}, "RunPod has a problem"),
        ({"status": 502, "times": 9, "page": True}, "RunPod has a problem"),
        ({"times": 9}, "does not answer to GET"),
    ],
)
def test_what_the_service_says_is_said_and_nothing_is_made(fake: FakeRunPod, runpod: Runpod, fault: dict, words: str):
    fake.fail("listTemplates", **fault)
    said = runpod("publish", "--image", IMAGE)
    assert said.code == 1 and words in said.err and "<html" not in said.err
    assert fake.templates == {}


@pytest.mark.parametrize(
    "fault", [{"status": 429, "headers": {"Retry-After": "1"}}, {"status": 503}, {"status": 0, "times": 2}]
)
def test_what_passes_is_waited_for(fake: FakeRunPod, runpod: Runpod, fault: dict):
    fake.fail("listTemplates", **fault)
    assert runpod("publish", "--image", IMAGE).code == 0
    assert len(fake.templates) == 1


def test_a_list_in_pages_is_read_to_its_end(fake: FakeRunPod, published: str, runpod: Runpod):
    other = the_template(fake)
    for number in range(5):
        fake.templates = {f"a{number}": other | {"id": f"a{number}", "name": f"other-{number}"}} | fake.templates
    fake.page_size = 2
    assert "unchanged" in runpod("publish", "--image", IMAGE).out


@needs_docker
def test_what_is_pushed_is_signed_and_its_sbom_attested(fake: FakeRunPod, runpod: Runpod, monkeypatch):
    signed: list[tuple[str, str]] = []
    monkeypatch.setattr(push, "push", lambda docker, mine, repository: IMAGE)
    monkeypatch.setattr(sbom, "write_one", lambda *_: None)
    monkeypatch.setattr(signing, "possible", lambda: True)
    monkeypatch.setattr(signing, "sign", lambda image, file, _: signed.append((image, file.name)))
    assert runpod("publish", RUNPOD_IMAGE="registry.example/labelpod").code == 0
    assert signed == [(IMAGE, "sbom.label-server.cdx.json")]
    assert runpod("publish", "--image", IMAGE).code == 0
    assert len(signed) == 1, "what somebody else has pushed is not ours to sign"
