"""Makes the pictures of labelling.md: what its steps do to a synthetic CT.

Type `.venv/bin/python docs/tools/pictures.py`, after `python3 deploy.py test --yes unit` once for the packages; it
takes some minutes. The slices are drawn from labelpod/dicom/phantom.py and need no server. Nothing here shows a
patient.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from labelpod.dicom import phantom

FOLDER = Path(__file__).resolve().parents[1] / "pictures"
SLICES, SIZE = 288, 512  # slices of 1 mm
SCALE = 6  # pixels for each mm
LUNG, SOFT_TISSUE = (-500, 1400), (40, 400)  # level and width, HU
ORANGE, BLUE, GREEN, RED = (230, 159, 0), (86, 180, 233), (0, 200, 120), (235, 60, 60)

Mask = NDArray[np.bool_]


class Chest:
    """The synthetic CT, and what can be marked in it."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            files = phantom.write(Path(folder), SLICES, SIZE)
            self.image = sitk.ReadImage([str(file) for file in files])
        self.voxels = sitk.GetArrayFromImage(self.image)
        self.nodules = phantom.nodules(SLICES, SIZE)

    def ball(self, centre: tuple[int, int, int], radius: float) -> Mask:
        """All within some mm of a voxel."""
        axes = np.ogrid[tuple(slice(length) for length in self.voxels.shape)]
        steps = self.image.GetSpacing()
        parts = (((axes[2 - n] - centre[n]) * steps[n]) ** 2 for n in range(3))
        return np.asarray(sum(parts) < radius**2)

    def grown(self, start: tuple[int, int, int], within: Mask) -> Mask:
        """What hangs together with a voxel and is denser than lung."""
        image = sitk.GetImageFromArray(((self.voxels > -650) & within).astype(np.uint8))
        return np.asarray(sitk.GetArrayFromImage(sitk.ConnectedThreshold(image, [start], 1, 1)) > 0)


class View:
    """A piece of a plane around a voxel."""

    def __init__(self, chest: Chest, centre: tuple[int, int, int], half: float, plane: str = "axial") -> None:
        """`half` is in mm from the centre to the rim."""
        self._chest, self._centre = chest, centre
        self._axes = (0, 1) if plane == "axial" else (0, 2)
        self._reach = [round(half / chest.image.GetSpacing()[axis]) for axis in self._axes]
        self._size = (round(2 * half * SCALE),) * 2

    def _cut(self, voxels: NDArray) -> NDArray:
        """Rows from the back of the patient, or from the head, downwards."""
        places: list[int | slice] = list(self._centre)
        for axis, reach in zip(self._axes, self._reach, strict=True):
            places[axis] = slice(self._centre[axis] - reach, self._centre[axis] + reach)
        piece = voxels[places[2], places[1], places[0]]
        return piece[::-1] if 2 in self._axes else piece

    def draw(
        self,
        title: str,
        window: tuple[int, int] = LUNG,
        segment: Mask | None = None,
        color: tuple[int, int, int] = ORANGE,
        points: tuple[tuple[float, float, tuple[int, int, int]], ...] = (),
    ) -> Image.Image:
        """The plane in a window, with a segment over it, and points in mm from the centre."""
        level, width = window
        gray = np.clip((self._cut(self._chest.voxels) - level) / width + 0.5, 0, 1) * 255
        picture = Image.fromarray(gray.astype(np.uint8)).resize(self._size, Image.Resampling.BICUBIC).convert("RGB")
        if segment is not None:
            _cover(picture, self._cut(segment), color)
        draw = ImageDraw.Draw(picture)
        for right, down, shade in points:
            x, y = (self._size[0] / 2 + right * SCALE, self._size[1] / 2 + down * SCALE)
            draw.ellipse((x - 7, y - 7, x + 7, y + 7), outline=shade, width=3)
        draw.text((8, 6), title, fill="white", font=ImageFont.load_default(17), stroke_width=2, stroke_fill="black")
        return picture


def _cover(picture: Image.Image, mask: Mask, color: tuple[int, int, int]) -> None:
    """Colour a segment as viewers do: its inside lightly, its rim in full."""
    area = Image.fromarray(mask.astype(np.uint8) * 255).resize(picture.size, Image.Resampling.NEAREST)
    solid = np.asarray(area) > 0
    inside = sitk.GetArrayFromImage(sitk.BinaryErode(sitk.GetImageFromArray(solid.astype(np.uint8)), [2, 2])) > 0
    strength = np.where(inside, 90, np.where(solid, 255, 0)).astype(np.uint8)
    picture.paste(Image.new("RGB", picture.size, color), mask=Image.fromarray(strength))


def save(name: str, *rows: list[Image.Image]) -> None:
    """Put drawings beside and below each other; few colours, so that the file is small."""
    gap = 4
    width = max(sum(each.width + gap for each in row) - gap for row in rows)
    sheet = Image.new("RGB", (width, sum(row[0].height + gap for row in rows) - gap), "white")
    top = 0
    for row in rows:
        left = 0
        for each in row:
            sheet.paste(each, (left, top))
            left += each.width + gap
        top += row[0].height + gap
    write(name, sheet)


def write(name: str, picture: Image.Image) -> None:
    """Keep a picture with few colours."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / name
    picture.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path} written, {path.stat().st_size // 1024} kB")


def windows(chest: Chest) -> None:
    """The part-solid nodule in both windows."""
    view = View(chest, chest.nodules[1].ijk, 26)
    save("windows.png", [view.draw("lung window"), view.draw("soft tissue window", SOFT_TISSUE)])


def points(chest: Chest) -> None:
    """The small nodule on a vessel: a segment that runs out, and one that a background point holds back."""
    i, j, k = chest.nodules[2].ijk
    view = View(chest, (i, j, k + 3), 20)
    loose = chest.grown((i, j, k), chest.ball((i, j, k), 19))
    held = chest.grown((i, j, k), chest.ball((i, j, k), 6.2))
    inside, vessel = (0.0, 0.0, GREEN), (-9.5, -1.5, RED)
    save(
        "points.png",
        [
            view.draw("foreground", points=(inside,)),
            view.draw("it runs out along a vessel", segment=loose, points=(inside,)),
            view.draw("a background point", segment=held, points=(inside, vessel)),
        ],
    )


def by_hand(chest: Chest) -> None:
    """A brush without and with a mask; a segment of slices before and after smoothing."""
    part_solid, solid, small = chest.nodules[1], chest.nodules[0], chest.nodules[2]
    view = View(chest, part_solid.ijk, 20)
    brush = chest.ball(part_solid.ijk, 13)
    masked = brush & (chest.voxels > -600)
    first = [
        view.draw("painted", segment=brush, color=BLUE),
        view.draw("masked from -600 HU", segment=masked, color=BLUE),
        view.draw("from -100 HU: too much", segment=brush & (chest.voxels > -100), color=BLUE),
    ]
    rough = _slice_by_slice(chest, chest.grown(solid.ijk, chest.ball(solid.ijk, solid.radius + 1)))
    little = chest.grown(small.ijk, chest.ball(small.ijk, small.radius + 1))
    upright = View(chest, solid.ijk, 20, "coronal")
    second = [
        upright.draw("steps between slices", segment=rough),
        upright.draw("median of 3 mm", segment=_median(chest, rough, 3)),
        View(chest, small.ijk, 20, "coronal").draw("median of 9 mm: too much", segment=_median(chest, little, 9)),
    ]
    save("by_hand.png", first, second)


def _slice_by_slice(chest: Chest, segment: Mask) -> Mask:
    """Each slice a little larger or smaller than it is, as from a model that sees one at a time."""
    random = np.random.default_rng(3)
    result = np.zeros_like(segment)
    for k in np.flatnonzero(segment.any(axis=(1, 2))):
        plane = sitk.GetImageFromArray(segment[k].astype(np.uint8))
        change = int(random.integers(-3, 4))
        plane = sitk.BinaryDilate(plane, [change] * 2) if change > 0 else sitk.BinaryErode(plane, [-change] * 2)
        result[k] = sitk.GetArrayFromImage(plane) > 0
    return result


def _median(chest: Chest, segment: Mask, size: float) -> Mask:
    """Smoothing as 3D Slicer's Segment Editor does it, with a kernel of some mm."""
    radius = [int(size / step / 2 + 0.5) for step in chest.image.GetSpacing()]
    smooth = sitk.BinaryMedian(sitk.GetImageFromArray(segment.astype(np.uint8)), radius)
    return np.asarray(sitk.GetArrayFromImage(smooth) > 0)


def main() -> None:
    """Draw all of them."""
    chest = Chest()
    for draw in (windows, points, by_hand):
        draw(chest)


if __name__ == "__main__":
    main()
