"""Why somebody is offered nothing: what is labelled, what they have skipped, and what others have on loan."""

from datetime import UTC, datetime
from typing import Any

from monailabel.interfaces.datastore import Datastore

from label_server.radiology.activelearning.leases import Leases, user_of
from label_server.radiology.activelearning.skips import Skips


def told(datastore: Datastore, leases: Leases, skips: Skips, owner: str) -> dict[str, Any]:
    """The numbers, and who has what until when; an image is counted once.

    Args:
        datastore: has the images.
        leases: who has which.
        skips: who does not want which.
        owner: who asks, as leases know them.

    """
    unlabelled = set(datastore.get_unlabeled_images())
    skipped = skips.of(user_of(owner)) & unlabelled
    loans = [
        {
            "image": image,
            "user": who.removesuffix("/"),
            "until": datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds"),
        }
        for image, (who, until) in leases.all().items()
        if who != owner and image in unlabelled - skipped
    ]
    labelled = len(datastore.get_labeled_images())
    return {"labelled": labelled, "skipped": len(skipped), "on_loan": len(loans), "loans": loans}
