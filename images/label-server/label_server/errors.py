"""Errors that more than one room raises."""


class Refused(Exception):
    """Why a request is refused, without the value that is refused; nothing was changed."""


class Forbidden(Exception):
    """Why something is not for this server to do; nothing was changed."""


class Changed(Exception):
    """What a request is about is not what it was when its sender got it; nothing was changed."""


class Overtaken(Changed):
    """Somebody has stored another label than the one that the request is about, or deleted it.

    Args:
        reason: in words.
        by: who it was, "" if nobody knows.
        at: when, in ISO 8601, "" if nobody knows.
        version: of the label that counts by now, "" if none does.

    """

    def __init__(self, reason: str, by: str, at: str, version: str = "") -> None:
        super().__init__(reason)
        self.by = by
        self.at = at
        self.version = version


class NotStored(Exception):
    """Why a label is not where it should be, although the DICOMweb server took it."""
