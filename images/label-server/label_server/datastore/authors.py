"""Who painted a label: a user, and a client where several people share one address.

3D Slicer sends its setting *Client/User-ID*; the server knows the user. What a client says can only tell apart those
who hold the same token: the user's name stands before it.
"""

_BETWEEN = "/"  # no user's name holds it
_NOT_SET = ("", "user-xyz")  # what 3D Slicer sends until somebody enters another


def author(user: str, client: str) -> str:
    """The author of what a user stores; `client` only if it tells something."""
    return user if client in (*_NOT_SET, user) else f"{user}{_BETWEEN}{client}"


def said(author_: str) -> dict[str, str]:
    """What a label's information says of its author; MONAI Label Reviewer shows `client_id`."""
    return {"user": author_.partition(_BETWEEN)[0], "client_id": author_}
