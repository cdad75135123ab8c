"""The wiring of the application that uvicorn runs."""

import os
import subprocess
import sys

from tests.support.paths import ROOT

PATHS = (ROOT, ROOT / "images" / "label-server", ROOT / "tests" / "support" / "stand_ins")


def test_the_token_does_not_stay_in_the_environment(tmp_path):
    """A training inherits the environment."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(map(str, PATHS)),
        "LABEL_SERVER_TOKEN": "throw-away-token-of-32-letters-0",
        "USERS_FILE": str(tmp_path / "absent.json"),
        "MONAI_LABEL_APP_DIR": str(tmp_path),
    }
    program = (
        "import os; from label_server.web import asgi;"
        "print('LABEL_SERVER_TOKEN' in os.environ, len(asgi.users.from_environment().all()), type(asgi.app).__name__)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.stdout.splitlines()[-1:] == ["False 0 Gateway"], result.stderr
