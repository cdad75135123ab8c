"""Upstream's list of images and labels, which is made for one thread, for several, and for several processes.

What another process has written, as an inference over all images, is read before the list is written again.
"""

import threading
from collections import Counter
from typing import Any

from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException


class GuardedDatastore(DICOMWebDatastore):
    """Upstream's datastore; what changes its list, or goes through it, takes turns."""

    _mutex: threading.RLock

    def _filename(self, id: str, ext: str) -> str:
        """The name of an image's or label's file; the gateway has refused others before, this is a second wall."""
        return plain(f"{id}{ext}")

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Add to what is known of an image."""
        with self._mutex:
            self._init_from_datastore_file()
            super().update_image_info(image_id, info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Add to what is known of a label."""
        with self._mutex:
            self._init_from_datastore_file()
            super().update_label_info(label_id, label_tag, info)

    def remove_image(self, image_id: str) -> None:
        """Remove an image and its labels from the cache."""
        with self._mutex:
            super().remove_image(image_id)

    def status(self) -> dict[str, Any]:
        """How many images there are, how many of them have a label, and how many of them one of each tag.

        Upstream counts what its cache has, deleted images and labels among it.
        """
        images, completed = self.list_images(), len(self.get_labeled_images())
        with self._mutex:
            known = [self._datastore.objects[image] for image in images if image in self._datastore.objects]
        tags = Counter(tag for each in known for tag in each.labels)
        tags[DefaultLabelTag.FINAL.value] = completed
        return {
            "total": len(images),
            "completed": completed,
            "label_tags": {tag: tags[tag] for tag in tags if tags[tag]},
        }


def plain(name: str) -> str:
    """The name of a file or folder, if it is one.

    Raises:
        MONAILabelException: it would be a place.

    """
    if not name or name in (".", "..") or "/" in name or "\\" in name or not name.isprintable():
        raise MONAILabelException(MONAILabelError.INVALID_INPUT, "the name of an image or tag is not a plain one")
    return name
