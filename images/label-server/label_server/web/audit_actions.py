"""What a request does, in a fixed word or two, by its method and path; whatever it says besides goes to no record."""

import re
from dataclasses import dataclass

from label_server.audit import SUBMIT, Kind

UID = r"[0-9.]{1,64}"


@dataclass(frozen=True)
class Action:
    """What a record calls it, and which sort of record that is; None of what is recorded only if it is refused."""

    words: str
    kind: Kind | None


_READS = {
    "open image": ("GET /datastore/image",),
    "check image": ("HEAD /datastore/image", "GET /datastore/image/info"),
    "read label": ("GET /datastore/label", "GET /datastore/kept", "GET /datastore/kept/{name}"),
    "check label": ("HEAD /datastore/label", "GET /datastore/label/info"),
    "list images": ("GET /datastore/",),
    "list reviews": ("GET /datastore/review",),
    "list skipped images": ("GET /activelearning/skipped",),
    "next sample": ("POST /activelearning/{strategy}",),
    "infer": ("POST /infer/{model}", "POST /infer/wsi/{model}", "POST /infer/wsi_v2/{model}"),
    "read session": ("GET /session/{session_id}",),
    "read logs": ("GET /logs/",),
}
_CHANGES = {
    SUBMIT: ("PUT /datastore/label",),
    "upload image": ("PUT /datastore/", "PUT /datastore/image"),
    "review image": ("PUT /datastore/image/info",),
    "review label": ("PUT /datastore/label/info", "PUT /datastore/updatelabelinfo"),
    "delete image": ("DELETE /datastore/", "DELETE /datastore/image"),
    "delete label": ("DELETE /datastore/label",),
    "upload session": ("PUT /session/",),
    "delete session": ("DELETE /session/{session_id}",),
    "skip image": ("POST /activelearning/skip",),
    "take image back": ("DELETE /activelearning/skip",),
    "train": ("POST /train/", "POST /train/{model}"),
    "stop training": ("DELETE /train/",),
    "score": ("POST /scoring/", "POST /scoring/{method}"),
    "stop scoring": ("DELETE /scoring/",),
    "infer all images": ("POST /batch/infer/{model}",),
    "stop inferences": ("DELETE /batch/infer",),
    # All of it leaves the server: beside the changes, no number of reads makes it forgotten.
    "export data set": ("GET /datastore/dataset",),
    "fetch model": ("GET /model/{model}",),
    "replace model": ("PUT /model/{model}",),
    "delete model": ("DELETE /model/{model}",),
}
# Clients ask these every few seconds; they say nothing of a patient and change nothing.
UNRECORDED = (
    "GET /info/",
    "GET /infer/queue",
    "GET /viewer/following",
    "GET /viewer/label",
    "GET /viewer/training",
    "GET /train/",
    "GET /scoring/",
    "GET /batch/infer",
    "GET /model/info/{model}",
    "GET /logs/gpu",
)

ENDPOINTS: dict[str, Action] = {
    route: Action(words, kind)
    for kind, actions in ((Kind.READ, _READS), (Kind.CHANGE, _CHANGES))
    for words, routes in actions.items()
    for route in routes
}
# Whether something runs; "not found" is a plain answer there.
ASK = Action("ask", None)
# What the start page's button asks for, and Prometheus.
_OF_PAGES = {"POST /next": ENDPOINTS["POST /activelearning/{strategy}"], "GET /metrics": ASK}
_DICOMWEB = re.compile(rf"/proxy/dicom/[a-z]+/(?:studies/({UID})(?:/series/({UID}))?)?(.*)")
_STORE = Action("DICOMweb store", Kind.CHANGE)
_RETRIEVE, _SEARCH = Action("DICOMweb read", Kind.READ), Action("DICOMweb search", Kind.READ)
_OTHER = Action("other", None)


def _pattern(route: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{\w+\}", "[^/]+", route.rstrip("/")))


_ROUTES = ENDPOINTS | _OF_PAGES | dict.fromkeys(UNRECORDED, ASK)
# Those that name no part first: `{strategy}` is any word.
_PATTERNS = [(_pattern(route), _ROUTES[route]) for route in sorted(_ROUTES, key=lambda route: "{" in route)]


def action(method: str, path: str) -> Action:
    """What a request does.

    Returns:
        `other` of what has no word of its own: pages, and what is not there.

    """
    if found := _DICOMWEB.fullmatch(path):
        if method == "POST":
            return _STORE
        study, _, rest = found.groups()
        lists = not study or rest.strip("/") in ("series", "instances")
        return _SEARCH if lists else _RETRIEVE
    asked = f"{method} {path.rstrip('/')}"
    return next((known for pattern, known in _PATTERNS if pattern.fullmatch(asked)), _OTHER)


def dicomweb_subject(path: str) -> tuple[str, str]:
    """The study and the series that a DICOMweb path names, "" for none."""
    found = _DICOMWEB.fullmatch(path)
    return (found[1] or "", found[2] or "") if found else ("", "")
