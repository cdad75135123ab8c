"""Jobs that run again and again; here they are only taken."""

from collections.abc import Callable
from typing import Any


class Timeloop:
    def job(self, interval: Any) -> Callable[[Any], Any]:
        return lambda function: function

    def start(self, block: bool) -> None:
        pass
