"""What a model is good for, in a line for people who label; docs/labelling.md says the same."""

_LONGEST = 200
_OF_CLICKS = {
    "deepgrow_2d": "one slice at a time, about a second on any machine; start with this one",
    "deepgrow_3d": "a whole nodule at once; fast on a GPU, most of a minute without one",
    "deepgrow_pipeline": "a whole nodule: 3D first, then 2D refines each slice",
}


def of(name: str, description: object) -> str:
    """What a model is good for; of one that is not known here, what it says itself, on one line.

    Args:
        name: of the model.
        description: its own; a bundle's may be missing or of any length.

    """
    own = " ".join(str(description or "").split())
    return _OF_CLICKS.get(name) or (own if len(own) <= _LONGEST else f"{own[: _LONGEST - 1]}…")
