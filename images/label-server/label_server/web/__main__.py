"""Starts the label server, without what only its trainings need: they are processes of their own.

MONAI imports these if it finds them and does without if not; here they would take a hundred megabytes and two
seconds of each start.
"""

import sys
from collections.abc import Sequence
from itertools import pairwise


def unused(arguments: Sequence[str]) -> tuple[str, ...]:
    """The packages that a server with these arguments does without."""
    # MONAI Label's SAM2 imports pylab, which is matplotlib's (monailabel 0.8.5, sam2/infer.py:22).
    sam2 = ("sam2", "true") in pairwise(arguments)
    return ("mlflow", "pandas") if sam2 else ("matplotlib", "mlflow", "pandas")


if __name__ == "__main__":
    # None: Python finds no such module. The type of sys.modules does not tell of it.
    sys.modules.update(dict.fromkeys(unused(sys.argv)))  # type: ignore[arg-type]

    from label_server.web.server import LabelServer

    LabelServer().run()
