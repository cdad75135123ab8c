"""What is asked for is what is sent, and what cannot be read is a sentence."""

import re
from pathlib import Path

import pytest

from labelpod.runpod.catalog import Wish, candidates
from tests.contract import fake_runpod
from tests.contract.conftest import Runpod
from tests.contract.fake_runpod import KEY, FakeRunPod, gpu


def test_a_launch_sends_the_settings_of_now(fake: FakeRunPod, published: str, runpod: Runpod):
    changed = {"MAX_HOURS": "3", "IDLE_STOP_MINUTES": "15", "LABELS": "lesion", "BUNDLES": ""}
    (template,) = fake.templates.values()
    template["env"]["BUNDLES"] = "lung_nodule_ct_detection"
    assert runpod("launch", "--yes", **changed).code == 0
    (pod,) = fake.live()
    assert {name: pod["env"][name] for name in changed} == changed


def test_no_secret_is_sent_with_the_settings(fake: FakeRunPod, published: str, runpod: Runpod):
    said = runpod("launch", "--yes", BUNDLES="a-token-of-thirty-two-letters-00")
    assert said.code == 1 and "LABEL_SERVER_TOKEN would stand in" in said.err and fake.live() == []


@pytest.mark.parametrize(
    "entry",
    [
        {"price": None},
        {"price": {"secure": "cheap"}},
        {"price": 0.1},
        {"memory": "16 GB"},
        {"memory": float("inf")},
        {"memory": float("nan")},
        {"price": {"secure": float("inf")}},
        {"price": {"secure": float("nan")}},
        {"memory": 10**400, "price": {"secure": 10**400}},
        {"dataCenters": [{}]},
        {"dataCenters": ["EU-RO-1"]},
        {"availability": {}},
        {"id": None},
        {"manufacturer": None},
    ],
    ids=lambda entry: str(entry)[:40],
)
def test_an_entry_of_the_catalogue_that_cannot_be_read_is_passed_over(entry: dict):
    good = gpu("NVIDIA L4", 24, 0.40)
    found = candidates([gpu("NVIDIA RTX A4000", 16, 0.25) | entry, None, [], good], Wish(0.45))  # type: ignore[list-item]
    assert found[-1].gpu == "NVIDIA L4" and all(isinstance(each.price, float) for each in found)


def saying(monkeypatch: pytest.MonkeyPatch, pattern: str, number: str) -> None:
    """Let the service write this number where the pattern is."""
    dump = fake_runpod._dump
    monkeypatch.setattr(fake_runpod, "_dump", lambda answer: re.sub(pattern.encode(), number.encode(), dump(answer)))


NO_NUMBERS = ["1e999", "-1e999", "NaN", "Infinity", "1" + "0" * 400]


@pytest.mark.parametrize("number", NO_NUMBERS, ids=range(5))
@pytest.mark.parametrize("field", ["memory", "price"])
def test_a_number_of_the_catalogue_that_is_none_makes_no_offer(
    fake: FakeRunPod, published: str, runpod: Runpod, monkeypatch, field: str, number: str
):
    cheap = gpu("NVIDIA A-CARD", 24, 0.02)
    cheap[field] = {"secure": 987654321, "community": 0} if field == "price" else 987654321
    fake.catalogue = [cheap, *fake.catalogue]
    saying(monkeypatch, "987654321", number)
    assert runpod("launch", "--yes").code == 0
    (pod,) = fake.live()
    assert pod["gpu"]["id"] == "NVIDIA RTX 2000 Ada Generation"


@pytest.mark.parametrize("number", NO_NUMBERS, ids=range(5))
def test_a_cost_or_a_size_that_is_no_number_ends_no_verb(
    fake: FakeRunPod, published: str, runpod: Runpod, monkeypatch, number: str
):
    assert runpod("launch", "--yes", "--volume", "nodules", "--create-volume", "10").code == 0
    saying(monkeypatch, r'(?<=(ount|size|cost)": )[0-9.]+', number)
    for words in (["status"], ["cost"], ["volumes"], ["status", "--json"], ["cost", "--json"], ["stop"]):
        said = runpod(*words)
        assert said.code == 0 and "nan" not in said.out.lower() and "inf" not in said.out.lower(), words


@pytest.mark.parametrize("number", NO_NUMBERS[:4], ids=range(4))
@pytest.mark.parametrize("field", ["max_price", "min_vram"])
def test_a_wish_whose_number_is_none_is_none(field: str, number: str):
    text = Wish(0.5).text().replace('"max_price": 0.5', '"max_price": ' + (number if field == "max_price" else "0.5"))
    text = text.replace('"min_vram": 12', '"min_vram": ' + (number if field == "min_vram" else "12"))
    assert number in text and Wish.parse(text) is None
    assert Wish.parse(Wish(0.5).text().replace("0.5", NO_NUMBERS[4])) is None


@pytest.mark.parametrize("key", ["schlüssel", "two words", "a\nb", "“quoted”"])
def test_a_key_that_cannot_be_one_is_said(fake: FakeRunPod, runpod: Runpod, tmp_path: Path, key: str):
    file = tmp_path / "key"
    file.write_text(key)
    file.chmod(0o600)
    said = runpod("status", RUNPOD_API_KEY="", RUNPOD_API_KEY_FILE=str(file))
    assert said.code == 1 and "letters that no key has" in said.err and not fake.calls
    said = runpod("status", RUNPOD_API_KEY=key)
    assert said.code == 1 and len(said.err.splitlines()) == 2 and not fake.calls


@pytest.mark.parametrize(("mode", "taken"), [(0o600, True), (0o400, True), (0o640, False), (0o604, False)])
def test_a_key_file_that_others_can_read_is_refused(
    fake: FakeRunPod, runpod: Runpod, tmp_path: Path, mode: int, taken: bool
):
    file = tmp_path / "my key"
    file.write_text(f"{KEY}\n")
    file.chmod(mode)
    said = runpod("status", RUNPOD_API_KEY="", RUNPOD_API_KEY_FILE=str(file))
    assert (said.code == 0) is taken
    if not taken:
        assert "other users can read" in said.err and f"chmod 600 '{file}'" in said.err and not fake.calls


@pytest.mark.parametrize(("mode", "taken"), [(0o440, True), (0o444, False)])
def test_a_key_that_root_lends_to_a_group_is_taken(
    fake: FakeRunPod, runpod: Runpod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, taken: bool
):
    file = tmp_path / "key"
    file.write_text(KEY)
    file.chmod(mode)
    real = Path.stat

    def of_root(path: Path, **more: bool):
        found = real(path, **more)
        if path != file:
            return found
        return type(found)([*found[:4], 0, *found[5:10]])

    monkeypatch.setattr(Path, "stat", of_root)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    said = runpod("status", RUNPOD_API_KEY="", RUNPOD_API_KEY_FILE=str(file))
    assert (said.code == 0) is taken, said


def test_a_create_whose_answer_cannot_be_read_is_looked_for(fake: FakeRunPod, published: str, runpod: Runpod):
    fake.fail("createPod", status=201, page=True, done=True)
    assert runpod("launch", "--yes").code == 0 and len(fake.live()) == 1 and fake.calls["createPod"] == 1
