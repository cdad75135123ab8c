"""Which studies are labelled: the label server decides, and says why a label does not count, or an image is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from labelpod.clients.label_server import LabelServer
from labelpod.studies.push import Study
from labelpod_common.text import clean


@dataclass(frozen=True)
class Labels:
    """The image series that have a label; and the series that are no label or no image, each with the reason."""

    images: frozenset[str]
    left_out: Mapping[str, str]


def ask(server: LabelServer) -> Labels:
    """What the label server says.

    Raises:
        DeployError: it does not answer.

    """
    images = server.ask("GET", "datastore/?output=all")["objects"]
    labelled = frozenset(uid for uid, image in images.items() if "final" in image.get("labels", {}))
    no_labels = [label for image in images.values() for label in image.get("left_out", [])]
    left_out = {label["SeriesInstanceUID"]: label["reason"] for label in no_labels}
    left_out |= server.ask("GET", "datastore/").get("left_out", {})
    return Labels(labelled, {uid: clean(reason) for uid, reason in left_out.items()})


def marked(studies: Sequence[Study], labels: Labels) -> list[Study]:
    """The studies, with what the label server says of their labels."""
    return [
        replace(
            study,
            labelled=any(each.uid in labels.images for each in study.series),
            left_out={each.uid: labels.left_out[each.uid] for each in study.series if each.uid in labels.left_out},
        )
        for study in studies
    ]
