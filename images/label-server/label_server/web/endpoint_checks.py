"""What single endpoints check besides what every request must keep to: against the models, trainers and images here."""

import re
from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.utils.app import app_instance
from starlette.exceptions import HTTPException

from label_server.errors import Refused


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
        if value == default:
            continue
        if isinstance(default, list):
            fits = value in default
        elif isinstance(default, bool):
            fits = isinstance(value, bool)
        elif isinstance(default, int | float):
            fits = isinstance(value, int | float) and -1 <= value <= 100_000
        else:
            pattern = r"all|[0-9](?:,[0-9])*" if key == "gpus" else r"[A-Za-z0-9][\w-]{0,63}"
            fits = isinstance(value, str) and re.fullmatch(pattern, value) is not None
        if not fits:
            raise Refused(f"{key} has a value that the trainer does not offer")


def some_image(given: Mapping[str, Any]) -> None:
    """Refuse an inference on nothing, which upstream takes for a fault of its own."""
    if not any(given.get(key) for key in ("image", "file", "session_id")):
        raise Refused("no image is named")
    if given.get("session_id") and app_instance().sessions().get_session(given["session_id"], False) is None:
        raise HTTPException(404, "There is no such session")


def new_image(given: Mapping[str, Any]) -> None:
    """Refuse an upload under the name of an image that is there: it would replace it."""
    if given.get("image") and given["image"] in app_instance().datastore().list_images():
        raise Refused("there is an image of this name")
