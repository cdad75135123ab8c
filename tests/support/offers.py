"""Images that a label server offers, and asking it for the next one."""

from tests.support.ct import ct
from tests.support.dicomweb import Pacs
from tests.support.web import Server


def unlabelled(pacs: Pacs) -> list[str]:
    """Store three images that nobody has labelled; their UIDs, sorted."""
    pacs.store(*(ct(seed) for seed in (1, 2, 3)))
    return sorted(pacs.series)


def next_image(server: Server, user: str = "anna", strategy: str = "first", **params: str) -> str | None:
    """The image that a user gets."""
    answer = server.ask("POST", f"/activelearning/{strategy}", user, json=params)
    assert answer.status_code == 200, answer.text
    found: str | None = answer.json().get("id")
    return found
