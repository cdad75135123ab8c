"""The address of a pod's label server: a URL in which {pod} stands for the pod's id."""

import re

_MARK = "{pod}"


def checked(text: str) -> str:
    """The text, if it is such an address.

    Raises:
        ValueError: it is none.

    """
    if not re.fullmatch(r"https?://[^{}\s]*\{pod\}[^{}\s]*", text):
        raise ValueError("a URL is needed in which {pod} stands for the pod's id, and no other { or }")
    return text


def of(address: str, pod_id: str) -> str:
    """The address of one pod."""
    return address.replace(_MARK, pod_id)
