"""Whose stack it is, where two checkouts have one project name; Docker Engine is a stand-in."""

import shutil
from pathlib import Path

import pytest

from labelpod import lifecycle
from labelpod.config import settings
from labelpod.docker import client, ownership
from labelpod.docker.stack import Stack
from labelpod.errors import DeployError
from labelpod.project import Project

DATA = "labelpod_orthanc-db"


class Engine:
    """Containers as the folder and the Compose files they were started from, and volumes as the folder they say."""

    def __init__(self) -> None:
        self.containers: list[tuple[Path, str]] = []
        self.volumes: dict[str, Path | None] = {}
        self.down = False

    def ask(self, *words: str) -> str:
        if self.down:
            raise DeployError("docker ps: no answer", "python3 deploy.py doctor")
        match words:
            case ("ps", *_):
                return "".join(f"{folder}\t{files}\n" for folder, files in self.containers)
            case ("volume", "ls", "--quiet", *_):
                return "\n".join(name for name, folder in self.volumes.items() if folder is None)
            case ("volume", "ls", _, "name=^labelpod_checkout$", *_):
                return f"{self.volumes.get('labelpod_checkout') or ''}\n"
            case ("volume", "rm", "--force", name):
                self.volumes.pop(name, None)
            case ("volume", "create", "--label", label, name):
                self.volumes.setdefault(name, Path(label.removeprefix("labelpod.checkout=")))
            case _:
                raise AssertionError(words)
        return ""

    def run(self, project: Project) -> None:
        """What `up` leaves behind."""
        ownership.claim("labelpod", project)
        self.containers = [(project.root, f"{project.root}/compose.yaml,{project.root}/compose.gpu.yaml")]
        self.volumes[DATA] = None

    def stop(self) -> None:
        self.containers = []


@pytest.fixture(autouse=True)
def nobody_else_has_the_stack() -> None:
    """In place of the fixture that keeps the other tests from asking the machine's own engine."""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    made = Engine()
    monkeypatch.setattr(ownership, "_docker", made.ask)
    monkeypatch.delenv("COMPOSE_PROJECT_NAME", raising=False)
    return made


def checkout(folder: Path, used: bool = True) -> Project:
    """A checkout; one that was used has secrets."""
    folder.mkdir()
    (folder / "compose.yaml").touch()
    if used:
        (folder / "secrets").mkdir()
        (folder / "secrets" / "label_key").touch()
    return Project(folder)


@pytest.fixture
def first(tmp_path: Path, engine: Engine) -> Project:
    made = checkout(tmp_path / "first")
    engine.run(made)
    return made


@pytest.fixture
def second(tmp_path: Path) -> Project:
    return checkout(tmp_path / "second")


def moved(first: Project) -> Project:
    folder = first.root.rename(first.root.with_name("elsewhere"))
    return Project(folder)


def test_a_folder_has_the_stack_that_it_started(engine, first):
    ownership.settle("labelpod", first, yes=False)
    assert ownership.check("labelpod", first) == []


def test_a_folder_that_is_reached_by_a_link_is_the_same_folder(engine, first, tmp_path):
    (tmp_path / "link").symlink_to(first.root)
    engine.containers = [(tmp_path / "link", "")]
    assert ownership.check("labelpod", first) == []


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("step", [ownership.check, lambda *names: ownership.settle(*names, yes=True), ownership.claim])
def test_another_folders_stack_is_refused_and_that_folder_named(engine, first, second, step, runs):
    if not runs:
        engine.stop()
    with pytest.raises(DeployError) as caught:
        step("labelpod", second)
    assert str(first.root) in caught.value.message and "COMPOSE_PROJECT_NAME" in caught.value.remedy


def test_a_stack_that_has_no_mark_yet_is_known_by_its_containers(engine, first, second):
    del engine.volumes["labelpod_checkout"]
    with pytest.raises(DeployError, match=str(first.root)):
        ownership.check("labelpod", second)


@pytest.mark.parametrize("use", ["docker", "containers", "exec_prefix", "logs", "up", "down"])
def test_nothing_is_asked_of_another_folders_stack(engine, first, second, monkeypatch, use):
    monkeypatch.setattr(client, "client", lambda *_: pytest.fail("Docker was asked"))
    stack = Stack(second, settings.Settings())
    asked = {
        "docker": lambda: stack.docker,
        "logs": lambda: list(stack.logs(None, follow=False)),
        "down": lambda: stack.down(volumes=True),
    }
    with pytest.raises(DeployError, match=str(first.root)):
        asked.get(use, lambda: getattr(stack, use)())()


def test_down_with_volumes_leaves_another_folders_stack(engine, first, second, monkeypatch):
    monkeypatch.setattr(lifecycle.docker_install, "answers", lambda: True)
    monkeypatch.setattr(Stack, "down", lambda *_: pytest.fail("it was deleted"))
    with pytest.raises(DeployError, match=str(first.root)):
        lifecycle.down(second, volumes=True, yes=True)
    assert DATA in engine.volumes


def test_up_is_refused_before_anything_is_written(engine, first, second, monkeypatch):
    monkeypatch.setattr(lifecycle.docker_install, "ensure", lambda _: None)
    monkeypatch.setattr(lifecycle.examine, "obstacles", lambda _: pytest.fail("the machine was looked at"))
    with pytest.raises(DeployError, match=str(first.root)):
        lifecycle.up(second, "cpu", yes=True)
    assert not second.env_file.exists()


def test_a_folder_that_was_moved_is_taken_over_after_a_question(engine, first):
    there = moved(first)
    assert ownership.check("labelpod", there) == [first.root], "it is looked at without a question"
    with pytest.raises(DeployError, match=r"first, which is gone") as caught:
        ownership.settle("labelpod", there, yes=False)
    assert "--yes" in caught.value.remedy
    ownership.settle("labelpod", there, yes=True)
    engine.stop()
    ownership.claim("labelpod", there)
    assert engine.volumes["labelpod_checkout"] == there.root


def test_what_docker_puts_where_files_are_gone_is_no_checkout(engine, first):
    there = moved(first)
    (first.root / "compose.yaml").mkdir(parents=True)
    assert ownership.check("labelpod", there) == [first.root]


def test_a_folder_that_this_user_may_not_look_into_is_there(engine, first, second, monkeypatch):
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    engine.stop()
    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(DeployError, match=str(first.root)):
        ownership.check("labelpod", second)


def test_a_fresh_checkout_takes_over_no_volumes_whatever_is_answered(engine, first, tmp_path):
    engine.stop()
    fresh = checkout(tmp_path / "fresh", used=False)
    shutil.rmtree(first.root)
    for mark in (True, False):
        if not mark:
            del engine.volumes["labelpod_checkout"]
        with pytest.raises(DeployError, match="has not the secrets") as caught:
            ownership.settle("labelpod", fresh, yes=True)
        assert "secrets/" in caught.value.remedy


def test_volumes_of_an_older_version_belong_to_the_folder_with_secrets(engine, first):
    engine.stop()
    del engine.volumes["labelpod_checkout"]
    ownership.settle("labelpod", first, yes=False)


def test_a_mark_without_volumes_is_in_nobodys_way(engine, first, tmp_path):
    engine.stop()
    del engine.volumes[DATA]
    shutil.rmtree(first.root)
    fresh = checkout(tmp_path / "fresh", used=False)
    ownership.settle("labelpod", fresh, yes=False)
    ownership.claim("labelpod", fresh)
    assert engine.volumes["labelpod_checkout"] == fresh.root


def test_of_two_folders_that_start_at_once_one_is_refused(engine, second, tmp_path, monkeypatch):
    other, ask = checkout(tmp_path / "other"), engine.ask

    def both(*words: str) -> str:
        if words[:2] == ("volume", "create"):
            ask("volume", "create", "--label", f"labelpod.checkout={other.root}", words[-1])
        return ask(*words)

    monkeypatch.setattr(ownership, "_docker", both)
    with pytest.raises(DeployError, match=str(other.root)):
        ownership.claim("labelpod", second)


def test_an_engine_that_does_not_answer_is_not_taken_for_one_without_a_stack(engine, second):
    engine.down = True
    with pytest.raises(DeployError, match="no answer"):
        ownership.check("labelpod", second)
