def optional_import(*_: object, **__: object) -> tuple[None, bool]:
    """What is asked for is not there."""
    return None, False
