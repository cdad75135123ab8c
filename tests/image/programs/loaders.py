"""No loader that a request can reach has a reader that runs what a file says: all of the app's tasks are looked at."""

import gc
import os
import pickle
import sys
import tempfile
from pathlib import Path

import numpy as np
from monai.data import NumpyReader, PILReader
from monai.transforms import LoadImage
from monai.transforms.io.array import SUPPORTED_READERS
from monailabel.interfaces.utils.app import app_instance

from label_server.startup import lay_out

MODELS = "deepgrow_2d,deepgrow_3d,deepedit,segmentation,segmentation_spleen,localization_spine,sw_fastedit"
UNSAFE = (NumpyReader, PILReader)


class Payload:
    """Leaves a file when it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.system, ("touch /tmp/pwned",)


# Plain MONAI's, to show that the attack is one.
Path("/tmp/x.npy").write_bytes(pickle.dumps(Payload()))
try:
    LoadImage()("/tmp/x.npy")
except Exception as error:
    print(f"plain: {type(error).__name__}", file=sys.stderr)
assert Path("/tmp/pwned").exists()
Path("/tmp/pwned").unlink()

folder = lay_out(Path(tempfile.mkdtemp()), "radiology")
conf = {"models": MODELS, "sam2": "false", "use_pretrained_model": "false"}
app = app_instance(str(folder), str(folder / "studies"), conf)
chains = []
for name, task in app._infers.items():
    for method in ("pre_transforms", "post_transforms"):
        if transforms := getattr(task, method, None):
            chains.append((name, transforms({"image": "/tmp/x.nii.gz", "label_tag": "final"})))
found = [each for each in gc.get_objects() if isinstance(each, LoadImage)]
assert len(app._infers) > 7 and len(found) > 7, (list(app._infers), len(found))
for loader in found:
    assert not [reader for reader in loader.readers if type(reader) in UNSAFE], loader
assert not set(UNSAFE) & set(SUPPORTED_READERS.values())
np.save("/tmp/plain.npy", np.ones((3, 4)))
assert LoadImage(image_only=True)("/tmp/plain.npy").shape == (3, 4), "trainings keep such"
for suffix in (".npy", ".npz", ".pkl", ".png", ".nii.gz", ""):
    file = Path(f"/tmp/y{suffix}")
    file.write_bytes(pickle.dumps(Payload()))
    for loader in (*found, LoadImage()):
        try:
            loader(str(file))
            raise AssertionError(suffix)
        except AssertionError:
            raise
        except Exception:
            assert not Path("/tmp/pwned").exists(), suffix
print("done")
