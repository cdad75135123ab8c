"""Names that images have in a user's 3D Slicer, in the place of their own: see datastore/opened_images.py."""

from collections.abc import Sequence
from pathlib import Path

from monailabel.interfaces.utils.app import app_instance
from starlette.exceptions import HTTPException

from label_server.datastore import opened_images
from label_server.datastore.datastore import RepairedDicomWebDatastore
from label_server.datastore.label_values import LabelError


def images(name: str) -> list[str]:
    """The images that the user who asks has opened under a name, the newest first; none for an image's own name."""
    store = app_instance().datastore()
    return store.opened.of(name) if isinstance(store, RepairedDicomWebDatastore) else []


def of_label(name: str, opened: Sequence[str], label: Path) -> str:
    """The image that a label is of: the one on whose grid it lies, which is then the newest of that name.

    Raises:
        LabelError: on none of them.
        HTTPException: two have the same grid.

    """
    store = app_instance().datastore()
    found = [uid for uid in opened if opened_images.same_grid(label, Path(store.get_image_uri(uid)))]
    if not found:
        raise LabelError("it does not lie on the grid of the image that was opened under this name")
    if len(found) > 1:
        raise HTTPException(409, "Several images of one grid were opened under this name: rename the volume in Slicer")
    store.opened.add(name, found[0])
    return found[0]
