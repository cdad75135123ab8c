"""Label maps on their way between the browser and the label server: files that SimpleITK reads and writes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import node

WRITE = """
const { toNrrd } = await use('volumes.js');
const { writeFileSync } = await import('node:fs');
for (const [place, { volume, voxels }] of values[0].entries())
  writeFileSync(`${files.folder}/${place}.nrrd`,
    Buffer.from(await (await toNrrd(volume, Uint8Array.from(voxels))).arrayBuffer()));
"""
READ = """
const { fromNifti } = await use('volumes.js');
const { readFileSync } = await import('node:fs');
const read = async ({ volume, file }) => {
  const body = new Blob([readFileSync(file)]).stream();
  try { return [...(await fromNifti(body, volume))]; } catch (error) { return error.message; }
};
return Promise.all(values[0].map(read));
"""
GRIDS = st.fixed_dictionaries(
    {
        "sizes": st.tuples(st.integers(2, 7), st.integers(2, 7), st.integers(1, 5)),
        "spacing": st.tuples(st.floats(0.3, 1.5), st.floats(0.3, 1.5), st.floats(0.5, 5)),
        "origin": st.tuples(st.floats(-300, 300), st.floats(-300, 300), st.floats(-2000, 2000)),
        "turned": st.tuples(st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180)),
        "seed": st.integers(0, 1000),
    }
)


def image(sizes: Any, spacing: Any, origin: Any, turned: Any = (0, 0, 0), seed: int = 0) -> sitk.Image:
    """A label map of any values on a grid; `turned` in degrees about the axes."""
    made = sitk.GetImageFromArray(np.random.default_rng(seed).integers(0, 9, sizes[::-1], np.uint8))
    made.SetSpacing(spacing)
    made.SetOrigin(origin)
    made.SetDirection(sitk.Euler3DTransform((0, 0, 0), *np.deg2rad(turned).tolist()).GetMatrix())
    return made


def volume(of: sitk.Image) -> dict[str, Any]:
    """The grid in Cornerstone's words: its direction has a column axis after the other."""
    direction = np.reshape(of.GetDirection(), (3, 3)).T.ravel().tolist()
    return {
        "dimensions": of.GetSize(),
        "spacing": of.GetSpacing(),
        "origin": of.GetOrigin(),
        "direction": direction,
    }


def voxels(of: sitk.Image) -> list[int]:
    return sitk.GetArrayFromImage(of).ravel().tolist()


def written(folder: Path, *images: sitk.Image) -> list[sitk.Image]:
    """What SimpleITK reads of the viewer's files."""
    node.run(WRITE, [{"volume": volume(each), "voxels": voxels(each)} for each in images], folder=folder)
    return [sitk.ReadImage(str(folder / f"{place}.nrrd")) for place in range(len(images))]


def read(folder: Path, *pairs: tuple[sitk.Image, dict[str, Any]]) -> list[Any]:
    """What the viewer reads of SimpleITK's files, each for a volume: voxels, or why not."""
    asked = []
    for place, (each, on) in enumerate(pairs):
        sitk.WriteImage(each, str(folder / f"{place}.nii.gz"), useCompression=True)
        asked.append({"volume": on, "file": str(folder / f"{place}.nii.gz")})
    return node.run(READ, asked)


@settings(max_examples=5, deadline=None)
@given(grids=st.lists(GRIDS, min_size=8, max_size=8))
def test_any_grid_goes_to_the_label_server_and_comes_back(tmp_path_factory: pytest.TempPathFactory, grids: Any):
    folder = tmp_path_factory.mktemp("volumes")
    images = [image(**each) for each in grids]
    for before, after in zip(images, written(folder, *images), strict=True):
        assert voxels(after) == voxels(before) and after.GetSize() == before.GetSize()
        for name in ("GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(after, name)() == pytest.approx(getattr(before, name)(), abs=1e-6)
    assert read(folder, *((each, volume(each)) for each in images)) == [voxels(each) for each in images]


def plain(**other: Any) -> sitk.Image:
    return image(**{"sizes": (4, 3, 2), "spacing": (0.7, 0.7, 2.5), "origin": (-10.0, -20.0, 30.0)} | other)


def shifted(**other: Any) -> dict[str, Any]:
    return volume(plain()) | other


@pytest.mark.parametrize(
    "other",
    [
        shifted(origin=(-10.0, -20.0, 32.5)),
        shifted(spacing=(0.7, 0.7, 2.0)),
        shifted(dimensions=(3, 4, 2)),
        shifted(dimensions=(4, 3, 3)),
        shifted(direction=(1, 0, 0, 0, 1, 0, 0, 0, -1)),
        shifted(direction=(0, 1, 0, 1, 0, 0, 0, 0, 1)),
    ],
    ids=["moved", "of other spacing", "of other sizes", "of more slices", "upside down", "turned"],
)
def test_a_file_on_another_grid_is_refused(tmp_path, other):
    assert read(tmp_path, (plain(), other)) == ["it lies on another grid"]


def test_what_is_no_packed_file_is_refused(tmp_path):
    (tmp_path / "0.nii.gz").write_bytes(b"{}")
    (said,) = node.run(READ, [{"volume": volume(plain()), "file": str(tmp_path / "0.nii.gz")}])
    assert isinstance(said, str)


def test_values_are_translated_and_those_that_are_not_listed_become_background():
    code = "return [...(await use('volumes.js')).translated(Uint8Array.from(values[0]), { 1: 3, 7: 1 })];"
    assert node.run(code, [0, 1, 7, 2, 255, 1]) == [0, 3, 1, 0, 0, 3]


def test_the_values_that_occur_are_told_without_background():
    code = "return (await use('volumes.js')).valuesOf(Uint8Array.from(values[0]));"
    assert node.run(code, [0, 5, 2, 5, 255]) == [2, 5, 255] and node.run(code, [0, 0]) == []
