"""Runs at the start of every Python process of the image, trainings too: plain logs, and a rule of later Pythons.

Logs are those of label_server/logs.py. The rule: Python before 3.11.4 takes any class with an `__init__` for the data
type of an enumeration that inherits from it; later ones want a `__new__`. pytorch-ignite, which every MONAI Label
trainer imports, is written for the later rule and fails to import under the earlier one (AttributeError: ... has no
attribute '_name_').
"""

import dataclasses
import enum
import importlib.util
import sys
from typing import Any

if sys.version_info < (3, 11, 4):
    _find_data_type = enum.EnumType._find_data_type_  # type: ignore[attr-defined]

    def _with_new_only(class_name: str, bases: tuple[type, ...]) -> Any:
        found = _find_data_type(class_name, bases)
        if found is None or found.__new__ is not object.__new__ or dataclasses.is_dataclass(found):
            return found
        return None

    enum.EnumType._find_data_type_ = staticmethod(_with_new_only)  # type: ignore[attr-defined]

if importlib.util.find_spec("label_server"):  # the benchmark runs plain MONAI Label with this file
    from label_server import logs

    logs.install()
