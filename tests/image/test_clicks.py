"""Clicks give what upstream's DeepGrow gives, and do not begin anew each time."""

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
from app import clicks

torch.manual_seed(1)
affine = np.array([[-0.7, 0.1, 0, 5], [0.1, -0.7, 0, 6], [0, 0, 2.5, -7], [0, 0, 0, 1]])

def image(name, seed=1):
    voxels = np.random.default_rng(seed).integers(-1000, 400, (60, 50, 12)).astype(np.int16)
    write_itk(voxels, f"/tmp/{name}.nii.gz", affine, None, True)
    return f"/tmp/{name}.nii.gz"

def tasks(dimension):
    network = BasicUNet(dimension, 3, 1, features=(4, 4, 4, 4, 4, 4)).eval()
    torch.save(network.state_dict(), f"/tmp/{dimension}.pt")
    size = (16, 32, 32)[-dimension:]
    made = [kind([f"/tmp/{dimension}.pt"], network, dimension=dimension, spatial_size=size, model_size=size)
            for kind in (Deepgrow, clicks.QuickDeepgrow)]
    return made

def click(task, path, point):
    file, _ = task({"image": path, "foreground": [point], "background": [], "device": "cpu"})
    content = gzip.decompress(open(file, "rb").read())
    os.unlink(file)
    return content

loaded = []
plain = LoadImaged.__call__
LoadImaged.__call__ = lambda self, data, reader=None: loaded.append(data["image"]) or plain(self, data, reader)
"""
_SAME = """
for dimension in (2, 3):
    upstream, ours = tasks(dimension)
    path = image("a")
    for point in ([20, 20, 6], [21, 20, 6], [30, 25, 3], [20, 20, 6]):
        masks = [click(task, path, point) for task in (upstream, ours)]
        assert masks[0] == masks[1] and any(masks[0][352:]), (dimension, point)
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


@pytest.mark.parametrize("script", [_SAME, _ONCE], ids=["the same voxels and header", "read once, three kept"])
def test_clicks(clone: Clone, script: str):
    assert run("start_server", "python", "-c", _BEGIN + script).splitlines()[-1] == "done"
