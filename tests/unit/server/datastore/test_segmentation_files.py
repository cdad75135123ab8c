"""Segmentations as 3D Slicer saves them, `.seg.nrrd`: the header's names, values and layers count."""

import gzip
import json
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from label_server.errors import Refused
from label_server.parsing import segments
from tests.support.ct import Ct
from tests.support.dicomweb import Pacs
from tests.support.labels import ok, painted
from tests.support.pacs import masks
from tests.support.web import Server

Entry = tuple[str, int, int]  # name, value, layer


def seg_nrrd(on: sitk.Image, layers: list[NDArray[np.uint8]], entries: list[Entry], **fields: str) -> bytes:
    """A file as Slicer writes it, with one layer or several, the first index that of the layer."""
    axes = np.array(on.GetDirection()).reshape(3, 3) * np.array(on.GetSpacing())
    directions = " ".join("({},{},{})".format(*axis) for axis in axes.T)
    many = len(layers) > 1
    head = {
        "type": "unsigned char",
        "dimension": "4" if many else "3",
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, (*([len(layers)] if many else []), *on.GetSize()))),
        "space directions": f"none {directions}" if many else directions,
        "kinds": "list domain domain domain" if many else "domain domain domain",
        "encoding": "gzip",
        "space origin": "({},{},{})".format(*on.GetOrigin()),
    }
    text = "NRRD0004\n" + "".join(f"{key}: {value}\n" for key, value in head.items())
    for number, (name, value, layer) in enumerate(entries):
        said = {"ID": f"Segment_{number}", "Name": name, "LabelValue": str(value), "Layer": str(layer)}
        text += "".join(f"Segment{number}_{key}:={each}\n" for key, each in said.items() if fields.get(key) != "")
    text += "Segmentation_ContainedRepresentationNames:=Binary labelmap|\n\n"
    voxels = np.stack(layers, axis=-1) if many else layers[0]
    return text.encode() + gzip.compress(np.ascontiguousarray(voxels).tobytes(), mtime=0)


def save(server: Server, uid: str, content: bytes, names: list[str] | None = None) -> Any:
    """As the plugin does: all segments are in the file, and label_info has those that are not its own."""
    info = [{"name": name, "idx": number} for number, name in enumerate(names or [], start=2)]
    form = {"params": json.dumps({"label_info": info, "client_id": "user-xyz"})}
    files = {"label": ("label.seg.nrrd", content)}
    return server.ask("PUT", f"/datastore/label?image={uid}", "anna", data=form, files=files)


def stored(server: Server, pacs: Pacs, uid: str) -> dict[str, NDArray[np.bool_]]:
    (seg,) = pacs.segmentations(uid)
    return masks(hd.seg.Segmentation.from_dataset(seg), server.image(uid))


def two(first: NDArray[np.bool_], value: int, second: NDArray[np.bool_], other: int) -> NDArray[np.uint8]:
    return (first * np.uint8(value) + second * np.uint8(other)).astype(np.uint8)


A, B = painted() == 2, painted() == 3


@pytest.mark.parametrize("names", [None, ["nodule2", "Läsion 7"]], ids=["file", "both"])
def test_names_and_values_of_the_header_count(server: Server, image: Ct, pacs: Pacs, names):
    """label_info counts over all segments, and the values of the file are Slicer's own."""
    entries = [("background", 9, 0), ("Läsion 7", 4, 0), ("nodule2", 1, 0)]
    layer = two(A, 1, B, 4)
    layer[0, 0, 0] = 9
    ok(save(server, image.uid, seg_nrrd(server.image(image.uid), [layer], entries), names))
    found = stored(server, pacs, image.uid)
    assert found.keys() == {"nodule2", "Läsion 7"}
    assert np.array_equal(found["nodule2"], A) and np.array_equal(found["Läsion 7"], B)


def test_layers_that_do_not_overlap_are_read(server: Server, image: Ct, pacs: Pacs):
    entries = [("nodule3", 1, 1), ("nodule1", 1, 0)]
    ok(save(server, image.uid, seg_nrrd(server.image(image.uid), [A.astype(np.uint8), B.astype(np.uint8)], entries)))
    found = stored(server, pacs, image.uid)
    assert np.array_equal(found["nodule1"], A) and np.array_equal(found["nodule3"], B)


def test_a_part_of_the_image_in_slices_only_is_put_in_place(server: Server, image: Ct, pacs: Pacs):
    """Slicer crops a segmentation to what is painted."""
    part = server.image(image.uid)[:, :, 1:5]
    layer = two(A, 1, B, 2)[1:5]
    ok(save(server, image.uid, seg_nrrd(part, [layer], [("nodule1", 1, 0), ("nodule2", 2, 0)])))
    found = stored(server, pacs, image.uid)
    assert np.array_equal(found["nodule1"], A) and np.array_equal(found["nodule2"], B)


GOOD: list[Entry] = [("nodule1", 1, 0), ("nodule2", 2, 0)]


@pytest.mark.parametrize(
    ("layers", "entries", "names", "reason"),
    [
        (
            [A | B, B],
            [("nodule1", 1, 0), ("nodule2", 1, 1)],
            None,
            f"{B.sum()} voxels are in 'nodule2' and in 'nodule1'",
        ),
        ([two(A, 1, B, 3)], GOOD, None, "layer 0 holds the value 3, which no segment has"),
        ([A], [("nodule1", 1, 0), ("nodule2", 1, 0)], None, "two segments have one value in layer 0"),
        ([A], [("nodule1", 1, 0), ("nodule2", 1, 5)], None, "in layer 5, which there is not"),
        ([two(A, 1, B, 2)], [("a", 1, 0), ("a", 2, 0)], None, "two segments are called 'a'"),
        ([two(A, 1, B, 2)], GOOD, ["nodule1", "mass"], "others than those in label_info"),
        ([A], [("x" * 65, 1, 0)], None, "a name in label_info is none"),
        ([A], [("a\\\\b", 1, 0)], None, "a name in label_info is none"),
    ],
    ids=["overlap", "no segment", "one value", "no layer", "one name", "other names", "long", "backslash"],
)
def test_a_segmentation_that_cannot_be_stored_is_refused(
    server: Server, image: Ct, pacs: Pacs, layers: list, entries: list[Entry], names: list[str] | None, reason: str
):
    content = seg_nrrd(server.image(image.uid), [each.astype(np.uint8) for each in layers], entries)
    answer = save(server, image.uid, content, names)
    assert answer.status_code == 422 and reason in answer.json()["detail"], answer.text
    assert pacs.segmentations() == []


@pytest.mark.parametrize("missing", ["LabelValue", "Layer"])
def test_a_header_that_does_not_say_which_voxels_are_meant_is_refused(server: Server, image: Ct, missing: str):
    content = seg_nrrd(server.image(image.uid), [two(A, 1, B, 2)], GOOD, **{missing: ""})
    answer = save(server, image.uid, content)
    assert answer.status_code == 422 and "the value and the layer of each segment" in answer.json()["detail"]


@pytest.mark.parametrize(
    "content", ["{", "[1]", '{"a": 1}', '"x"', "[" * 9999, '["' + "x" * 2**17 + '"]'], ids=range(6)
)
def test_names_that_a_taken_over_process_leaves_are_refused(tmp_path: Path, content: str):
    (tmp_path / "segments.json").write_text(content)
    with pytest.raises(Refused, match="cannot be read"):
        segments.names(tmp_path)


def test_names_behind_a_link_are_refused(tmp_path: Path):
    (tmp_path / "secret").write_text('["x"]')
    (tmp_path / "segments.json").symlink_to(tmp_path / "secret")
    with pytest.raises(Refused, match="cannot be read"):
        segments.names(tmp_path)
