"""A network: its weights by name."""

from typing import Any


class Module:
    def __init__(self, **weights: Any) -> None:
        self._weights = weights

    def state_dict(self) -> dict[str, Any]:
        return self._weights
