"""Ours has a byte a voxel, and the same mask in the same place."""

import SimpleITK as sitk
from deepgrow_tasks import image, tasks

for dimension in (2, 3):
    masks = []
    for task in tasks(dimension):
        file, _ = task({"image": image("a"), "foreground": [[20, 20, 6]], "background": [], "device": "cpu"})
        masks.append(sitk.ReadImage(file))
    theirs, ours = masks
    assert ours.GetPixelID() == sitk.sitkUInt8 and theirs.GetPixelID() != sitk.sitkUInt8
    assert (sitk.GetArrayFromImage(ours) == sitk.GetArrayFromImage(theirs)).all() and sitk.GetArrayFromImage(ours).any()
    for what in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(ours, what)() == getattr(theirs, what)(), what
print("done")
