"""Starts the label server, without what only its trainings need: they are processes of their own.

MONAI imports these if it finds them and does without if not; here they would take a hundred megabytes and two
seconds of each start.
"""

import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise


def unused(arguments: Sequence[str]) -> tuple[str, ...]:
    """The packages that a server with these arguments does without."""
    # MONAI Label's SAM2 imports pylab, which is matplotlib's (monailabel 0.8.5, sam2/infer.py:22).
    sam2 = ("sam2", "true") in pairwise(arguments)
    return ("mlflow", "pandas") if sam2 else ("matplotlib", "mlflow", "pandas")


def hide(packages: Iterable[str]) -> None:
    """Let Python find none of these packages."""
    # None does that, of which the type of sys.modules does not tell.
    sys.modules.update(dict.fromkeys(packages))  # type: ignore[arg-type]


if __name__ == "__main__":
    hide(unused(sys.argv))

    from label_server.web.server import LabelServer

    LabelServer().run()
