"""The stack's key of labels: with it the label server seals what it stores, and knows it again.

The driver makes it once and gives it to every label server of the stack, a rented one as well. Orthanc gets only what
is made of it for deletions, so that neither can do what the other may.
"""

import hashlib
import hmac

# What a request to delete a label shows Orthanc, besides its login.
DELETION_HEADER = "X-Labelpod-Deletion"


def deletion(key: str) -> str:
    """What Orthanc demands for the deletion of a label."""
    return made(key, "deletion")


def made(key: str, *parts: str) -> str:
    """The HMAC-SHA256 of these parts, in hexadecimal; each part counts as such."""
    message = "".join(f"{len(part)}:{part}" for part in parts)
    return hmac.new(key.encode(), message.encode(), hashlib.sha256).hexdigest()
