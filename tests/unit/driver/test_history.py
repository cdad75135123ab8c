"""What is said of trainings that ended, and the picture of them."""

import json
from types import SimpleNamespace

import pytest

from labelpod.errors import DeployError
from labelpod.models import history

RUN = {"run": "20260102_030405", "started": "2026-01-02T03:04:05+00:00", "studies": 12, "epochs": 50, "epoch": 50}
RUN |= {"loss": [[1, 0.5]], "dice": [[1, 0.7]], "best_dice": 0.7, "published": True, "seconds": 3725.4, "problem": ""}
RUN |= {"batch_size": 4, "val_split": 0.2, "patients": ["a", "b"], "study": None, "left_out": []}
STOPPED = RUN | {"started": "2026-01-03T00:00:00+00:00", "epoch": 3, "best_dice": None, "published": False}
STOPPED |= {"problem": "it was stopped", "pid": 7}


class Server:
    """Two models that were trained, and one that tells nothing."""

    def info(self) -> dict:
        stats = {"deepgrow_3d": {"history": [STOPPED]}, "deepgrow_2d": {"history": [RUN]}, "segmentation": {}}
        return {"trainers": dict.fromkeys(stats), "train_stats": stats}


def stack(running: bool | None) -> SimpleNamespace:
    """A stack whose label server runs, does not, or is not there."""
    container = SimpleNamespace(name="server-1", state=SimpleNamespace(running=running))
    return SimpleNamespace(containers=lambda: {} if running is None else {"label-server": container})


def test_trainings_of_all_models_are_listed_by_date_and_those_of_one_alone():
    assert [run["model"] for run in history.runs(Server(), None)] == ["deepgrow_2d", "deepgrow_3d"]
    assert [run["model"] for run in history.runs(Server(), "deepgrow_3d")] == ["deepgrow_3d"]
    assert history.runs(Server(), "segmentation") == []
    with pytest.raises(DeployError):
        history.runs(Server(), "unheard-of")


def test_every_training_has_the_same_keys():
    first, second = history.runs(Server(), None)
    assert set(first) == set(second) == {"model", "running", "iteration", "iterations", *(set(RUN) - {"pid"})}


def test_people_see_date_studies_epochs_dice_duration_and_outcome():
    head, first, second = history.table(history.runs(Server(), None)).splitlines()
    assert "best Dice" in head
    for words in (
        "2026-01-0",
        "deepgrow_2d",
        "12",
        "50/50",
        "0.700",
        "1:02:05",
        "published",
        "0.2",
        "2 patients",
        "  4 ",
    ):
        assert words in first
    assert "3/50" in second and " - " in second and second.endswith("it was stopped")


class Training(Server):
    """One model is trained now."""

    now = RUN | {"run": "2", "started": "2026-01-04T00:00:00+00:00", "epoch": 3, "iteration": 7, "iterations": 20}

    def info(self) -> dict:
        info = super().info()
        info["train_stats"]["deepgrow_2d"]["progress"] = {key: self.now[key] for key in self.now if key != "best_dice"}
        return info


def test_the_training_that_runs_is_listed_last_with_its_batch():
    *earlier, last = history.runs(Training(), None)
    assert last["running"] and not any(run["running"] for run in earlier)
    row = history.table([*earlier, last]).splitlines()[-1]
    assert "3/50" in row and row.endswith("runs, batch 7 of 20")
    assert history.table([last | {"iterations": 0}]).endswith("runs, is prepared")


def test_a_training_that_failed_while_it_prepared_says_at_which_study():
    failed = RUN | {"model": "deepgrow_2d", "running": False, "study": "1.2.3", "problem": "it is cut off"}
    assert history.table([failed]).endswith("it is cut off (study 1.2.3)")


def test_what_a_training_could_not_read_is_said_with_the_reason():
    left_out = [{"image": "1.2", "reason": "its frames are small"}, {"image": "1.3", "reason": "another"}]
    _, row = history.table([RUN | {"left_out": left_out, "model": "deepgrow_2d", "running": False}]).splitlines()
    assert row.endswith("published, 2 studies left out: its frames are small")


def test_before_the_first_training_that_is_what_is_said():
    assert history.table([]) == "Nothing has been trained yet"


def test_the_picture_is_drawn_in_the_label_servers_container(programs, tmp_path, capsys):
    programs.add("docker", f'cat > {tmp_path}/input; printf "picture"')
    history.plot(stack(True), [RUN], tmp_path / "history.png")
    assert (tmp_path / "history.png").read_text() == "picture"
    assert json.loads((tmp_path / "input").read_text()) == [RUN]
    assert programs.calls("docker")[0].startswith("exec -i server-1 python -m label_server.models.training_plot")
    assert "$ docker exec -i server-1 python -m label_server.models.training_plot" in capsys.readouterr().err


def test_a_picture_that_cannot_be_drawn_leaves_no_file(programs, tmp_path):
    programs.add("docker", 'echo "No module named matplotlib" >&2; exit 1')
    with pytest.raises(DeployError, match="No module named matplotlib"):
        history.plot(stack(True), [RUN], tmp_path / "history.png")
    assert not (tmp_path / "history.png").exists()


@pytest.mark.parametrize(("running", "found"), [(True, []), (False, [RUN]), (None, [RUN])])
def test_where_there_is_nothing_to_draw_or_nowhere_docker_is_not_called(running, found, programs, tmp_path):
    programs.add("docker")
    with pytest.raises(DeployError):
        history.plot(stack(running), found, tmp_path / "history.png")
    assert programs.calls("docker") == []
