"""Node as Playwright's package brings it, to run modules that are written for a browser."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from label_server.web.ohif import OWN

_SECONDS = 60


def program() -> Path:
    """Node; a test that needs it is skipped where it is absent."""
    playwright = pytest.importorskip("playwright", reason="needs Node, which Playwright's package brings")
    node = Path(playwright.__file__).with_name("driver") / "node"
    if not node.exists():
        pytest.skip("needs Node, which this machine's Playwright does not bring")
    return node


def run(code: str, *values: Any, **files: Path) -> Any:
    """Run code in which `values` are the arguments and `files` their paths; what it returns.

    `use(name)` imports a module of the viewer's. Values go both ways as JSON.

    Raises:
        AssertionError: the code throws.

    """
    own = f"const use = name => import('{OWN.as_uri()}/' + name);"
    reading = "const given = JSON.parse((await import('node:fs')).readFileSync(0, 'utf8'));"
    body = f"const main = async (values, files) => {{ {code} }};"
    writing = "process.stdout.write(JSON.stringify((await main(given.values, given.files)) ?? null));"
    given = json.dumps({"values": values, "files": {name: str(path) for name, path in files.items()}})
    done = subprocess.run(
        [program(), "--input-type=module", "--eval", f"{own}\n{reading}\n{body}\n{writing}"],
        input=given,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
