"""3D Slicer as the tests drive it: a session of its own Python, which is told what to do line by line."""

import hashlib
import json
import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from tests.support.paths import ROOT

VENV = ROOT / ".venv-slicer"
LOCK = Path(__file__).with_name("slicer.lock")
CRITICAL = 3


class CannotInstall(Exception):
    """Why there is no Slicer to test with."""


def install() -> Path:
    """Make .venv-slicer where it is missing or old; its Python."""
    python, mark = VENV / "bin" / "python", VENV / "slicer.installed"
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if not mark.exists() or mark.read_text() != digest:
        print("\nInstalling 3D Slicer's core into .venv-slicer (once, 1 GB)", flush=True)
        _run([sys.executable, "-m", "venv", "--clear", str(VENV)])
        (VENV / ".gitignore").write_text("*\n")
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        _run([*pip, "--only-binary", ":all:", "--require-hashes", "-r", str(LOCK)])
        mark.write_text(digest)
    return python


def _run(command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise CannotInstall((result.stderr or result.stdout).strip().splitlines()[-1])


def plugins() -> Path:
    """The folder of the Slicer plugins that the monailabel wheel carries."""
    wheel = distribution("monailabel")
    (module,) = (each for each in wheel.files or () if each.match("plugins/slicer/MONAILabel/MONAILabel.py"))
    return Path(os.fspath(wheel.locate_file(module))).resolve().parent.parent


class Slicer:
    """A running Slicer; an error box that it shows fails the test, unless the test asks for it."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.folder = folder
        self.boxes: list[dict[str, Any]] = []
        self._log = (folder / "slicer.log").open("w")
        command = [python, "-X", "faulthandler", Path(__file__).with_name("slicer_session.py"), plugins()]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        environment["TMPDIR"] = str(folder)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, env=environment
        )

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._log.close()

    def annotation(self, action: str, **arguments: Any) -> Any:
        """Do something in the module MONAI Label."""
        return self._do("annotation", action, arguments)

    def review(self, action: str, **arguments: Any) -> Any:
        """Do something in the module MONAI Label Reviewer."""
        return self._do("review", action, arguments)

    def _do(self, desk: str, action: str, arguments: dict[str, Any]) -> Any:
        print(json.dumps({"desk": desk, "action": action, **arguments}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, f"Slicer ended; see {self._log.name}"
        answer = json.loads(line)
        assert "error" not in answer, f"{action}: {answer['error']}"
        self.boxes = answer["boxes"]
        errors = [f"{box['text']}\n{box['details']}" for box in self.boxes if box["icon"] == CRITICAL]
        assert not errors, f"{action}: {errors}"
        return answer["result"]

    def segment(self, label: str, image: sitk.Image) -> NDArray[np.bool_]:
        """A segment as Slicer has it, on an image's grid (slices, rows, columns)."""
        file = self.folder / "segment.npy"
        self.annotation("segment", label=label, file=str(file))
        mask = np.zeros(image.GetSize()[::-1], dtype=bool)
        for position in np.load(file):
            mask[image.TransformPhysicalPointToIndex(position)[::-1]] = True
        return mask

    def volume(self) -> NDArray[Any]:
        """The voxels (slices, rows, columns) of the study that is open in Slicer."""
        file = self.folder / "volume.npy"
        self.annotation("volume", file=str(file))
        return np.load(file)


def image_of(folder: Path) -> tuple[str, sitk.Image]:
    """The series in a folder as its DICOM files have it: series UID and image."""
    reader = sitk.ImageSeriesReader()
    (uid,) = reader.GetGDCMSeriesIDs(str(folder))
    return uid, sitk.ReadImage(reader.GetGDCMSeriesFileNames(str(folder), uid))


def ras(image: sitk.Image, voxel: list[int]) -> list[float]:
    """Where a voxel (column, row, slice) is to Slicer."""
    left, posterior, superior = image.TransformIndexToPhysicalPoint(voxel)
    return [-left, -posterior, superior]
