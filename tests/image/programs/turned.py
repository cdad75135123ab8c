"""A click gives the same voxels however the slices lie in the patient, and the mask lies where the image lies."""

import numpy as np
import SimpleITK as sitk
from deepgrow_tasks import click, image, tasks

AXIAL = np.eye(3)
SAGITTAL = np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]])
CORONAL = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
PRONE, FEET_FIRST = np.diag([-1, -1, 1]), np.diag([1, -1, -1])


def about_x(degrees):
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])


for dimension in (2, 3):
    _, ours = tasks(dimension)
    expected = None
    for name, direction in {
        **{"axial": AXIAL, "sagittal": SAGITTAL, "coronal": CORONAL, "prone": PRONE, "feet": FEET_FIRST},
        **{f"tilted{angle}": about_x(angle) for angle in (10, 45, 90)},
    }.items():
        path = image(f"{name}{dimension}")
        turned = sitk.ReadImage(path)
        turned.SetDirection(direction.ravel().astype(float).tolist())
        sitk.WriteImage(turned, path)
        content = click(ours, path, [20, 22, 6], result_dtype="uint8", result_extension=".nrrd")
        with open("/tmp/turned.nrrd", "wb") as file:
            file.write(content)
        mask = sitk.ReadImage("/tmp/turned.nrrd")
        voxels = sitk.GetArrayFromImage(mask)
        assert np.allclose(mask.GetDirection(), turned.GetDirection(), atol=1e-5), name
        assert np.allclose(mask.GetOrigin(), turned.GetOrigin()) and mask.GetSize() == turned.GetSize(), name
        expected = voxels if expected is None else expected
        assert voxels.any() and np.array_equal(voxels, expected), (dimension, name)
print("done")
