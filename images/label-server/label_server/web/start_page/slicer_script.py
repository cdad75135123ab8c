"""The script that connects 3D Slicer; it asks for the address, whose token only the user has."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import labelpod_common

# Not HTML: what is rendered is Python, whose values go through a filter of their own.
_environment = Environment(  # noqa: S701
    loader=FileSystemLoader(Path(labelpod_common.__file__).parent),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters["python"] = ascii


def script(beginning: str) -> str:
    """The script's text.

    Args:
        beginning: of the addresses, before the token.

    """
    return _environment.get_template("slicer_connect.py.j2").render(beginning=beginning)
