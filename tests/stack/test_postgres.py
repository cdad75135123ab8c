"""PostgreSQL as Orthanc's database: the way there from a filled SQLite store, and what it outlives."""

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
import SimpleITK as sitk

from labelpod.dicom import phantom
from tests.support import engine as docker_engine
from tests.support.annotator import Annotator
from tests.support.clone import Clone
from tests.support.pacs import Pacs
from tests.support.waiting import eventually

SLICES = 40
POSTGRES = {"ORTHANC_DB": "postgres"}
PASSWORD = "secrets/postgres_password"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, engine: None) -> Iterator[Clone]:
    """A stack on SQLite with one CT in it."""
    clone = Clone.make(tmp_path_factory.mktemp("postgres"), "labelpod-test-postgres")
    clone.environment["MODELS"] = "deepgrow_2d"  # one loads faster than two
    clone.done("up", "--yes", "--cpu")
    push(clone, tmp_path_factory.mktemp("ct"))
    yield clone
    clone.cli("down", "--volumes", "--yes")
    left = subprocess.run(["docker", "volume", "ls", "-q"], capture_output=True, text=True, check=True).stdout
    assert clone.project not in left


@pytest.fixture(scope="module")
def before(site: Clone) -> dict[str, bytes]:
    """The files that SQLite's Orthanc holds; from here on the setting names PostgreSQL."""
    held = files(Pacs.of(site.status()))
    assert len(held) == SLICES
    site.environment |= POSTGRES
    return held


@pytest.fixture(scope="module")
def refusal(site: Clone, before: dict[str, bytes]) -> subprocess.CompletedProcess[str]:
    """What `up` says once the setting has changed and the studies have not moved."""
    return site.cli("up", "--yes", "--cpu")


@pytest.fixture(scope="module")
def interrupted(site: Clone, refusal: subprocess.CompletedProcess[str]) -> None:
    """A migration that was killed while its own Orthanc was running."""
    command = ["python3", "deploy.py", "studies", "migrate", "--yes"]
    with subprocess.Popen(command, cwd=site.root, env=site.variables(), stderr=subprocess.DEVNULL) as work:
        eventually(lambda: running(source(site)), 60, "the old store's Orthanc runs")
        work.kill()
    assert running(source(site))


@pytest.fixture(scope="module")
def migrated(site: Clone, interrupted: None) -> str:
    """What `studies migrate` prints."""
    return site.done("studies", "migrate", "--yes")


@pytest.fixture(scope="module")
def labelled(site: Clone, migrated: str) -> str:
    """The CT, labelled at the stack with PostgreSQL; its series UID."""
    annotator = Annotator(site.status()["label_server"]["url"])
    ct = eventually(annotator.next_sample, 20, "the CT is offered")
    image = annotator.image(ct)
    voxels = np.zeros(image.GetSize()[::-1], np.uint8)
    voxels[10:20, 20:30, 20:30] = 1
    annotator.submit(ct, image, voxels)
    return ct


def push(clone: Clone, folder: Path) -> None:
    phantom.write(folder, SLICES, 64)
    clone.done("studies", "push", "--force", str(folder))


def files(pacs: Pacs) -> dict[str, bytes]:
    """Orthanc's id of each instance -> its DICOM file."""
    listed = pacs.session.get(f"{pacs.url}/instances", timeout=30).json()
    return {name: pacs.session.get(f"{pacs.url}/instances/{name}/file", timeout=30).content for name in listed}


def answers(pacs: Pacs) -> bool:
    try:
        return pacs.session.get(f"{pacs.url}/system", timeout=5).ok
    except requests.RequestException:
        return False


def comes_back(clone: Clone, labelled: str) -> None:
    """Without a command of anybody's, the stack answers with its label."""
    eventually(lambda: clone.status()["label_server"]["ready"], 120, "the label server is ready")
    stored = Annotator(clone.status()["label_server"]["url"]).stored_label(labelled)
    assert sitk.GetArrayFromImage(stored)[10:20, 20:30, 20:30].all()


def source(clone: Clone) -> str:
    return f"{clone.project}-orthanc-before"


def running(container: str) -> bool:
    inspect = ["docker", "inspect", "-f", "{{.State.Running}}", container]
    return subprocess.run(inspect, capture_output=True, text=True, check=False).stdout.strip() == "true"


def services(clone: Clone) -> dict[str, dict]:
    """What Docker knows of each container of the stack, by its service."""
    listed = ["docker", "ps", "-aq", "--filter", f"label=com.docker.compose.project={clone.project}"]
    ids = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
    found = json.loads(subprocess.run(["docker", "inspect", *ids], capture_output=True, check=True).stdout)
    return {each["Config"]["Labels"]["com.docker.compose.service"]: each for each in found}


def test_up_does_not_start_beside_studies_that_nobody_has_taken_over(site: Clone, refusal, before):
    assert refusal.returncode == 1
    assert "Error: the studies are in SQLite, and would not be seen with LABELPOD_ORTHANC_DB=postgres" in refusal.stderr
    assert "deploy.py studies migrate" in refusal.stderr
    assert files(Pacs.of(site.status())).keys() == before.keys()  # it runs on as it did


def test_after_a_killed_migration_every_instance_is_taken_over_as_it_was(site: Clone, migrated, before):
    assert f"All {SLICES} instances of 1 study are in PostgreSQL" in migrated
    assert f"docker volume rm {site.project}_orthanc-db" in migrated
    pacs = Pacs.of(site.status())
    assert pacs.session.get(f"{pacs.url}/system", timeout=30).json()["DatabaseBackendPlugin"]
    assert files(pacs) == before
    assert not running(source(site))


def test_the_database_is_a_service_like_the_others(site: Clone, migrated):
    assert site.status()["postgres"] == {"state": "running"}
    assert "database system is ready" in site.done("logs", "postgres")
    assert "psql" in site.run_in("postgres", "psql", "--version")


def test_nobody_outside_reaches_the_database_and_nobody_sees_its_password(site: Clone, migrated):
    password = (site.root / PASSWORD).read_text()
    containers = services(site)
    assert containers["postgres"]["HostConfig"]["PortBindings"] == {}
    assert password not in json.dumps(containers)
    assert password not in "".join(path.read_text() for path in (site.root / "build").glob("*") if path.is_file())
    assert password not in site.run_in(
        "orthanc", "bash", "-c", "cat /proc/[0-9]*/cmdline /proc/self/environ | tr -d '\\0'"
    )


def test_the_database_wants_the_password(site: Clone, migrated):
    """From the stack's network, as Orthanc comes; whoever is inside the container is let in."""
    ask = "psql -h $(hostname -i) -U orthanc -d orthanc -tc 'select 1'"
    refused = site.compose("exec", "-T", "-e", "PGPASSWORD=guess", "postgres", "bash", "-c", ask)
    assert refused.returncode != 0 and "password authentication failed" in refused.stderr
    password = (site.root / PASSWORD).read_text()
    let_in = site.compose("exec", "-T", "-e", f"PGPASSWORD={password}", "postgres", "bash", "-c", ask)
    assert let_in.returncode == 0, let_in.stderr


def test_of_several_connections_that_store_at_once_none_is_refused(site: Clone, migrated, tmp_path: Path):
    pacs = Pacs.of(site.status())
    slices = [path.read_bytes() for path in phantom.write(tmp_path, 300, 16, seed=5)]

    def store(content: bytes) -> requests.Response:
        return pacs.session.post(f"{pacs.url}/instances", data=content, timeout=60)

    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(store, slices))
    assert {answer.status_code for answer in stored} == {200}
    pacs.session.delete(f"{pacs.url}/studies/{stored[0].json()['ParentStudy']}", timeout=60).raise_for_status()


def test_studies_and_labels_outlive_a_killed_orthanc_and_a_killed_database(site: Clone, labelled, before):
    pacs = Pacs.of(site.status())
    assert len(pacs.segmentations(labelled)) == 1
    containers = services(site)
    for name in ("orthanc", "postgres"):
        docker_engine.kill(containers[name]["Id"])
    eventually(lambda: answers(pacs), 60, "both are started again")
    assert {name: file for name, file in files(pacs).items() if name in before} == before
    assert len(pacs.segmentations(labelled)) == 1
    stored = Annotator(site.status()["label_server"]["url"]).stored_label(labelled)
    assert sitk.GetArrayFromImage(stored)[10:20, 20:30, 20:30].all()


def test_after_a_reboot_all_services_come_back_by_themselves(site: Clone, labelled):
    docker_engine.reboot()
    comes_back(site, labelled)


def test_the_services_may_start_in_any_order(site: Clone, labelled):
    site.compose("stop")
    for name in ("label-server", "orthanc", "postgres"):  # each before what it waits for
        assert subprocess.run(["docker", "start", services(site)[name]["Id"]], check=False).returncode == 0
        time.sleep(2)
    comes_back(site, labelled)


def test_the_way_back_takes_labels_along_and_stops_the_database(site: Clone, labelled, before):
    site.environment["ORTHANC_DB"] = "sqlite"
    assert f"All {SLICES + 1} instances of 1 study are in SQLite" in site.done("studies", "migrate", "--yes")
    pacs = Pacs.of(site.status())
    assert {name: file for name, file in files(pacs).items() if name in before} == before
    assert len(pacs.segmentations(labelled)) == 1
    assert sorted(services(site)) == ["label-server", "orthanc"]


def test_after_a_reboot_sqlite_comes_back_by_itself(site: Clone, labelled):
    docker_engine.reboot()
    assert sorted(services(site)) == ["label-server", "orthanc"]
    comes_back(site, labelled)
