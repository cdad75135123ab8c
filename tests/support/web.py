"""The whole web application in the tests' process, and its users."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from starlette.testclient import TestClient

from label_server.audit import Trail, folder_of
from label_server.users import Users
from label_server.web.audit_log import Audit
from label_server.web.gateway import Gateway
from labelpod_common import users_file
from tests.support.nifti_files import nifti, written

# Name -> token: two annotators, a reviewer, and the one whose token is a setting.
TOKENS = {name: f"throw-away-token-of-{name}" for name in ("anna", "berta", "rita", "admin", "prometheus")}
ROLES = {"anna": "annotator", "berta": "annotator", "rita": "reviewer", "admin": "admin", "prometheus": "monitor"}
VIEWER = Path(__file__).with_name("ohif")
HTML = {"Accept": "text/html,application/xhtml+xml"}
NAMES = ("nodule1", "nodule2", "nodule3")


def users(folder: Path) -> Users:
    """The users of TOKENS, as the driver writes them down."""
    file = folder / "users.json"
    entries = [users_file.entry(name, ROLES[name], TOKENS[name]) for name in ROLES if name != "admin"]
    file.write_text(users_file.dump(entries))
    return Users(file, users_file.digest(TOKENS["admin"]))


@cache
def application() -> Any:
    """What is behind the gateway; it keeps nothing of a test."""
    from label_server.web import asgi  # it imports all of MONAI Label: not for the tests that need the gateway alone

    return asgi.application(VIEWER)


class Server:
    """A running label server.

    Args:
        client: of the application, started.

    """

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def ask(self, method: str, path: str, user: str = "", token: str = "", **more: Any) -> httpx.Response:
        """Ask as a user, or with a token, or as nobody. The path goes as it is: nothing tidies it up."""
        token = token or TOKENS.get(user, "")
        headers = more.pop("headers", {}) | ({"Authorization": f"Bearer {token}"} if token else {})
        url = path if path.startswith("http") else f"http://testserver{path}"
        return self.client.request(method, url, headers=headers, follow_redirects=False, **more)

    def image(self, uid: str, user: str = "anna") -> sitk.Image:
        answer = self.ask("GET", f"/datastore/image?image={uid}", user)
        assert answer.status_code == 200, answer.text
        return nifti(answer.content)

    def label(self, uid: str, user: str = "anna", tag: str = "final") -> NDArray[Any]:
        answer = self.ask("GET", f"/datastore/label?label={uid}&tag={tag}", user)
        assert answer.status_code == 200, answer.text
        return sitk.GetArrayFromImage(nifti(answer.content))

    def submit(
        self,
        uid: str,
        voxels: NDArray[Any],
        user: str = "anna",
        names: tuple[str, ...] = NAMES,
        tag: str = "final",
        **headers: str,
    ) -> httpx.Response:
        """Save a label map as 3D Slicer does: its values are the places of the names, and it says who paints."""
        label = sitk.GetImageFromArray(voxels.astype(np.uint8))
        label.CopyInformation(self.image(uid, user))
        info = [{"name": name, "idx": number} for number, name in enumerate(names, start=1)]
        form = {"params": json.dumps({"label_info": info, "user": "of-the-workstation", "client_id": "user-xyz"})}
        file = {"label": ("label.nii.gz", written(label))}
        address = f"/datastore/label?image={uid}&tag={tag}"
        return self.ask("PUT", address, user, data=form, files=file, headers=headers)


def audit(folder: Path) -> Audit:
    """The audit log of a workspace, as the application has it."""
    from label_server.web import asgi

    return Audit(Trail(folder_of(folder)), asgi.study_of)


@contextmanager
def running(known: Users, open_on_loopback: bool = False, audit: Audit | None = None) -> Iterator[Server]:
    """Run the application from its start to its end."""
    with TestClient(Gateway(application(), known, open_on_loopback, audit=audit)) as client:
        yield Server(client)
