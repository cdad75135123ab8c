"""dstack and SkyPilot take their examples, each by its own rules."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.paths import ROOT

LOCK = Path(__file__).with_name("clouds.lock")
# What reads a file as each program does, and ends with an error if it does not understand it.
READERS = {
    "dstack.yml": """
import sys, yaml
from dstack._internal.core.models.configurations import TaskConfiguration
TaskConfiguration.model_validate(yaml.safe_load(open(sys.argv[1])))
""",
    "skypilot.yaml": """
import sys, sky
sky.Task.from_yaml(sys.argv[1])
""",
}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with both programs, whose packages would not go with ours."""
    folder = tmp_path_factory.mktemp("clouds") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "pip"), "install", "-q", "--no-deps", "--require-hashes", "-r", str(LOCK)]
    subprocess.run(pip, check=True)
    return folder / "bin" / "python"


def read(python: Path, name: str, file: Path) -> subprocess.CompletedProcess[str]:
    home = {"HOME": str(file.parent), "PATH": "/usr/bin:/bin"}  # SkyPilot writes there
    command = [str(python), "-c", READERS[name], str(file)]
    return subprocess.run(command, env=home, cwd=file.parent, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", READERS)
def test_its_program_takes_the_example_and_no_misspelt_word_of_it(python: Path, name: str, tmp_path: Path):
    found, file = yaml.safe_load((ROOT / "docs" / "examples" / name).read_text()), tmp_path / name
    file.write_text(yaml.safe_dump(found))
    taken = read(python, name, file)
    assert taken.returncode == 0, taken.stderr
    for key in ("env" if "env" in found else "envs", "resources"):
        file.write_text(yaml.safe_dump({f"{each}x" if each == key else each: found[each] for each in found}))
        assert read(python, name, file).returncode != 0, key
