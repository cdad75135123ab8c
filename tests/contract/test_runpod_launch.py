"""`runpod launch`: the cheapest GPU that fits, once, whatever goes wrong."""

import hashlib
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelpod.config.settings import Settings
from labelpod.runpod import ledger, rent, tokens, wait
from labelpod.runpod.catalog import Wish, candidates
from tests.contract.conftest import TOKEN, Runpod
from tests.contract.fake_runpod import FakeRunPod, gpu


def the_pod(fake: FakeRunPod) -> dict:
    (pod,) = fake.live()
    return pod


def test_it_rents_the_cheapest_that_fits_and_waits_for_the_label_server(
    fake: FakeRunPod, published: str, runpod: Runpod
):
    shown: list[str] = []
    fake.token_answers = lambda token: (shown.append(token), (200, {}))[1]
    said = runpod("launch", "--yes")
    assert said.code == 0, said.err
    pod = the_pod(fake)
    assert pod["gpu"]["id"] == "NVIDIA RTX 2000 Ada Generation" and pod["cloud"] == "SECURE"
    assert "RTX 2000 Ada Generation (16 GB) at $0.24 an hour" in said.err and "is ready" in said.out
    assert pod["env"]["LABEL_SERVER_TOKEN"] == "" and TOKEN not in str(pod)
    assert {hashlib.sha256(token.encode()).hexdigest() for token in shown} == {pod["env"]["LABEL_SERVER_TOKEN_SHA256"]}
    assert pod["env"]["PUBLIC_KEY"].startswith("ssh-ed25519 ")


def test_it_does_not_rent_without_a_yes(fake: FakeRunPod, published: str, runpod: Runpod):
    said = runpod("launch")
    assert said.code == 1 and "nothing was rented" in said.err and fake.live() == []


def test_a_pod_is_ready_when_our_server_answers(fake: FakeRunPod, published: str, runpod: Runpod):
    answers = iter([(401, {}), (404, "not found"), (200, "<html>a page</html>"), (503, {"detail": "I wait"})])
    fake.token_answers = lambda _: next(answers, (503, {"detail": "I wait"}))
    assert runpod("launch", "--yes").code == 0
    assert next(answers, None) is None


@pytest.mark.parametrize(
    ("arguments", "rented"),
    [
        (["--gpu", "4090"], "NVIDIA GeForce RTX 4090"),
        (["--min-vram", "20"], "NVIDIA GeForce RTX 4090"),
        (["--min-vram", "4"], "NVIDIA RTX 2000 Ada Generation"),
        (["--community", "--gpu", "a4000"], "NVIDIA RTX A4000"),
        (["--data-center", "eu-ro-1"], "NVIDIA RTX 2000 Ada Generation"),
    ],
)
def test_options_narrow_the_choice(fake: FakeRunPod, published: str, runpod: Runpod, arguments, rented: str):
    assert runpod("launch", "--yes", *arguments).code == 0
    assert the_pod(fake)["gpu"]["id"] == rented


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max-price", "0.2"], "the cheapest is NVIDIA RTX 2000 Ada Generation at $0.24"),
        (["--gpu", "H100"], "no NVIDIA GPU of 12 GB or more is in stock that fits"),
        (["--data-center", "US-TX-3"], "no NVIDIA GPU"),
        (["--volume", "gone"], "there is no network volume gone"),
    ],
)
def test_what_cannot_be_had_is_said_in_one_line(fake: FakeRunPod, published: str, runpod: Runpod, arguments, words):
    said = runpod("launch", "--yes", *arguments)
    assert said.code == 1 and words in said.err and len(said.err.strip().splitlines()) == 2, said.err
    assert fake.live() == [] and fake.volumes == {}


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "-1", "1e300", "cheap"])
@pytest.mark.parametrize(
    "words", [["launch", "--minutes"], ["resume", "--minutes"], ["launch", "--max-price"]], ids=str
)
def test_an_amount_that_is_none_is_refused_before_anything_is_asked(fake: FakeRunPod, runpod: Runpod, words, number):
    said = runpod(*words, number)
    assert said.code == 2 and words[1] in said.err and not fake.calls


@pytest.mark.parametrize(
    "words", [["launch", "--min-vram", "-5"], *(["connect", "--port", port] for port in ("70000", "0", "-5"))], ids=str
)
def test_a_whole_number_out_of_its_range_is_refused(fake: FakeRunPod, runpod: Runpod, words: list[str]):
    assert runpod(*words).code == 2 and not fake.calls


def test_without_a_template_or_a_balance_nothing_is_rented(fake: FakeRunPod, runpod: Runpod):
    assert "there is no template labelpod" in runpod("launch", "--yes").err
    assert runpod("publish", "--image", f"r/l@sha256:{'a' * 64}").code == 0
    fake.balance = 0
    said = runpod("launch", "--yes")
    assert said.code == 1 and "has no balance" in said.err and fake.calls["createPod"] == 1


def test_one_that_is_offered_and_refused_gives_way_to_the_next(fake: FakeRunPod, published: str, runpod: Runpod):
    fake.full = {"NVIDIA RTX 2000 Ada Generation"}
    assert runpod("launch", "--yes").code == 0
    assert the_pod(fake)["gpu"]["id"] == "NVIDIA RTX A4000"


def test_if_all_are_refused_the_last_reason_is_said(fake: FakeRunPod, published: str, runpod: Runpod):
    fake.full = {each["id"] for each in fake.catalogue}
    said = runpod("launch", "--yes")
    assert said.code == 1 and "none of 3 GPUs can be rented now: There are no longer any instances" in said.err


# --- one pod, and none forgotten ---


def test_a_second_launch_finds_the_pod_and_force_rents_another(fake: FakeRunPod, published: str, runpod: Runpod):
    assert runpod("launch", "--yes").code == 0
    said = runpod("launch", "--yes")
    assert said.code == 0 and "already exists" in said.err and len(fake.live()) == 1
    assert runpod("launch", "--yes", "--force").code == 0 and len(fake.live()) == 2


def test_a_launch_does_not_start_what_was_stopped(fake: FakeRunPod, published: str, runpod: Runpod):
    runpod("launch", "--yes")
    runpod("stop")
    said = runpod("launch", "--yes")
    assert said.code == 1 and "is stopped" in said.err and "runpod resume" in said.err and len(fake.live()) == 1


@pytest.mark.parametrize("fault", [{"status": 0}, {"status": 502}, {"status": 504, "page": True}])
def test_a_pod_whose_creation_was_not_answered_is_found(fake: FakeRunPod, published: str, runpod: Runpod, fault: dict):
    fake.fail("createPod", done=True, **fault)
    assert runpod("launch", "--yes").code == 0
    assert len(fake.live()) == 1 and fake.calls["createPod"] == 1


def test_a_creation_that_was_not_answered_nor_done_is_not_repeated(fake: FakeRunPod, published: str, runpod: Runpod):
    fake.fail("createPod", status=0)
    said = runpod("launch", "--yes")
    assert said.code == 1 and "it may have been done" in said.err
    assert fake.calls["createPod"] == 1 and fake.live() == []


def test_a_creation_that_is_limited_is_repeated(fake: FakeRunPod, published: str, runpod: Runpod):
    fake.fail("createPod", status=429, headers={"Retry-After": "1"})
    assert runpod("launch", "--yes").code == 0 and len(fake.live()) == 1


@pytest.mark.parametrize("moment", ["before the answer", "while it waits"])
def test_an_interrupted_launch_is_gone_on_with(
    fake: FakeRunPod, published: str, runpod: Runpod, monkeypatch: pytest.MonkeyPatch, moment: str
):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rent, "settled", interrupt) if moment == "before the answer" else patch.setattr(
            wait, "wait", interrupt
        )
        assert runpod("launch", "--yes").code == 130
    assert len(fake.live()) == 1
    assert runpod("launch", "--yes").code == 0 and len(fake.live()) == 1


def test_of_two_laptops_at_once_both_keep_the_same_pod(fake: FakeRunPod, published: str, runpod: Runpod):
    """The other rents between our look and our order."""

    def other(pod: dict) -> None:
        fake.on_create = lambda _: None
        name = "labelpod-1-abcdef"
        env = pod["env"] | tokens.environment(Settings(LABEL_SERVER_TOKEN=TOKEN), name, {"admin": "admin"})
        first = pod | {"id": "pod0000", "name": name, "env": env, "createdAt": "2020-01-01T00:00:00Z"}
        fake.pods["pod0000"] = first

    fake.on_create = other
    said = runpod("launch", "--yes")
    assert said.code == 0 and "Pod pod0000 is ready" in said.out
    assert [pod["id"] for pod in fake.live()] == ["pod0000"]


def test_a_pod_of_another_stack_of_this_name_is_not_touched_and_blocks_nothing(
    fake: FakeRunPod, published: str, runpod: Runpod, tmp_path: Path
):
    runpod("launch", "--yes")
    (tmp_path / "other").mkdir()
    other = {"LABEL_SERVER_TOKEN": "another-token-of-32-letters-0000", "at": tmp_path / "other"}
    theirs = the_pod(fake) | {"startedAt": "2020-01-01T00:00:00Z"}
    fake.pods[theirs["id"]] = theirs
    for verb, code in ((["stop"], 1), (["reap"], 0), (["status"], 0), (["cost"], 0), (["launch", "--yes"], 0)):
        said = runpod(*verb, **other)
        assert said.code == code and f"terminate {theirs['id']}" not in said.err + said.out, (verb, said)
    assert theirs["status"] == "RUNNING" and len(fake.live()) == 2
    assert runpod("launch", "--yes", RUNPOD_STACK="other").code == 1  # the pod of before still runs
    assert len(fake.live()) == 2


# --- volumes ---


def test_a_volume_is_made_where_the_gpu_is_and_pins_the_pod(fake: FakeRunPod, published: str, runpod: Runpod):
    said = runpod("launch", "--yes", "--volume", "nodules", "--create-volume", "50")
    assert said.code == 0 and "and the volume $3.50 a month" in said.err
    (volume,) = fake.volumes.values()
    pod = the_pod(fake)
    assert (volume["name"], volume["size"], volume["dataCenter"]) == ("nodules", 50, "EU-RO-1")
    assert pod["mounts"] == {"network": [{"volumeId": volume["id"], "path": "/workspace"}]}
    assert pod["dataCenterId"] == "EU-RO-1"


def test_a_volume_elsewhere_is_said(fake: FakeRunPod, published: str, runpod: Runpod):
    fake.volumes["vol1"] = {"id": "vol1", "name": "nodules", "size": 50, "dataCenter": "US-KS-2", "type": "STANDARD"}
    said = runpod("launch", "--yes", "--volume", "nodules", "--data-center", "EU-RO-1")
    assert said.code == 1 and "is in US-KS-2, not in EU-RO-1" in said.err
    assert "no network volumes" in runpod("launch", "--yes", "--volume", "nodules", "--community").err
    assert fake.live() == []


# --- waiting ---


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("error pulling image: toomanyrequests: You have reached your pull rate limit", "allows no more pulls"),
        ("manifest unknown: manifest unknown", "not in the registry"),
        ("unauthorized: authentication required", "cannot be pulled without a login"),
        ("failed to register layer: no space left on device", "disk is full"),
        ("nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.8", "driver is too old"),
        ("Container ID 78971 cannot be mapped to a host ID", "cannot unpack the image"),
    ],
)
def test_what_waiting_cannot_help_is_said_at_once_and_the_pod_is_kept(
    fake: FakeRunPod, published: str, runpod: Runpod, line: str, words: str
):
    fake.system_log.append(line)
    fake.polls_until_ready = 1000
    said = runpod("launch", "--yes")
    assert said.code == 1 and words in said.err and len(fake.live()) == 1
    assert "runpod terminate pod" in said.err and "$0.24 an hour" in said.err


def test_out_of_patience_it_says_what_the_pod_costs_and_how_to_end_it(fake: FakeRunPod, published: str, runpod: Runpod):
    fake.polls_until_ready = 1000
    said = runpod("launch", "--yes", "--minutes", "0.005")
    assert said.code == 1 and "no answer after" in said.err and "ends it; it costs $0.24 an hour" in said.err
    assert len(fake.live()) == 1


def test_a_pod_that_starts_over_and_over_is_not_waited_for(fake: FakeRunPod, published: str, runpod: Runpod):
    uptimes = itertools.cycle([9, 3])
    fake.token_answers = lambda _: (502, "Bad gateway")
    get = fake.getPod
    fake.getPod = lambda body, id: get(body, id) | {"runtime": {"uptime": next(uptimes)}}
    said = runpod("launch", "--yes")
    assert said.code == 1 and "over and over" in said.err and len(fake.live()) == 1


def test_a_pod_that_ended_is_not_waited_for(fake: FakeRunPod, published: str, runpod: Runpod):
    fake.on_create = lambda pod: pod.update(status="ERROR", actions=["terminate"])
    said = runpod("launch", "--yes")
    assert said.code == 1 and "it is ERROR: start container" in said.err


# --- the choice itself ---

NAMES = st.sampled_from(["NVIDIA GeForce RTX 4090", "NVIDIA L4", "Tesla V100-PCIE-16GB", "unknown", "AMD Instinct"])


@st.composite
def offers(draw: st.DrawFn) -> dict:
    return gpu(
        draw(NAMES),
        draw(st.integers(0, 200)),
        draw(st.sampled_from([0, 0.1, 0.24, 0.74, 3.0])),
        draw(st.sampled_from([0, 0.05, 0.16])),
        draw(st.sampled_from(["NONE", "LOW", "MEDIUM", "HIGH"])),
        manufacturer=draw(st.sampled_from(["NVIDIA", "AMD"])),
    )


@given(
    st.lists(offers(), max_size=12),
    st.one_of(st.none(), st.floats(0, 2)),
    st.integers(0, 48),
    st.booleans(),
)
def test_never_too_small_never_amd_never_too_dear_and_the_cheapest_first(catalogue, price, vram, community):
    found = candidates(catalogue, Wish(price, vram, "", community))
    cloud = "community" if community else "secure"
    fits = [
        each
        for each in catalogue
        if each["manufacturer"] == "NVIDIA"
        and each["memory"] >= max(12, vram)
        and 0 < each["price"][cloud] <= (price if price is not None else 99)
        and each["availability"] != "NONE"
        and each["id"] not in ("unknown", "Tesla V100-PCIE-16GB")
    ]
    assert sorted(each.price for each in found) == [each.price for each in found]
    assert sorted(each.price for each in found) == sorted(each["price"][cloud] for each in fits)


def test_two_launches_side_by_side_leave_one_pod(
    fake: FakeRunPod, published: str, runpod: Runpod, monkeypatch, tmp_path: Path
):
    """In one process, at the same moment: both look, then both order."""
    from labelpod.config.settings import Settings
    from labelpod.project import Project
    from labelpod.runpod import launch
    from labelpod.runpod.client import Client
    from tests.contract.fake_runpod import KEY

    values = Settings(LABEL_SERVER_TOKEN=TOKEN, RUNPOD_API_KEY=KEY)
    together, got = threading.Barrier(2), []
    real = rent.rent

    def at_once(*arguments, **more):
        together.wait(10)
        return real(*arguments, **more)

    monkeypatch.setattr(rent, "rent", at_once)

    def one() -> None:
        with Client(KEY, fake.url) as client:
            got.append(launch.launch(client, values, Project(tmp_path), Wish(), yes=True)["id"])

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(fake.live()) == 1 and the_pod(fake)["id"] in got


def test_no_pod_is_forgotten_where_several_are_remembered_at_once(tmp_path: Path):
    """What this machine rented is on the bill by this record."""
    pods_there = [
        {"id": f"pod{number}", "name": "labelpod", "createdAt": "2026-01-01T00:00:00Z"} for number in range(40)
    ]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda pod: ledger.add(pod, tmp_path / "pods.json"), pods_there))
    assert set(ledger.read(tmp_path / "pods.json")) == {each["id"] for each in pods_there}
