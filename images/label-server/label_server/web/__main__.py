"""Starts the label server, without what its trainings alone need: they are processes of their own.

MONAI imports these where it finds them and does without where not; here they would take a hundred megabytes and two
seconds of each start.
"""

import sys

_OF_TRAININGS = ("matplotlib", "mlflow", "pandas")

if __name__ == "__main__":
    # None: Python finds no such module. The type of sys.modules does not tell of it.
    sys.modules.update(dict.fromkeys(_OF_TRAININGS))  # type: ignore[arg-type]

    from label_server.web.server import LabelServer

    LabelServer().run()
