"""Words for people."""

_PLURALS = {"series": "series", "study": "studies"}


def counted(number: int, noun: str) -> str:
    """`1 study`, `2 studies`, `0 files`."""
    return f"{number} {noun if number == 1 else _PLURALS.get(noun, f'{noun}s')}"


def clean(value: object) -> str:
    """One line without control characters: headers may hold anything, and it is shown on terminals and in logs."""
    return "".join(each if each.isprintable() else " " for each in str(value)).strip()
