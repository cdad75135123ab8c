"""Upstream's list of images and labels, which is made for one thread, for several."""

import threading
from collections import Counter
from typing import Any

from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException

from label_server import users


class GuardedDatastore(DICOMWebDatastore):
    """Upstream's datastore; what changes its list, or goes through it, takes turns."""

    _mutex: threading.RLock

    def _filename(self, id: str, ext: str) -> str:
        """The name of an image's or label's file; the gateway has refused others before, this is a second wall."""
        return plain(f"{id}{ext}")

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Add to what is known of an image."""
        with self._mutex:
            super().update_image_info(image_id, info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Add to what is known of a label, its state in a review among it; who painted it stays."""
        judgement = {key: value for key, value in info.items() if key not in ("user", "client_id")}
        with self._mutex:
            super().update_label_info(label_id, label_tag, judgement | {"reviewer": users.current.get().name})

    def remove_image(self, image_id: str) -> None:
        """Remove an image and its labels from the cache."""
        with self._mutex:
            super().remove_image(image_id)

    def status(self) -> dict[str, Any]:
        """How many images there are, how many of them have a label, and how many labels of each tag."""
        with self._mutex:
            tags = Counter(tag for known in self._datastore.objects.values() for tag in known.labels)
        # Without the mutex: these two may ask the DICOMweb server.
        return {
            "total": len(self.list_images()),
            "completed": len(self.get_labeled_images()),
            "label_tags": dict(tags),
        }


def plain(name: str) -> str:
    """The name of a file or folder, if it is one.

    Raises:
        MONAILabelException: it would be a place.

    """
    if not name or name in (".", "..") or "/" in name or "\\" in name or not name.isprintable():
        raise MONAILabelException(MONAILabelError.INVALID_INPUT, "the name of an image or tag is not a plain one")
    return name
