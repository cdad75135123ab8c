"""Errors that more than one room raises."""


class Refused(Exception):
    """Why a request is refused, without the value that is refused; nothing was changed."""
