"""Clicks give what upstream's DeepGrow gives, and do no work twice."""

import pytest

from tests.conftest import Clone
from tests.image.container import run

_BEGIN = """
import gzip, os, sys
sys.path[:0] = ["/opt/venv/monailabel/sample-apps/radiology"]
import numpy as np, torch
from monai.networks.nets import BasicUNet
from monai.transforms import LoadImaged
from monailabel.transform.writer import write_itk
from lib.infers import Deepgrow
from label_server.radiology.infers import deepgrow as clicks

torch.manual_seed(1)
affine = np.array([[-0.7, 0.1, 0, 5], [0.1, -0.7, 0, 6], [0, 0, 2.5, -7], [0, 0, 0, 1]])

def image(name, seed=1, extension=".nii.gz"):
    voxels = np.random.default_rng(seed).integers(-1000, 400, (60, 50, 12)).astype(np.int16)
    write_itk(voxels, f"/tmp/{name}{extension}", affine, None, True)
    return f"/tmp/{name}{extension}"

def tasks(dimension):
    network = BasicUNet(dimension, 3, 1, features=(4, 4, 4, 4, 4, 4)).eval()
    torch.save(network.state_dict(), f"/tmp/{dimension}.pt")
    size = (16, 32, 32)[-dimension:]
    made = [kind([f"/tmp/{dimension}.pt"], network, dimension=dimension, spatial_size=size, model_size=size)
            for kind in (Deepgrow, clicks.QuickDeepgrow)]
    return made

def click(task, path, point, **more):
    file, _ = task({"image": path, "foreground": [point], "background": [], "device": "cpu"} | more)
    content = open(file, "rb").read()
    os.unlink(file)
    return gzip.decompress(content) if file.endswith(".gz") else content

loaded = []
plain = LoadImaged.__call__
LoadImaged.__call__ = lambda self, data, reader=None: loaded.append(data["image"]) or plain(self, data, reader)
"""
_SAME = """
for dimension in (2, 3):
    upstream, ours = tasks(dimension)
    path = image("a")
    for more in ({}, {"result_extension": ".nrrd"}, {"result_extension": ".nii", "result_compress": True}):
        for point in ([20, 20, 6], [21, 20, 6], [30, 25, 3], [20, 20, 6]):
            masks = [click(task, path, point, result_dtype="uint16", **more) for task in (upstream, ours)]
            assert masks[0] == masks[1] and any(masks[0][352:]), (dimension, point, more)
print("done")
"""
_BYTES = """
import SimpleITK as sitk
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
"""
_OTHER_FILES = """
for path in (image("a", extension=".nii"), image("a", extension=".nrrd"), image("a.b")):
    upstream, ours = tasks(2)
    masks = [click(task, path, [20, 20, 6], result_dtype="uint8") for task in (upstream, ours)]
    assert masks[0] == masks[1], path
print("done")
"""
_UNKNOWN = """
_, ours = tasks(2)
a, there = image("a"), set(os.listdir("/tmp"))
try:
    click(ours, a, [20, 20, 6], result_extension=".unknown")
except RuntimeError:
    assert set(os.listdir("/tmp")) == there
    print("done")
"""
_AHEAD = """
_, ours = tasks(3)
a = image("a")
ours.prepare(a)
assert loaded == [a]
for task in (ours, tasks(2)[1]):
    click(task, a, [20, 20, 6])
assert loaded == [a]
print("done")
"""
_BESIDE = """
import threading
volumes, began, end = clicks.Volumes(), threading.Event(), threading.Event()
slow = threading.Thread(target=volumes.get, args=(("slow", 1), lambda: began.set() or end.wait(60) and {}), daemon=True)
slow.start()
assert began.wait(60)
quick = threading.Thread(target=volumes.get, args=(("quick", 1), dict), daemon=True)
quick.start()
quick.join(30)
assert not quick.is_alive() and slow.is_alive()
end.set()
slow.join(30)
assert not slow.is_alive()
print("done")
"""
_ONCE = """
_, ours = tasks(2)
a = image("a")
first = click(ours, a, [20, 20, 6])
assert click(ours, a, [20, 20, 6]) == first and loaded == [a]
os.utime(a, ns=(1, os.stat(a).st_mtime_ns))
assert click(ours, a, [20, 20, 6]) == first and loaded == [a], "it was used, not changed"
image("a", seed=2)
os.utime(a, ns=(1, 1))
assert click(ours, a, [20, 20, 6]) != first and loaded == [a, a]
others = [image(name) for name in "bcd"]
for path in (*others, *others, a):
    click(ours, path, [20, 20, 6])
assert loaded[2:] == [*others, a], loaded
print("done")
"""


@pytest.mark.parametrize(
    "script",
    [_SAME, _BYTES, _OTHER_FILES, _UNKNOWN, _ONCE, _AHEAD, _BESIDE],
    ids=[
        "the same file",
        "a byte a voxel",
        "other images",
        "an unknown format leaves nothing",
        "read once, three kept",
        "ahead",
        "beside each other",
    ],
)
def test_clicks(clone: Clone, script: str):
    assert run("start_server", "python", "-c", _BEGIN + script).splitlines()[-1] == "done"
