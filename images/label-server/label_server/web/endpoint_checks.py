"""What single endpoints check besides what every request must keep to: against the models, trainers and images here."""

import json
import re
from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.utils.app import app_instance
from starlette.exceptions import HTTPException

from label_server import users
from label_server.datastore import authors, reviews
from label_server.datastore.datastore import RepairedDicomWebDatastore
from label_server.errors import Refused
from label_server.users import Role
from label_server.web import inference_parameters

_REVIEW = "segmentationMeta"  # MONAI Label Reviewer's
_CONTENT = re.compile(r"[0-9a-f]{64}")  # as contents.py has it
_MOST_LABELS = 255
_MOST_NAME = 64  # DICOM's, of a segment and of a person
_MOST = 100_000  # epochs, images at once, seconds


def training(given: Mapping[str, Any]) -> None:
    """Refuse training parameters that the trainer does not list, and those that name places.

    Upstream takes any (tasks/train/basic_train.py:392-529): data lists and tracking servers among them.
    """
    params = given.get("params") or {}
    trainers = app_instance()._trainers
    models = {given["model"]: params} if "model" in given else params
    for model, wanted in models.items():
        if model not in trainers:
            raise Refused("there is no such trainer")
        if not isinstance(wanted, dict):
            raise Refused("the parameters of a trainer are not an object")
        _training_parameters(model, wanted, trainers[model].config())


def _training_parameters(model: str, wanted: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    for key, value in wanted.items():
        if key == "client_id" or (key == "model" and value == model):
            continue
        if key not in config:
            raise Refused("the trainer has no such parameter")
        default = config[key]
        if value == default and type(value) is type(default):
            continue
        if isinstance(default, str):
            pattern = r"all|[0-9](?:,[0-9])*" if key == "gpus" else r"[A-Za-z0-9][\w-]{0,63}"
            fits = isinstance(value, str) and re.fullmatch(pattern, value) is not None
        else:
            fits = inference_parameters.like(default, value) and _sensible(default, value)
        if not fits:
            raise Refused(f"{key} has a value that the trainer does not offer")


def _sensible(default: Any, value: Any) -> bool:
    """Whether a number is of the kind of the default: a count, a share, or one that -1 turns off."""
    if not inference_parameters.number(value):
        return True
    if isinstance(default, float) and 0 <= default < 1:
        return 0 <= value < 1
    whole = not isinstance(default, int) or isinstance(value, int)
    return whole and (1 if isinstance(default, int) and default > 0 else -1) <= value <= _MOST


def inference(given: dict[str, Any]) -> None:
    """Refuse an inference on nothing, and parameters that its model does not offer; keep of labels what they mean."""
    some_image(given)
    said = json.loads(given.get("params") or "{}")
    inference_parameters.check(given["model"], said)
    wanted = {key: value for key, value in said.items() if value not in (None, "")}  # the others are not chosen
    if wanted.get("label_info"):
        wanted["label_info"] = meanings(wanted["label_info"])
    given["params"] = json.dumps(wanted)
    if wanted.get("save_label"):
        _own_label(given["image"], wanted.get("label_tag") or DefaultLabelTag.ORIGINAL.value, _client(wanted))


def save(given: dict[str, Any]) -> None:
    """Keep of what a save says only what its voxels mean, which of a user's clients it is, and a reviewer's judgement.

    The server knows which user saves. What is said to be painted on an image that is not there now is kept for them.
    """
    if not _CONTENT.fullmatch(given.get("painted_on") or "0" * 64):
        raise Refused("painted_on is no version of an image's content")
    said = json.loads(given.get("params") or "{}")
    kept: dict[str, Any] = {"label_info": meanings(said.get("label_info"))} if said.get("label_info") else {}
    kept["client_id"] = _client(said)
    if _REVIEW in said and users.current.get().role >= Role.REVIEWER:
        reviews.check_length(said)
        kept[_REVIEW] = said[_REVIEW]
    given["params"] = json.dumps(kept)
    _own_label(given["image"], given.get("tag") or DefaultLabelTag.FINAL.value, kept["client_id"])


def meanings(label_info: Any) -> list[dict[str, Any]]:
    """Names of values: the name as text that DICOM takes and gives back, the value as a number."""
    if not isinstance(label_info, list) or len(label_info) > _MOST_LABELS:
        raise Refused("label_info is no list of labels")
    kept = []
    for entry in label_info:
        name, value = (entry.get("name"), entry.get("idx", 0)) if isinstance(entry, dict) else (None, None)
        # A backslash makes two of it.
        if not isinstance(name, str) or not name.isprintable() or "\\" in name or len(name) > _MOST_NAME:
            raise Refused("a name in label_info is none")
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**16:
            raise Refused("a value in label_info is none")
        kept.append({"name": name.strip()} | ({"idx": value} if "idx" in entry else {}))
    return kept


def _client(said: Mapping[str, Any]) -> str:
    """The Client/User-ID: a word that DICOM takes and gives back as a part of a person's name."""
    client = said.get("client_id") or ""
    if not isinstance(client, str) or not client.isprintable() or set(client) & set("\\^="):
        raise Refused("the Client/User-ID is none that a label can name")
    if len(authors.author(users.current.get().name, client.strip())) > _MOST_NAME:
        raise Refused("the Client/User-ID is too long")
    return client.strip()


def _own_label(image: str, tag: str, client: str) -> None:
    """Refuse to replace what another has saved under a tag; of final labels, each author has their own."""
    user = users.current.get()
    if tag == DefaultLabelTag.FINAL or user.role >= Role.ADMIN:
        return
    author = (app_instance().datastore().get_label_info(image, tag) or {}).get("client_id")
    if author and author != authors.author(user.name, client):
        raise HTTPException(409, "Another user has saved a label of this image under this tag")


def batch(given: Mapping[str, Any]) -> None:
    """Refuse parameters of an inference on all images that its model does not offer."""
    inference_parameters.check(given["model"], given.get("params") or {}, batch=True)


def sample(given: Mapping[str, Any]) -> None:
    """Refuse parameters that the strategy does not offer, and a client in whose name no label could be saved."""
    strategy = app_instance()._strategies[given["strategy"]]
    offered = {"client_id", "label_tag", "labels", *getattr(strategy, "config", dict)()}
    if set(given.get("params") or {}) - offered:
        raise Refused("the strategy has no such parameter")
    _client(given.get("params") or {})


def some_image(given: Mapping[str, Any]) -> None:
    """Refuse an inference on nothing, which upstream takes for a fault of its own."""
    if not any(given.get(key) for key in ("image", "file", "session_id")):
        raise Refused("no image is named")
    if given.get("session_id") and app_instance().sessions().get_session(given["session_id"], False) is None:
        raise HTTPException(404, "There is no such session")


def new_image(given: Mapping[str, Any]) -> None:
    """Refuse an upload under the name of an image that is there: it would replace it.

    The DICOMweb server's own images are not replaced: they are compared.
    """
    if isinstance(app_instance().datastore(), RepairedDicomWebDatastore):
        return
    if given.get("image") and given["image"] in app_instance().datastore().list_images():
        raise Refused("there is an image of this name")
