"""What images/label-server/left_out.txt names is used by nothing: what others need it for is not done here."""

import re
from pathlib import Path

import pytest

from tests.image.container import run
from tests.support.clone import Clone
from tests.support.paths import ROOT

FOLDER = ROOT / "images" / "label-server"
READS_AND_WRITES = """
import itk, numpy as np
from monai.data import ITKReader
from monai.transforms import LoadImage, SaveImage
from monailabel.transform.writer import write_itk

voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
for kind in (np.uint8, np.int16, np.uint16, np.float32):
    write_itk(voxels.astype(kind), "/tmp/a.nii.gz", np.diag([1.0, 1.0, 2.5, 1.0]), kind, True)
    read = itk.imread("/tmp/a.nii.gz")
    assert itk.array_from_image(read).dtype == kind and list(read.GetSpacing()) == [1.0, 1.0, 2.5], kind
image = LoadImage(image_only=True, reader=ITKReader, ensure_channel_first=True)("/tmp/a.nii.gz")
assert sorted(np.asarray(image).ravel()) == list(range(24))
SaveImage(output_dir="/tmp", writer="ITKWriter", output_postfix="b", separate_folder=False, resample=True)(image)
assert sorted(itk.array_from_image(itk.imread("/tmp/a_b.nii.gz")).ravel()) == list(range(24))
print("done")
"""
RECORDS = """
import mlflow, mlflow.server.fastapi_app
from mlflow import MlflowClient

mlflow.set_tracking_uri("sqlite:////tmp/mlflow.db")
with mlflow.start_run() as run:
    mlflow.log_param("epochs", 3)
    mlflow.log_metric("loss", 0.5, step=1)
data = MlflowClient().get_run(run.info.run_id).data
assert data.params == {"epochs": "3"} and data.metrics == {"loss": 0.5}
print("done")
"""


def names() -> list[str]:
    return re.findall(r"(?m)^([a-z][a-z0-9-]*);", (FOLDER / "left_out.txt").read_text())


def test_none_of_it_is_in_the_image(clone: Clone):
    installed = run("python", "-c", "from importlib.metadata import distributions as d; print(*(e.name for e in d()))")
    assert names() and not {*names(), "itk-filtering", "itk-registration"} & set(installed.split())


@pytest.mark.parametrize("script", [READS_AND_WRITES, RECORDS], ids=["ITK without its filters", "MLflow without Arrow"])
def test_what_names_it_does_all_that_is_asked_of_it_here(clone: Clone, script: str):
    assert run("start_server", "python", "-c", script).splitlines()[-1] == "done"


def test_dicom_is_read_without_it(clone: Clone, data: Path):
    """As MONAI Label's sample apps would read a folder of files; the datastore has its own way."""
    script = "from monai.transforms import LoadImage; print(LoadImage(image_only=True)('/ct').shape)"
    folder = next(each for each in sorted((data / "chest-ct-mini").rglob("*.dcm"))).parent
    shape = run("python", "-c", script, options=("-v", f"{folder}:/ct:ro")).splitlines()[-1]
    assert shape.startswith("torch.Size([512, 512,")
