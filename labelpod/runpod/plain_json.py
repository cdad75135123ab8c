"""JSON of RunPod's: Python would take NaN, 1e999 and a thousand digits for numbers, and count and compare with them."""

import json
import math
from typing import Any

_MOST_DIGITS = 18


def parse(text: str | bytes) -> Any:
    """The value; where no number stands that is one, it says nothing (None).

    Raises:
        ValueError: it is no JSON.

    """
    return json.loads(text, parse_constant=lambda _: None, parse_float=_number, parse_int=_whole)


def _number(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _whole(text: str) -> int | None:
    return int(text) if len(text) <= _MOST_DIGITS else None
