"""Which image an annotator gets next: upstream's strategies, among what nobody else works on and they have not skipped.

The one after it is chosen as well and fetched ahead. It is kept to only when the present one has been labelled: who
asks again before that gets what the strategy says.
"""

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import requests
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.exception import ImageNotFoundException
from monailabel.interfaces.tasks.strategy import Strategy

from label_server import users
from label_server.datastore.filtered import DatastoreView
from label_server.datastore.image_cache import IncompleteSeries
from label_server.datastore.pacs_images import PacsImages
from label_server.errors import Refused
from label_server.radiology.activelearning.leases import Leases, user_of
from label_server.radiology.activelearning.prefetch import Prefetch
from label_server.radiology.activelearning.skips import Skips

logger = logging.getLogger(__name__)

_MOST_UNREAD = 20  # images that one request may find unreadable
_MOST_PLANS = 1000  # a client's name may be any


class RandomStrategy(Strategy):
    """By lot; what was offered long ago is likelier to be offered again.

    Upstream's fails where every image was offered within the second: its weights add up to nothing
    (monailabel 0.8.5, tasks/activelearning/random.py:49).
    """

    def __init__(self) -> None:
        super().__init__("Random Strategy")

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Choose an unlabelled image; None if there is none."""
        images = datastore.get_unlabeled_images(request.get("label_tag"), request.get("labels"))
        if not images:
            return None
        offered = [datastore.get_image_info(image).get("strategy", {}).get(request["strategy"], {}) for image in images]
        weights = [max(1, int(time.time()) - int(info.get("ts", 0))) for info in offered]
        (chosen,) = random.choices(range(len(images)), weights)  # noqa: S311, nothing is kept secret by it
        return {"id": images[chosen], "weight": weights[chosen]}


class LeasedStrategy(Strategy):
    """A strategy that chooses among what nobody else has.

    Args:
        strategy: the one that chooses.
        leases: of all strategies.
        prefetch: of all strategies.
        skips: of all strategies.

    """

    def __init__(self, strategy: Strategy, leases: Leases, prefetch: Prefetch, skips: Skips) -> None:
        super().__init__(strategy.description)
        self._strategy = strategy
        self._leases = leases
        self._prefetch = prefetch
        self._skips = skips
        self._plans: dict[str, _Plan] = {}

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """Choose an image and lend it to the user, or to the client where several share a token."""
        owner = f"{users.current.get().name}/{request.get('client_id') or ''}"
        unread: set[str] = set()
        while chosen := self._lend(request, datastore, unread, owner):
            image = chosen["id"]
            if _is_there(datastore, image, len(unread) + 1 == _MOST_UNREAD):
                self._prefetch.want(owner, partial(self._fetch_next, request, datastore, owner, image))
                return chosen
            self._leases.end(image, owner)
            unread.add(image)
        return None

    def following(self, owner: str, image: str) -> str | None:
        """What the owner gets once this image is labelled, if nothing comes between; None if that is not chosen yet."""
        plan = self._plans.get(owner)
        return plan.following["id"] if plan and plan.image == image else None

    def _lend(
        self, request: dict[str, Any], datastore: Datastore, unread: set[str], owner: str
    ) -> dict[str, Any] | None:
        lost = set[str]()  # to another label server, this very moment
        with self._leases.lock:
            self._leases.hear()
            if self._leases.shared and isinstance(datastore, PacsImages):
                datastore.look_again()  # after the leases: one that has ended may have ended by a label just now
            while chosen := self._choose_or_share(request, _Without(datastore, unread | lost), owner):
                if self._leases.take(chosen["id"], owner):
                    return chosen
                lost.add(chosen["id"])
        return None

    def _choose_or_share(self, request: dict[str, Any], datastore: Datastore, owner: str) -> dict[str, Any] | None:
        chosen = self._choose(request, datastore, owner)
        if not chosen and self._leases.share(owner, self._skips.of(user_of(owner))):
            chosen = self._choose(request, datastore, owner)
        return chosen

    def _choose(self, request: dict[str, Any], datastore: Datastore, owner: str) -> dict[str, Any] | None:
        """An image that nobody has skipped, else one that somebody else has."""
        taken = self._leases.of_others(owner)
        for skipped in (self._skips.of_all(), self._skips.of(user_of(owner))):
            free = _Without(datastore, taken | skipped)
            chosen = self._planned(owner, free) or self._strategy(request, free)
            if chosen and chosen.get("id"):
                return chosen
        return None

    def _planned(self, owner: str, free: "_Without") -> dict[str, Any] | None:
        plan = self._plans.pop(owner, None)
        unlabelled = set(free.get_unlabeled_images()) if plan else set()
        return plan.following if plan and plan.image not in unlabelled and plan.following["id"] in unlabelled else None

    def _fetch_next(self, request: dict[str, Any], datastore: Datastore, owner: str, image: str) -> None:
        with self._leases.lock:
            hidden = self._leases.of_others(owner) | self._skips.of_all() | {image}
            following = self._strategy(request, _Without(datastore, hidden))
            if not following or not following.get("id"):
                return
            self._plans[owner] = _Plan(image, following)
            while len(self._plans) > _MOST_PLANS:
                del self._plans[next(iter(self._plans))]
        datastore.get_image_uri(following["id"])


def _is_there(datastore: Datastore, image: str, last: bool) -> bool:
    """Whether somebody can be given an image: one that cannot be read must not keep them from the others.

    Args:
        datastore: fetches it.
        image: its id.
        last: whether what is wrong now is raised: it is with the DICOMweb server, and not with this image.

    """
    try:
        datastore.get_image_uri(image)
    except (Refused, IncompleteSeries, ImageNotFoundException, requests.HTTPError) as problem:
        logger.warning(f"Nobody is given {image}: {problem}")
        if last:
            raise
        return False
    return image in datastore.list_images()  # what was seen of it meanwhile may speak against it


@dataclass(frozen=True)
class _Plan:
    """What follows an image, once that is labelled."""

    image: str
    following: dict[str, Any]


class _Without(DatastoreView):
    """A datastore that hides some of its unlabelled images."""

    def __init__(self, datastore: Datastore, hidden: set[str]) -> None:
        super().__init__(datastore)
        self._hidden = hidden

    def get_unlabeled_images(self, *arguments: Any, **named: Any) -> Sequence[str]:
        images = self._datastore.get_unlabeled_images(*arguments, **named)
        return [image for image in images if image not in self._hidden]
