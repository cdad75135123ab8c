"""Trainings as the command line starts, shows and stops them, on a stand-in for the label server."""

from typing import Any

import pytest

from labelpod.clients.label_server import RefusedError
from labelpod.errors import DeployError
from labelpod.models import training
from labelpod.models.training import Training

OLD = {"run": "1", "loss": [[1, 0.9]], "dice": [[1, 0.1]]}
FIRST = {"run": "2", "epochs": 2, "epoch": 0, "iteration": 3, "iterations": 4, "last_loss": 0.8, "loss": [], "dice": []}
SECOND = FIRST | {"epoch": 1, "iteration": 1, "loss": [[1, 0.75]], "dice": [[1, 0.5]]}
DONE = {"run": "2", "epochs": 2, "epoch": 2, "loss": [[1, 0.75], [2, 0.5]], "dice": [[1, 0.5], [2, 0.625]]}
DONE |= {"best_dice": 0.625, "seconds": 61.2, "published": True, "problem": ""}
TRACEBACK = [
    "Traceback (most recent call last):",
    "  raise ValueError(...)",
    "ValueError: no study has a label",
    "[INFO] bye",
]


def task(status: str, details: tuple[str, ...] | list[str] = ()) -> dict[str, Any]:
    return {"status": status, "request": {"model": "deepgrow_2d"}, "details": list(details)}


class Server:
    """Each look at the training takes the next of the states: task, progress, and records beside the old one."""

    def __init__(self, *states: tuple[dict | None, dict | None, list[dict]], labelled: int = 3) -> None:
        self.states = list(states) or [(None, None, [])]
        self.labelled = labelled
        self.asked: list[tuple[str, str, Any]] = []
        self.refuses: dict[str, RefusedError] = {}
        self.deleted: dict | None = task("STOPPED")

    def info(self) -> dict[str, Any]:
        _, progress, ended = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        stats = {"progress": progress, "history": [OLD, *ended]}
        trainers = {name: {"config": {"val_split": 0.2}} for name in ("deepgrow_2d", "deepgrow_3d")}
        return {
            "trainers": trainers,
            "train_stats": {"deepgrow_2d": stats, "deepgrow_3d": {}},
            "datastore": {"total": 7, "completed": self.labelled},
        }

    def ask(self, method: str, path: str, **body: Any) -> Any:
        self.asked.append((method, path, body.get("json")))
        if method in self.refuses:
            raise self.refuses[method]
        if method == "DELETE":
            return self.deleted
        if method == "GET" and self.states[0][0] is None:
            raise RefusedError(404, "No Train Tasks Found")
        return self.states[0][0]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_POLL_SECONDS", 0)


def watched(*states: tuple) -> str:
    return training.watch(Server(*states), Training("deepgrow_2d", frozenset({"1"})))


def failure(call, *arguments: Any) -> DeployError:
    with pytest.raises(DeployError) as raised:
        call(*arguments)
    return raised.value


# --- start ---


def test_what_is_asked_for_is_sent_and_all_else_is_left_to_the_trainer():
    server = Server()
    training.start(server, "deepgrow_2d")
    started = training.start(server, "deepgrow_2d", epochs=5, val_split=0.0, batch_size=4)
    sent = {"max_epochs": 5, "val_split": 0.0, "train_batch_size": 4, "val_batch_size": 4}
    assert server.asked == [("POST", "train/deepgrow_2d", {}), ("POST", "train/deepgrow_2d", sent)]
    assert started == Training("deepgrow_2d", frozenset({"1"}))


def test_without_a_label_nothing_is_started_and_the_numbers_are_said():
    server = Server(labelled=0)
    error = failure(training.start, server, "deepgrow_2d")
    assert "1 labelled study" in error.message and "0 of 7" in error.message and not server.asked


@pytest.mark.parametrize(
    ("labelled", "split", "said"), [(1, None, True), (1, 0.5, True), (1, 0.0, False), (2, 0.5, False)]
)
def test_that_nothing_can_be_validated_is_said_before(labelled, split, said, capsys):
    training.start(Server(labelled=labelled), "deepgrow_2d", val_split=split)
    assert ("nothing will be validated" in capsys.readouterr().err) is said


def test_a_model_without_a_trainer_is_refused_with_those_that_there_are():
    error = failure(training.start, Server(), "deepgrow_pipeline")
    assert "deepgrow_pipeline" in error.message and "deepgrow_2d, deepgrow_3d" in error.remedy


def test_a_training_that_runs_already_is_one_line():
    server = Server((task("RUNNING"), None, []))
    server.refuses["POST"] = RefusedError(429, "Train Task is Already Running")
    error = failure(training.start, server, "deepgrow_3d")
    assert error.message == "a training of deepgrow_2d runs already" and "--stop" in error.remedy


@pytest.mark.parametrize("last", [None, task("DONE")])
def test_another_refusal_is_passed_on(last):
    server = Server((last, None, []))
    server.refuses["POST"] = RefusedError(429, "Too many requests at once")
    assert "Too many requests" in failure(training.start, server, "deepgrow_2d").message


# --- watch ---


def test_what_happens_is_shown_once_and_the_end_says_what_serves(capsys):
    running = task("RUNNING")
    words = watched(
        (running, None, []),
        (running, FIRST, []),
        (running, SECOND, []),
        (running, SECOND, []),
        (task("DONE"), None, [DONE]),
    )
    assert capsys.readouterr().err.splitlines() == [
        "Preparing the training of deepgrow_2d",
        "Epoch 1 of 2: loss 0.7500",
        "Epoch 1 of 2: Dice 0.500",
        "Epoch 2 of 2: loss 0.5000",
        "Epoch 2 of 2: Dice 0.625",
    ]
    assert words == "deepgrow_2d: 2 of 2 epochs in 61 s, loss 0.5000, best Dice 0.625; its weights serve from now on"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (FIRST | {"iterations": 0}, "Preparing deepgrow_2d"),
        (FIRST, "Training deepgrow_2d  batch 3 of 4  loss 0.8000"),
        (SECOND, "Training deepgrow_2d  batch 1 of 4  loss 0.8000  Dice 0.500"),
    ],
)
def test_progress_counts_batches(state: dict[str, Any], words: str):
    assert training._now("deepgrow_2d", state) == words


def test_what_was_not_validated_and_not_published_is_said():
    record = DONE | {"dice": [], "best_dice": None, "published": False}
    words = watched((task("DONE"), None, [record]))
    assert "not validated" in words and "not published" in words


def test_the_record_of_an_earlier_training_is_not_taken_for_this_ones():
    assert watched((task("DONE"), None, [])) == "The training of deepgrow_2d is done"


@pytest.mark.parametrize(
    ("problem", "details", "reason"),
    [
        ("no study has a label", TRACEBACK, "ValueError: no study has a label"),
        ("it was stopped", TRACEBACK, "it was stopped (ValueError: no study has a label)"),
        ("it was stopped", ["loading", "Iteration 3", ""], "it was stopped (Iteration 3)"),
        (None, ["torch.OutOfMemoryError: CUDA out of memory"], "torch.OutOfMemoryError: CUDA out of memory"),
    ],
)
def test_a_failed_training_says_why(problem, details, reason):
    records = [] if problem is None else [DONE | {"problem": problem}]
    error = failure(watched, (task("ERROR", details), None, records))
    assert error.message == f"the training of deepgrow_2d failed: {reason}" and "logs" in error.remedy


def test_a_training_that_ended_with_the_server_says_so():
    assert "the label server has been restarted" in failure(watched, (None, None, [])).message


def test_a_training_that_somebody_stopped_is_said_so():
    assert "was stopped" in failure(watched, (task("STOPPED"), None, [])).message


def test_ctrl_c_leaves_the_training_running(monkeypatch):
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training.time, "sleep", interrupt)
    server = Server((task("RUNNING"), FIRST, []))
    words = training.watch(server, Training("deepgrow_2d", frozenset()))
    assert "keeps running" in words and "train --watch" in words and "train --stop" in words
    assert {method for method, *_ in server.asked} == {"GET"}


def test_a_training_that_runs_can_be_looked_at_again():
    assert training.running(Server((task("RUNNING"), FIRST, []))) == Training("deepgrow_2d", frozenset({"1"}))


@pytest.mark.parametrize("last", [None, task("DONE"), task("STOPPED"), task("ERROR")])
def test_where_none_runs_there_is_nothing_to_look_at_and_nothing_to_stop(last):
    for call in (training.running, lambda server: training.stop(server, None)):
        server = Server((last, None, []))
        assert failure(call, server).message == "no training runs"
        assert "DELETE" not in {method for method, *_ in server.asked}


# --- stop ---


@pytest.mark.parametrize("model", [None, "deepgrow_2d"])
def test_the_training_that_runs_is_stopped(model):
    server = Server((task("RUNNING"), FIRST, []))
    assert "deepgrow_2d is stopped" in training.stop(server, model)
    assert server.asked[-1][:2] == ("DELETE", "train/")


def test_the_training_of_another_model_is_not_stopped():
    server = Server((task("RUNNING"), FIRST, []))
    assert "deepgrow_2d" in failure(training.stop, server, "deepgrow_3d").message
    assert "DELETE" not in {method for method, *_ in server.asked}


def test_a_training_that_ended_meanwhile_was_not_stopped():
    server = Server((task("RUNNING"), FIRST, []))
    server.deleted = None
    assert "just ended" in failure(training.stop, server, None).message
