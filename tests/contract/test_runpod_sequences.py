"""Verbs in any order, on two laptops, with faults and kills: one pod, none forgotten, never above the price.

Hypothesis makes up the sequences. RUNPOD_SEQUENCES=500 in the environment tries that many, which takes a minute.
"""

import functools
import json
import os
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer.main
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from labelpod import cli
from labelpod.commands import runpod as verbs
from labelpod.config.settings import PREFIX, Settings
from labelpod.project import Project
from labelpod.runpod import client, keys, ledger, polling, wait
from tests.contract.conftest import IMAGE, TOKEN
from tests.contract.fake_runpod import KEY, Fault
from tests.contract.unkind_runpod import UnkindRunPod

SEQUENCES = int(os.environ.get("RUNPOD_SEQUENCES", "30"))
PRICE = "0.30"
ADA, A4000 = "NVIDIA RTX 2000 Ada Generation", "NVIDIA RTX A4000"
# What is refused with these is not carried out.
REFUSALS = (409, 429)
# After this, whatever RunPod does late has been done. A person may type the next command sooner.
A_MINUTE = 60.0
HURRIED = st.sampled_from([None, "stop", "stop", "terminate", "terminate", "resume", "launch", "reap"])

FAULTS = st.builds(
    Fault,
    st.sampled_from(
        [
            *("listPods", "getPod", "createPod", "createPod", "podAction", "podAction", "deletePod"),
            *("listNetworkVolumes", "createNetworkVolume", "listGpuTypes", "listTemplates"),
        ]
    ),
    status=st.sampled_from([0, 409, 429, 500, 502, 504]),
    times=st.sampled_from([1, 1, 2, 5, 60]),
    done=st.booleans(),
    late=st.sampled_from([0.0, 0.0, 5.0, 20.0]),
)
WORLDS = st.fixed_dictionaries(
    {
        "list_lag": st.sampled_from([0.0, 3.0, 12.0]),
        "get_lag": st.sampled_from([0.0, 2.0, 20.0]),
        "start_seconds": st.sampled_from([0.0, 1.0, 10.0]),
        "stop_seconds": st.sampled_from([0.0, 20.0]),
        "deaf": st.sampled_from([0, 0, 0, 1, 3, 99]),
        "deaf_deletes": st.sampled_from([0, 0, 0, 1, 99]),
        "env_listed": st.booleans(),
        "no_gpu_status": st.sampled_from([400, 500]),
        "prices": st.sampled_from([{}, {}, {ADA: 1.9}, {ADA: 1.9, A4000: 1.9}]),
        "full": st.sampled_from([set(), {ADA}, {A4000}, {ADA, A4000}]),
    }
)
KIND = {
    **{"list_lag": 0.0, "get_lag": 0.0, "start_seconds": 0.0, "stop_seconds": 0.0, "deaf": 0, "deaf_deletes": 0},
    **{"env_listed": True, "no_gpu_status": 400, "prices": {}, "full": set()},
}
LAUNCHES = st.sampled_from([["--volume", "nodules", "--create-volume", "10"], []])
# What is typed mostly, if there is no pod, one that runs, one that is stopped; and seldom.
VERBS = {
    "none": ["launch"] * 8 + ["status", "stop", "resume", "terminate", "reap"],
    "runs": ["stop"] * 4 + ["reap", "launch", "terminate", "resume", "status"],
    "stopped": ["resume"] * 8 + ["terminate", "launch", "stop", "status", "reap"],
}
# After so many requests, or just after one that costs money.
KILLS = st.sampled_from([*[None] * 30, *range(1, 20), *["createPod", "podAction"] * 5])


class Killed(BaseException):
    """The driver is gone in the middle of a request."""


class Service(UnkindRunPod):
    """The service without a network; it can kill who asks."""

    kill_at: int | str | None = None  # so many requests from now, or just after this operation
    asked = 0

    def handle(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        self.asked += 1
        if isinstance(self.kill_at, int) and self.asked > self.kill_at:
            raise Killed
        before = self.calls.copy()
        try:
            target = request.url.raw_path.decode()
            status, answer, headers = self.answer(request.method, target, request.headers["Authorization"], body)
        except ConnectionAbortedError:
            raise httpx.RemoteProtocolError("no answer", request=request) from None
        if self.kill_at in (self.asked, *(self.calls - before)):
            raise Killed
        if isinstance(answer, list):
            return httpx.Response(status, text="".join(f"data:{json.dumps({'line': line})}\n\n" for line in answer))
        content = b"" if answer is None else json.dumps(answer).encode()
        return httpx.Response(status, content=content, headers={"Content-Type": "application/json"} | headers)


class Sequence(RuleBasedStateMachine):
    """One account, two laptops with the same `.env`."""

    capture: Any

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.fake = Service(None)
        self.patch = pytest.MonkeyPatch()
        self.excused = False  # a pod above the price was told, or its launch was killed
        for module in (polling, client, wait, ledger):
            self.patch.setattr(module, "time", self.fake.clock)
        self.patch.setattr("httpx._client.HTTPTransport", lambda **_: httpx.MockTransport(self.fake.handle))
        assert self.type(0, "publish", "--image", IMAGE)[0] == 0

    def teardown(self) -> None:
        try:
            self.become({})
            for pod in self.fake.live():
                code, _, said = self.type(1, "terminate", pod["id"], "--yes", "--force")
                assert code == 0 and pod not in self.fake.live(), said
        finally:
            self.patch.undo()
            self.fake.close()
            self.folder.cleanup()

    def become(self, world: dict[str, Any]) -> None:
        """Let a minute pass, and the world change."""
        self.fake.faults, self.fake.kill_at = [], None
        self.fake.clock.sleep(A_MINUTE)
        self.fake.pass_time()
        for name, value in (KIND | world).items():
            setattr(self.fake, name, value)

    def type(self, laptop: int, *words: str) -> tuple[int | None, str, str]:
        """Exit code, None for one that was killed, and what was printed and said."""
        place = Path(self.folder.name) / str(laptop)
        place.mkdir(exist_ok=True)
        self.capture.readouterr()
        try:
            code: int | None = cli.main(["runpod", *words], Project(place))
        except Killed:
            code = None
        said = self.capture.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    @initialize(more=LAUNCHES, laptop=st.integers(0, 1), verbs=st.sampled_from([[], ["launch"], ["launch", "stop"]]))
    def begun(self, more: list, laptop: int, verbs: list) -> None:
        """There is nothing yet, or a pod, or one that is stopped."""
        for verb in verbs:
            words = ["--yes", "--max-price", PRICE, *more] if verb == "launch" else []
            code, _, said = self.type(laptop, verb, *words)
            assert code == 0, said

    @rule(
        number=st.integers(0, 100),
        more=LAUNCHES,
        laptop=st.integers(0, 1),
        world=WORLDS,
        faults=st.lists(FAULTS, max_size=2),
        kill=KILLS,
        hours=st.sampled_from([0, 0, 0, 20]),
        hurried=HURRIED,
        pause=st.sampled_from([0.0, 1.0, 5.0, 20.0]),
        other=st.booleans(),
    )
    def typed(
        self,
        number: int,
        more: list,
        laptop: int,
        world: dict,
        faults: list,
        kill: int | str | None,
        hours: int,
        hurried: str | None,
        pause: float,
        other: bool,
    ):
        verbs = VERBS["runs" if self.fake.billed() else "stopped" if self.fake.live() else "none"]
        verb = verbs[number % len(verbs)]
        words = {
            "launch": ["--yes", "--max-price", PRICE, *more],
            "resume": ["--yes"],
            "terminate": ["--yes", "--force"],
        }
        for pod in self.fake.live() if hours else ():
            pod["createdAt"] = _ago(hours)
            pod["startedAt"] = pod["startedAt"] and pod["createdAt"]
        self.become(world)
        for fault in faults:
            refused = {"done": False, "late": 0.0} if fault.status in REFUSALS else {}
            self.fake.faults.append(replace(fault, **refused))
        self.fake.asked, self.fake.kill_at = 0, kill
        code, out, err = self.type(laptop, verb, *words.get(verb, []))
        said = out + err
        if code == 0:
            self.see_that_it_is_so(verb, said)
        self.see_what_is_billed(code, said)
        if hurried:
            # Only the laptop that has asked for a start knows that it may yet come.
            there = laptop if hurried == "stop" or not other else 1 - laptop
            self.typed_at_once(there, [hurried, *words.get(hurried, [])], pause)
        self.become({})
        self.see_that_none_is_forgotten(1 - laptop)

    def typed_at_once(self, laptop: int, words: list[str], pause: float) -> None:
        """What RunPod tells late goes on being late; what a verb has reported still holds when all of it is done."""
        self.fake.faults, self.fake.kill_at = [], None
        self.fake.clock.sleep(pause)
        self.fake.pass_time()
        code, out, err = self.type(laptop, *words)
        for _ in range(6):
            self.fake.clock.sleep(A_MINUTE / 6)
            self.fake.pass_time()
        if code == 0 and words[0] in ("stop", "terminate", "reap"):
            self.see_that_it_is_so(words[0], out + err)
        self.see_what_is_billed(code, out + err)

    def see_that_it_is_so(self, verb: str, said: str) -> None:
        live, billed = self.fake.live(), self.fake.billed()
        if verb in ("launch", "resume"):
            assert [pod["status"] for pod in live] == ["RUNNING"], said
            assert float(live[0]["cost"]) <= float(PRICE), said
        if verb == "stop":
            assert billed == [] and len(live) >= ("is EXITED" in said), said
        if verb == "terminate":
            assert live == [], said
        if verb == "reap":
            assert not [pod for pod in billed if (pod["startedAt"] or pod["createdAt"]) < _ago(12)], said

    def see_what_is_billed(self, code: int | None, said: str) -> None:
        billed = self.fake.billed()
        assert len(billed) <= 1, said
        replaced = {pod["env"].get("LABELPOD_INSTEAD_OF") for pod in self.fake.live()}
        assert len([pod for pod in self.fake.live() if pod["id"] not in replaced]) <= 1, said
        assert len(self.fake.volumes) <= 1, said
        dear = [pod for pod in billed if pod["cost"] > float(PRICE)]
        told = code is None or "COSTS $1.90 AN HOUR" in said or "it may have been done" in said
        assert not dear or self.excused or told, said
        # What a killed launch has ordered may come a while later.
        self.excused = told or (bool(dear) and self.excused)

    def see_that_none_is_forgotten(self, laptop: int) -> None:
        code, out, said = self.type(laptop, "status", "--json")
        assert code == 0, said
        shown = {pod["id"] for pod in json.loads(out)["pods"]}
        assert shown == {pod["id"] for pod in self.fake.live()}, said


def _ago(hours: float) -> str:
    return (datetime.now(UTC) - timedelta(hours=hours)).isoformat()


def test_whatever_is_typed_and_goes_wrong_there_is_one_pod_and_it_is_known(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name, raising=False)
    given = {"RUNPOD_API_KEY": KEY, "RUNPOD_API_URL": "http://runpod", "LABEL_SERVER_TOKEN": TOKEN}
    for name, value in (given | {"RUNPOD_PROXY_URL": "http://runpod/proxy/{pod}/"}).items():
        monkeypatch.setenv(PREFIX + name, value)
    monkeypatch.setattr("typer.main.get_command", functools.cache(typer.main.get_command))
    monkeypatch.setattr(keys, "public_key", lambda _: "ssh-ed25519 AAAA labelpod")
    monkeypatch.setattr(verbs, "_MINUTES", 5.0)
    Sequence.capture = capfd
    run_state_machine_as_test(
        Sequence,
        settings=settings(
            max_examples=SEQUENCES,
            stateful_step_count=8,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        ),
    )
