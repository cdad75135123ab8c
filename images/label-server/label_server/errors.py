"""Errors that more than one room raises."""


class Refused(Exception):
    """Why a request is refused, without the value that is refused; nothing was changed."""


class Forbidden(Exception):
    """Why something is not for this server to do; nothing was changed."""


class Changed(Exception):
    """What a request is about is not what it was when its sender got it; nothing was changed."""


class NotStored(Exception):
    """Why a label is not where it should be, although the DICOMweb server took it."""
