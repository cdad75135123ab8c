"""What is known of labels: of a final one, what is of the very version of it that the DICOMweb server has."""

from collections.abc import Iterator, Mapping
from typing import Any

from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.interfaces.exception import LabelNotFoundException

from label_server.datastore import label_versions, listing, reviews
from label_server.datastore.judgements import Judgements
from label_server.datastore.pacs_images import PacsImages
from label_server.datastore.stored_labels import StoredLabels
from label_server.datastore.submits import Submits
from label_server.dicomweb.series import LabelSeries


class LabelInformation(PacsImages):
    """The datastore's part that tells of labels; which version of one counts, and what reviewers say of it."""

    _stored: StoredLabels
    _submits: Submits
    _judgements: Judgements

    def labels(self) -> Mapping[str, LabelSeries]:
        """The label that counts of each labelled image, by the image's UID; the same object while nothing changes."""
        return self._stored.counting()

    def label_version(self, image_id: str) -> str:
        """The version of the final label of an image that counts, "" if there is none."""
        label = self.labels().get(image_id)
        return self._stored.version(label) if label else ""

    def _counting(self, image_id: str, version: str | None) -> LabelSeries | None:
        """The label of an image that counts, if any; refused if it is of another version than was demanded."""
        if version is None:
            return self.labels().get(image_id)
        self._index.forget()
        label = self.labels().get(image_id)
        if (now := self._stored.version(label) if label else "") != version:
            raise label_versions.overtaken(label, now)
        return label

    def _known_as(self, image_id: str) -> dict[str, Any]:
        return dict(LocalDatastore.get_label_info(self, image_id, DefaultLabelTag.FINAL))

    def _is_version(self, info: Mapping[str, Any], series: LabelSeries) -> bool:
        return info.get("SeriesInstanceUID") == series.uid and info.get("made_of", []) == self._stored.made_of(series)

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """What is known of a label: of a final one, what is of the very version that counts, and when it was made."""
        if label_tag != DefaultLabelTag.FINAL:
            return dict(super().get_label_info(label_id, label_tag))
        if series := self.labels().get(label_id):
            self._judgements.hear()
            return self._final_info(label_id, series)
        known = self._known_as(label_id)
        return {} if known.get("SeriesInstanceUID") else known  # deleted there, unless it never was

    def _final_info(self, image_id: str, series: LabelSeries) -> dict[str, Any]:
        known = self._known_as(image_id)
        info = known if self._is_version(known, series) else listing.final(image_id, series)
        return info | self._judgement(series) | {"created": label_versions.created(series)}

    def _judgement(self, series: LabelSeries) -> dict[str, Any]:
        """What a reviewer has said of this version of a label, at whichever label server."""
        return self._judgements.of(series.uid, lambda: self._stored.version(series))

    def final_labels(self) -> Iterator[tuple[LabelSeries, dict[str, Any]]]:
        """The label that counts of each labelled image, and what is known of it."""
        self._judgements.hear()
        for image_id, series in self.labels().items():
            if not self.unfit(image_id):
                yield series, self._final_info(image_id, series)

    def update_label_info(
        self, label_id: str, label_tag: str, info: dict[str, Any], version: str | None = None
    ) -> None:
        """Add to what is known of a label; of a final one, to what is known of the version that counts.

        Args:
            label_id: of the image.
            label_tag: `final`, or that of a draft.
            info: what is added.
            version: of a final label, which must count; None for any.

        Raises:
            LabelNotFoundException: there is no such label.
            Overtaken: another version counts.
            Refused: it is too long.

        """
        info = reviews.signed(info)
        if label_tag != DefaultLabelTag.FINAL:
            super().update_label_info(label_id, label_tag, info)
            return
        with self._submits.turn(label_id):
            self._counting(label_id, version)
            there = self.get_label_uri(label_id, label_tag)
            label = self._counting(label_id, version)  # to fetch it took a while, in which another may have come
            if not there or not self._share(label, info):
                raise LabelNotFoundException(f"Label: {label_id} Tag: {label_tag} not found")
            self._counting(label_id, version)
            super().update_label_info(label_id, label_tag, info)

    def _share(self, label: LabelSeries | None, info: dict[str, Any]) -> bool:
        """Have other label servers know a judgement; whether its label is there, unless it never was."""
        if label is None or not reviews.is_judged(info):
            return True
        return self._judgements.write(label.uid, self._stored.version(label), info)
