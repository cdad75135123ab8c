"""Two laptops that launch at the same moment share one pod and one volume, however old RunPod's lists are."""

import threading
from pathlib import Path

import pytest

from labelpod.config.settings import Settings
from labelpod.errors import DeployError
from labelpod.project import Project
from labelpod.runpod import launch, rent, volumes
from labelpod.runpod.catalog import Wish
from labelpod.runpod.client import Client
from tests.contract.conftest import TOKEN, Runpod
from tests.contract.fake_runpod import KEY
from tests.contract.unkind_runpod import UnkindRunPod


@pytest.fixture
def at_once(fake: UnkindRunPod, tmp_path: Path, published: str, runpod: Runpod, monkeypatch: pytest.MonkeyPatch):
    """Let two laptops launch; both have looked before either makes a volume, and both have one before either rents."""
    values = Settings(LABEL_SERVER_TOKEN=TOKEN, RUNPOD_API_KEY=KEY)
    steps = {module: threading.Barrier(2) for module in (volumes, rent)}
    for module, name in ((volumes, "make"), (rent, "rent")):
        real, together = getattr(module, name), steps[module]

        def stepped(*arguments, real=real, together=together, **more):
            together.wait(10)
            return real(*arguments, **more)

        monkeypatch.setattr(module, name, stepped)
    got: dict[int, str] = {}

    def one(number: int, gigabytes: int) -> None:
        folder = tmp_path / f"laptop{number}"
        folder.mkdir()
        name = "nodules" if gigabytes else ""
        with Client(KEY, fake.url) as client:
            try:
                pod = launch.launch(client, values, Project(folder), Wish(), name, gigabytes, yes=True)
                got[number] = launch.confirm(client, values, Project(folder), pod, another=False)["id"]
            except DeployError as error:
                got[number] = error.message

    def both(gigabytes: int) -> set[str]:
        threads = [threading.Thread(target=one, args=(number, gigabytes)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        return set(got.values())

    return both


@pytest.mark.parametrize("lag", [0, 5, 25])
@pytest.mark.parametrize("gigabytes", [0, 20])
def test_both_have_the_same_pod_and_volume(fake: UnkindRunPod, at_once, lag: float, gigabytes: int):
    fake.list_lag = lag
    got = at_once(gigabytes)
    assert got == {pod["id"] for pod in fake.live()} and len(got) == 1, got
    assert len(fake.volumes) == bool(gigabytes)
    assert all(volume in str(fake.live()) for volume in fake.volumes)


def test_of_two_volumes_for_launches_that_both_failed_no_two_are_left(fake: UnkindRunPod, at_once):
    fake.full, fake.list_lag = {each["id"] for each in fake.catalogue}, 5
    assert all("can be rented now" in message for message in at_once(20))
    assert len(fake.volumes) <= 1 and fake.live() == []
