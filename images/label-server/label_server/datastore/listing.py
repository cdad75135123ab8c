"""What lists tell of an image's labels: the drafts of the cache, and the final label as the DICOMweb server has it."""

from collections.abc import Callable
from typing import Any

from monailabel.interfaces.datastore import DefaultLabelTag

from label_server.datastore import authors, reviews
from label_server.dicomweb.series import LabelSeries

_FINAL = DefaultLabelTag.FINAL.value


def image(image_id: str) -> dict[str, Any]:
    """The entry of an image that nobody has opened."""
    return {"image": {"ext": ".nii.gz", "info": _named(image_id)}, "labels": {}}


def labels(
    image_id: str, known: dict[str, Any], counts: LabelSeries | None, of_version: Callable[..., bool]
) -> dict[str, Any]:
    """The labels of an image by their tags.

    Args:
        image_id: of the image.
        known: what the cache has.
        counts: the label of the DICOMweb server that counts, if there is one.
        of_version: whether information is of a label as it is there; takes long if another program's is in parts.

    """
    info = known.get(_FINAL, {}).get("info", {})
    stored = info.get("SeriesInstanceUID")
    others = {tag: each for tag, each in known.items() if tag != _FINAL}
    if counts is None:
        return others if stored else known  # deleted there, unless it never was
    if stored == counts.uid and (not reviews.is_judged(info) or of_version(info, counts)):
        return known
    return others | {_FINAL: {"ext": ".nii.gz", "info": final(image_id, counts)}}


def final(image_id: str, counts: LabelSeries) -> dict[str, Any]:
    """What is known of the final label of an image if the cache knows nothing of it."""
    return _named(image_id) | authors.said(counts.creator)


def _named(image_id: str) -> dict[str, Any]:
    return {"name": f"{image_id}.nii.gz"}
