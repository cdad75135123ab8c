"""People who label one image after the other, as the viewer asks; who asks again where there is no answer."""

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import requests
import SimpleITK as sitk

from tests.support.nifti_files import nifti, written

# What a door or a label server says if somebody behind it is away.
_AWAY = (502, 503, 504)
_PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Wait:
    """How long somebody waited for what, from which moment of `time.monotonic` on, in seconds."""

    what: str
    started: float
    seconds: float


class Working:
    """One of them.

    Args:
        address: of the label server, with the user's token.
        think: called before each request, with what it will be for: somebody looks, and paints.
        model: that is clicked with.
        clicks: on each image.

    """

    def __init__(
        self, address: str, think: Callable[[str], None] = lambda what: None, model: str = "", clicks: int = 0
    ) -> None:
        self.waits: list[Wait] = []
        self.offered: set[str] = set()
        self.stored: list[str] = []
        self.failed: Counter[str] = Counter()
        self.asks = ""
        self._address = address.rstrip("/")
        self._think, self._model, self._clicks = think, model, clicks
        self._session = requests.Session()
        self._session.trust_env = False

    def label_next(self) -> bool:
        """Label one image; False if none is left.

        Raises:
            AssertionError: a request is refused, or not answered for a minute.

        """
        offer = self._asked("next sample", "POST", "/activelearning/random", json={}).json()
        if "id" not in offer:
            return False
        image = str(offer["id"])
        self.offered.add(image)
        volume = nifti(self._asked("image", "GET", f"/datastore/image?image={image}").content)
        for _ in range(self._clicks):
            self._asked("click", "POST", f"/infer/{self._model}?image={image}&output=image", data=_click(volume))
        self._save(image, volume)
        self.stored.append(image)
        return True

    def _save(self, image: str, volume: sitk.Image) -> None:
        voxels = np.zeros(volume.GetSize()[::-1], np.uint8)
        voxels[0, :4, :4] = 1
        label = sitk.GetImageFromArray(voxels)
        label.CopyInformation(volume)
        self._asked(
            *("save", "PUT", f"/datastore/label?image={image}"),
            headers={"If-None-Match": "*"},
            data={"params": json.dumps({"label_info": [{"name": "nodule1", "idx": 1}]})},
            files={"label": ("label.nii.gz", written(label))},
        )

    def _asked(self, what: str, method: str, path: str, **more: Any) -> requests.Response:
        self._think(what)
        started, self.asks = time.monotonic(), what
        while (answer := self._answer(what, method, path, **more)) is None:
            assert time.monotonic() - started < _PATIENCE_SECONDS, f"no answer: {what}"
            time.sleep(0.2)
        self.asks = ""
        self.waits.append(Wait(what, started, time.monotonic() - started))
        assert answer.ok, f"{what}: {answer.status_code} {answer.text[:300]}"
        return answer

    def _answer(self, what: str, method: str, path: str, **more: Any) -> requests.Response | None:
        try:
            answer = self._session.request(method, f"{self._address}{path}", timeout=_PATIENCE_SECONDS, **more)
        except requests.RequestException as error:
            self.failed[f"{what}: {type(error).__name__}"] += 1
            return None
        if answer.status_code in _AWAY:
            self.failed[f"{what}: {answer.status_code}"] += 1
            return None
        return answer


def _click(volume: sitk.Image) -> dict[str, str]:
    middle = [size // 2 for size in volume.GetSize()]
    said = {"label": "nodule1", "foreground": [middle], "background": [], "result_extension": ".nii.gz"}
    return {"params": json.dumps(said | {"result_dtype": "uint8"})}


def longest(waits: list[Wait], share: float = 1) -> float:
    """The wait that this share of them does not exceed, in seconds."""
    return float(np.quantile([wait.seconds for wait in waits], share, method="higher"))
