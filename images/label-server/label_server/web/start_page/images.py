"""What there is to label, what is labelled, and who works on what; as the datastore knows it, nothing is fetched."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from urllib.parse import urlencode

from monailabel.interfaces.datastore import Datastore

from label_server.datastore import authors
from label_server.datastore.datastore import RepairedDicomWebDatastore
from label_server.dicomweb.series import LabelSeries

DAYS = 30


@dataclass(frozen=True)
class Loan:
    """An image that somebody works on: the day of its study, its address in the viewer, and until when it is theirs."""

    image: str
    day: str
    address: str
    user: str
    until: datetime


@dataclass(frozen=True)
class Day:
    """How many images have a label of this day, of everybody and of the user."""

    day: date
    all: int
    mine: int


@dataclass(frozen=True)
class Progress:
    """Numbers of images: those labelled, by the user too; what reviewers said of them; those left, and left out."""

    labelled: int
    mine: int
    approved: int
    flagged: int
    left: int
    days: list[Day]

    @property
    def to_review(self) -> int:
        """Labelled images that no reviewer has judged."""
        return self.labelled - self.approved - self.flagged


def address(store: Datastore, image: str) -> str | None:
    """Where the viewer shows an image; None if it cannot."""
    study = store.study_of(image) if isinstance(store, RepairedDicomWebDatastore) else None
    asked = {"StudyInstanceUIDs": study, "SeriesInstanceUIDs": image}
    return f"/ohif/label?{urlencode(asked)}" if study else None


def loans(store: Datastore, lent: Mapping[str, tuple[str, float]]) -> list[Loan]:
    """What is on loan of the images that are here, the newest first."""
    found = [
        Loan(image, store.study_date(image), where, authors.said(owner)["user"], datetime.fromtimestamp(until, UTC))
        for image, (owner, until) in lent.items()
        if isinstance(store, RepairedDicomWebDatastore) and (where := address(store, image))
    ]
    return sorted(found, key=lambda loan: loan.until, reverse=True)


def last(store: Datastore, user: str, lent: Iterable[Loan]) -> str | None:
    """Where a user was: what they have on loan, else what they saved last; None if there is nothing."""
    if mine := next((loan for loan in lent if loan.user == user), None):
        return mine.address
    labels = [(label.created, image) for image, label in _labels(store).items() if _by(label, user)]
    return address(store, max(labels)[1]) if labels else None


def progress(store: Datastore, user: str) -> Progress:
    """How far the labelling is."""
    labels = _labels(store)
    labelled = store.get_labeled_images()
    verdicts = Counter(_verdicts(store))
    return Progress(
        labelled=len(labelled),
        mine=sum(_by(label, user) for label in labels.values()),
        approved=verdicts["approved"],
        flagged=verdicts["flagged"],
        left=len(store.get_unlabeled_images()),
        days=_days(labels.values(), user),
    )


def _labels(store: Datastore) -> Mapping[str, LabelSeries]:
    return store.labels() if isinstance(store, RepairedDicomWebDatastore) else {}


def _by(label: LabelSeries, user: str) -> bool:
    """Whether a user made it; other programs may say any name."""
    return label.own and authors.said(label.creator)["user"] == user


def _verdicts(store: Datastore) -> Iterable[str]:
    """What MONAI Label Reviewer's users said of the labels that count."""
    for _, info in store.final_labels() if isinstance(store, RepairedDicomWebDatastore) else ():
        said = info.get("segmentationMeta")
        if isinstance(said, dict):
            yield str(said.get("status"))


def _days(labels: Iterable[LabelSeries], user: str) -> list[Day]:
    """The last days, today at the end; a label's day is that of this machine's clock, as highdicom writes it."""
    everybody, mine = Counter[str](), Counter[str]()
    for label in labels:
        everybody[label.created[:8]] += 1
        mine[label.created[:8]] += _by(label, user)
    today = datetime.now().date()
    days = [today - timedelta(days=ago) for ago in range(DAYS - 1, -1, -1)]
    return [Day(day, everybody[f"{day:%Y%m%d}"], mine[f"{day:%Y%m%d}"]) for day in days]
