"""What is wrong with a DICOM file or series."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Problem:
    """What is wrong with a series: `refuse` keeps it from being sent, `warn` does not. One line of message."""

    level: Literal["refuse", "warn"]
    code: str
    message: str
