"""What is open to whom: every endpoint asked by each role, and what is not listed."""

from typing import Any

import httpx
import pytest
import SimpleITK as sitk
from monailabel.endpoints import datastore as upstream_datastore
from monailabel.interfaces.utils.app import app_instance

from label_server.users import Role
from label_server.web import routes
from label_server.web.routes import ENDPOINTS
from tests.support import web
from tests.support.attacks import image as volume
from tests.support.ct import Ct
from tests.support.web import ROLES, Server

FILLED = {"model": "threshold", "strategy": "first", "method": "dice", "session_id": "none"}


def address(path: str) -> str:
    for name, value in FILLED.items():
        path = path.replace(f"{{{name}}}", value)
    return path


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of upstream's functions that would have run; none does."""
    ran: list[str] = []

    async def run(self: Any, endpoint: Any, arguments: dict[str, Any], left: Any) -> httpx.Response:
        ran.append(endpoint.__name__)
        return routes.JSONResponse({})

    monkeypatch.setattr(routes.worker_pools.WorkerPool, "run", run)
    return ran


def arguments(method: str, path: str, uid: str) -> dict[str, Any]:
    """What the endpoint takes, so that it is not refused for want of it."""
    query = {} if path.startswith("/session") else dict.fromkeys(("image", "id", "label", "tag", "strategy"), uid)
    if method in ("GET", "HEAD", "DELETE"):
        return {"params": query}
    if path == "/activelearning/skip":
        return {"params": query, "json": {"reason": "motion"}}
    if path.startswith(("/train", "/activelearning", "/batch", "/scoring")):
        return {"params": query, "json": {}}
    if path.endswith("info"):
        return {"params": query}
    if path in ("/datastore/", "/datastore/image"):
        query["image"] = "new"
    files = dict.fromkeys(("file", "files", "label"), ("x.nii.gz", volume()))
    return {"params": query, "files": files}


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_each_role_goes_as_far_as_it_should(server: Server, image: Ct, nothing_runs, method: str, path: str):
    needed, given = ENDPOINTS[method, path].role, arguments(method, path, image.uid)
    if path == "/datastore/label" and "files" in given:  # that of another volume would be refused
        label = sitk.ReadImage(app_instance().datastore().get_image_uri(image.uid)) * 0
        given["files"] = {"label": ("x.nii.gz", web.written(label))}
    for user in ("anna", "rita", "admin"):
        nothing_runs.clear()
        answer = server.ask(method, address(path), user, **given)
        if Role[ROLES[user].upper()] >= needed:
            assert answer.status_code == 200 and len(nothing_runs) == 1, (user, answer.text)
        else:
            assert answer.status_code == 403 and nothing_runs == [], user
            assert method == "HEAD" or answer.json() == {"detail": f"This takes the role {needed.name.lower()}"}


@pytest.mark.parametrize("path", sorted({path for _, path in ENDPOINTS}))
def test_a_role_is_asked_for_before_anything_is_read(server: Server, path: str):
    """Else a stranger to a role could tell arguments that fit from those that do not."""
    for method in [method for method, known in ENDPOINTS if known == path]:
        if ENDPOINTS[method, path].role > Role.ANNOTATOR:
            assert server.ask(method, address(path), "anna").status_code == 403


def test_what_is_for_whom():
    """The other way round than in the table, so that a slip in it is seen."""
    least = {entry: endpoint.role.name.lower() for entry, endpoint in ENDPOINTS.items()}
    changing = {entry for entry in least if entry[0] in ("PUT", "DELETE", "POST")}
    of_annotators = {entry for entry in changing if least[entry] == "annotator"}
    assert of_annotators == {
        ("POST", "/activelearning/{strategy}"),
        ("POST", "/activelearning/skip"),
        ("DELETE", "/activelearning/skip"),
        ("POST", "/infer/{model}"),
        ("PUT", "/datastore/"),
        ("PUT", "/datastore/image"),
        ("PUT", "/datastore/label"),
        ("PUT", "/session/"),
        ("DELETE", "/session/{session_id}"),
    }
    assert {entry for entry in changing if least[entry] == "reviewer"} == {
        ("PUT", "/datastore/image/info"),
        ("PUT", "/datastore/label/info"),
        ("PUT", "/datastore/updatelabelinfo"),
    }
    reading = {path for method, path in least if method == "GET" and least[method, path] == "admin"}
    assert reading == {"/datastore/dataset", "/model/{model}", "/model/info/{model}", "/logs/", "/logs/gpu"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/reload", 404),
        ("GET", "/docs", 404),
        ("GET", "/redoc", 404),
        ("GET", "/static/ohif/index.html", 404),
        ("GET", "/favicon.ico", 404),
        ("POST", "/auth/token", 404),
        ("GET", "/nothing", 404),
        ("DELETE", "/info/", 405),
        ("POST", "/datastore/label", 405),
        ("OPTIONS", "/info/", 405),
        ("PATCH", "/train/", 405),
    ],
)
def test_what_is_not_listed_is_closed(server: Server, method: str, path: str, status: int):
    assert server.ask(method, path, "admin").status_code == status


def test_every_listed_endpoint_is_one_of_upstreams():
    """A new release may rename one; the table would then open nothing."""
    known = {(method, route.path) for route in routes._upstream() for method in route.methods}
    assert set(ENDPOINTS) <= known


def test_upstreams_own_that_are_closed():
    known = {(method, route.path) for route in routes._upstream() for method in route.methods}
    assert known - set(ENDPOINTS) == set(routes.WHOLE_SLIDES), "look at each new one, and open it or list it here"


def test_the_description_tells_what_is_open_and_hides_the_user(server: Server):
    described = server.ask("GET", "/openapi.json", "anna").json()
    paths = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}
    assert paths == set(ENDPOINTS)
    operations = [operation for methods in described["paths"].values() for operation in methods.values()]
    names = {each["name"] for operation in operations for each in operation.get("parameters", [])}
    assert "user" not in names and "run_sync" not in names


@pytest.mark.parametrize("path", ["/info", "/info/", "/datastore", "/datastore/", "/train", "/train/"])
def test_a_path_is_answered_with_and_without_its_slash(server: Server, path: str):
    """A redirect would lose the token in front."""
    answer = server.ask("GET", path, "anna")
    assert answer.status_code in (200, 404) and "location" not in answer.headers
    assert answer.json() != {"detail": "Not Found"}


@pytest.mark.parametrize(
    ("method", "path", "what"),
    [
        ("POST", "/infer/none?image=1.2", "model"),
        ("POST", "/activelearning/none", "strategy"),
        ("POST", "/scoring/none", "method"),
        ("POST", "/batch/infer/none", "model"),
    ],
)
def test_a_name_that_the_app_has_not_is_404(server: Server, method: str, path: str, what: str):
    answer = server.ask(method, path, "admin")
    assert answer.status_code == 404 and answer.json() == {"detail": f"There is no such {what}"}


def test_upstream_is_told_who_asks(server: Server, image: Ct, monkeypatch: pytest.MonkeyPatch):
    """Its own login is off: it would take everybody for admin."""
    told: list[Any] = []
    monkeypatch.setattr(upstream_datastore, "update_image_info", lambda *given: told.append(given[-1]))
    answer = server.ask("PUT", "/datastore/image/info?image=1.2&user=admin", "rita", data={"info": "{}"})
    assert answer.status_code == 200 and told == ["rita"]


def test_a_training_does_not_run_in_the_server(server: Server, nothing_runs, monkeypatch: pytest.MonkeyPatch):
    """Whatever the client says of run_sync."""
    given: list[dict[str, Any]] = []

    async def run(self: Any, endpoint: Any, arguments: dict[str, Any], left: Any) -> Any:
        given.append(arguments)
        return routes.JSONResponse({})

    monkeypatch.setattr(routes.worker_pools.WorkerPool, "run", run)
    for path in ("/train/threshold", "/scoring/dice", "/batch/infer/threshold"):
        assert server.ask("POST", f"{path}?run_sync=true", "admin", json={}).status_code == 200
    assert [each["run_sync"] for each in given] == [False] * 3


@pytest.mark.parametrize(("method", "path"), [entry for entry in ENDPOINTS if not entry[1].startswith("/infer")])
def test_no_endpoint_ends_in_a_bare_500(server: Server, image: Ct, monkeypatch, method: str, path: str):
    """With arguments that fit, with those that name nothing, and with none."""
    monkeypatch.setattr("monailabel.utils.async_tasks.task.run_background_task", lambda request, method: {})
    whole = arguments(method, path, "1.2")
    real = dict.fromkeys(whole["params"], image.uid) | ({"tag": "final"} if whole["params"] else {})
    for params in (whole["params"], real, {}):
        answer = server.ask(method, address(path), "admin", **whole | {"params": params})
        assert answer.status_code < 500, answer.text


def test_whole_slides_are_for_pathology_only():
    for app, there in (("radiology", False), ("monaibundle", False), ("pathology", True)):
        paths = {getattr(route, "path", "") for route in routes.application("x", app).routes}
        assert ("/infer/wsi_v2/{model}" in paths) == ("/infer/wsi/{model}" in paths) == there
