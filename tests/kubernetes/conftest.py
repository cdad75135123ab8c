"""A real API server with its scheduler and controllers, nodes of paper, and a folder that `deploy.py` works on."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from labelpod import cli
from labelpod.config import settings
from labelpod.config.settings import PREFIX
from labelpod.project import Project
from labelpod.security import secret_files
from tests.support import control_plane, paper_nodes
from tests.support.control_plane import ControlPlane
from tests.support.kubernetes import KUBECTL, SEVERAL
from tests.support.paper_nodes import PaperNodes
from tests.support.paths import ROOT

LABEL_SERVERS = 10
_SITE = SEVERAL | {
    "LABEL_SERVERS": str(LABEL_SERVERS),
    "LABEL_SERVER_TOKEN": "throw-away-token-of-admin",
    "ORTHANC_PASSWORD": "throw-away",
    "KUBERNETES_STORAGE_CLASS": "paper",
    "KUBERNETES_SHARED_STORAGE_CLASS": "paper",
}
_VOLUMES = 7


@dataclass
class Site:
    """The cluster, and the folder whose stack runs there."""

    plane: ControlPlane
    nodes: PaperNodes
    project: Project

    def does(self, *words: str) -> int:
        return cli.main([*words], self.project)

    def is_set(self, **changed: str) -> None:
        values = _SITE | changed
        self.project.env_file.write_text("".join(f"{PREFIX}{name}={value}\n" for name, value in values.items()))


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    if not (control_plane.PROGRAMS / "kube-scheduler").is_file():
        pytest.skip("the control plane is not built: tests/kubernetes/control_plane.sh")
    if not KUBECTL:
        pytest.skip("kubectl is missing: pip install -r tests/requirements.lock")
    with control_plane.running(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture(scope="session")
def nodes(plane: ControlPlane) -> Iterator[PaperNodes]:
    """A GPU for each label server, one for the trainer, and a spare one."""
    with paper_nodes.joined(plane, gpus=LABEL_SERVERS + 2, others=3) as joined:
        yield joined


@pytest.fixture(scope="session")
def site(plane: ControlPlane, nodes: PaperNodes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Volumes in the cluster, settings and secrets in the folder; kubectl is set to the cluster, and `up` was run."""
    for number in range(_VOLUMES):
        plane.post("/api/v1/persistentvolumes", _volume(f"paper-{number}"))
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "templates", folder / "templates")
    (folder / "images").symlink_to(ROOT / "images")
    for template in (folder / "templates" / "kubernetes").iterdir():
        # The control plane is older than policy/v1, which has the same fields.
        template.write_text(template.read_text().replace("policy/v1\n", "policy/v1beta1\n"))
    found = Site(plane, nodes, Project(folder))
    found.is_set()
    secret_files.write(settings.load(found.project.env_file, {}), found.project.secrets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(plane.kubeconfig))
        patch.setenv("PATH", str(Path(str(KUBECTL)).parent), prepend=":")
        assert found.does("kubernetes", "up", "--yes") == 0
        yield found


def _volume(name: str) -> dict[str, object]:
    return {
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "5Ti"},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "storageClassName": "paper",
            "hostPath": {"path": "/nowhere"},
        },
    }
