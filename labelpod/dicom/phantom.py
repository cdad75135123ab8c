"""A synthetic chest CT with three nodules: something to look at, to test with and to measure with; no patient.

The anatomy is fixed in millimetres (LPS, origin in the middle of the chest); `slices` and `size` only set how
finely it is sampled. The same arguments give the same files, byte for byte, so that pushing them twice adds nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

# Raise it whenever other pixels or headers come out: it makes new UIDs, and Orthanc keeps what it has under old ones.
_VERSION = "1"
_WIDTH, _HEIGHT = 360.0, 288.0  # mm
_NOISE = 12.0  # HU, standard deviation
_AIR, _FAT, _MUSCLE, _BLOOD, _MARROW, _BONE = -1000.0, -95.0, 45.0, 55.0, 220.0, 600.0

Plane = NDArray[np.float32]
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Nodule:
    """Where a nodule is: its centre as a voxel (column, row, slice from the feet up) and in LPS mm; radii in mm."""

    ijk: tuple[int, int, int]
    lps: tuple[float, float, float]
    radius: float
    core_radius: float  # of the solid part; equal to radius where all of it is solid


@dataclass(frozen=True)
class _Grid:
    slices: int
    size: int

    @property
    def pixel(self) -> float:
        return _WIDTH / self.size

    @property
    def thickness(self) -> float:
        return _HEIGHT / self.slices

    @property
    def origin(self) -> Vector:
        """Centre of the first voxel, LPS mm."""
        return np.array([self.pixel - _WIDTH, self.pixel - _WIDTH, self.thickness - _HEIGHT]) / 2

    def position(self, number: int) -> Vector:
        """Centre of a slice's first voxel, LPS mm."""
        return np.asarray(self.origin + (0, 0, number * self.thickness))  # noqa: RUF005 - adds numbers

    def index(self, lps: tuple[float, float, float]) -> tuple[int, int, int]:
        i, j, k = np.round((np.array(lps) - self.origin) / (self.pixel, self.pixel, self.thickness))
        return int(i), int(j), int(k)


@dataclass(frozen=True)
class _Tube:
    """A straight piece of a vessel or airway with round ends."""

    start: Vector
    end: Vector
    radius: float


# Solid in the right upper lobe, part-solid in the left lung, small and solid in the right lower lobe.
_NODULES = (((-84.0, -18.0, 62.0), 7.0, 7.0), ((86.0, 22.0, 6.0), 10.0, 5.0), ((-72.0, 36.0, -58.0), 5.0, 5.0))
# Which way the vessels of a lung set out, outwards from the middle: to the apex, front, back and base.
_TRUNKS = (
    (0.45, -0.3, 0.84),
    (0.4, 0.45, 0.8),
    (0.8, -0.6, 0.0),
    (0.75, 0.65, 0.1),
    (0.5, -0.2, -0.84),
    (0.4, 0.5, -0.77),
)


def nodules(slices: int = 96, size: int = 256) -> tuple[Nodule, ...]:
    """The three nodules of the phantom that `write` makes with the same arguments."""
    grid = _Grid(slices, size)
    return tuple(Nodule(grid.index(lps), lps, radius, core) for lps, radius, core in _NODULES)


def write(folder: Path, slices: int = 96, size: int = 256, seed: int = 7) -> list[Path]:
    """Write the phantom as a DICOM series of CT images, explicit VR little endian.

    Args:
        folder: made if it is not there.
        slices: number of slices over 288 mm.
        size: rows and columns over 360 mm.
        seed: of the vessels and the noise.

    Returns:
        The files, from the feet to the head.

    """
    folder.mkdir(parents=True, exist_ok=True)
    grid = _Grid(slices, size)
    header = _header(grid, seed)
    paths = []
    for number, pixels in enumerate(_pixels(grid, seed)):
        path = folder / f"{number + 1:04}.dcm"
        header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = _uid(grid, seed, f"instance {number}")
        header.InstanceNumber = number + 1
        header.ImagePositionPatient = [f"{value:.6f}" for value in grid.position(number)]
        header.SliceLocation = header.ImagePositionPatient[2]
        header.PixelData = pixels.tobytes()
        header.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def volume(slices: int = 96, size: int = 256, seed: int = 7) -> tuple[NDArray[np.int16], Vector]:
    """The voxels of what `write` makes with the same arguments, and where they lie.

    Returns:
        Hounsfield units, columns x rows x slices, and the affine from their indices to RAS mm, as NIfTI has it.

    """
    grid = _Grid(slices, size)
    voxels = np.stack([pixels.astype(np.int16) - 1024 for pixels in _pixels(grid, seed)])
    affine = np.diag([-grid.pixel, -grid.pixel, grid.thickness, 1.0])
    affine[:3, 3] = grid.origin * (-1, -1, 1)
    return voxels.T, affine


def _uid(grid: _Grid, seed: int, what: str) -> UID:
    return generate_uid(entropy_srcs=["labelpod phantom", _VERSION, str(grid), str(seed), what])


def _header(grid: _Grid, seed: int) -> FileDataset:
    """All that the slices have in common."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    # pydicom's own would change with its version, and with them the bytes of the files.
    meta.ImplementationClassUID = generate_uid(entropy_srcs=["labelpod"])
    meta.ImplementationVersionName = "LABELPOD"
    header = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    header.SpecificCharacterSet = "ISO_IR 192"
    header.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    header.SOPClassUID = CTImageStorage
    for module in (_subject(grid, seed), _acquisition(), _raster(grid)):
        for keyword, value in module.items():
            setattr(header, keyword, value)
    return header


def _subject(grid: _Grid, seed: int) -> dict[str, object]:
    """Patient, study, series and frame of reference."""
    return {
        "PatientName": "SYNTHETIC^PHANTOM",
        "PatientID": "SYNTHETIC-PHANTOM",
        "PatientBirthDate": "",
        "PatientSex": "O",
        "StudyInstanceUID": _uid(grid, seed, "study"),
        "StudyDate": "20200101",
        "StudyTime": "120000",
        "StudyID": "1",
        "StudyDescription": "SYNTHETIC chest, not a patient",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "SeriesInstanceUID": _uid(grid, seed, "series"),
        "SeriesNumber": 1,
        "SeriesDate": "20200101",
        "SeriesTime": "120000",
        "SeriesDescription": "SYNTHETIC chest CT phantom, not a patient",
        "Modality": "CT",
        "PatientPosition": "HFS",
        "FrameOfReferenceUID": _uid(grid, seed, "frame of reference"),
        "PositionReferenceIndicator": "",
    }


def _acquisition() -> dict[str, object]:
    """Equipment, acquisition and what the image is of."""
    return {
        "Manufacturer": "labelpod",
        "ManufacturerModelName": "phantom",
        "SoftwareVersions": _VERSION,
        "BodyPartExamined": "CHEST",
        "AcquisitionNumber": 1,
        "AcquisitionDate": "20200101",
        "AcquisitionTime": "120000",
        "ContentDate": "20200101",
        "ContentTime": "120000",
        "KVP": "120",
        "ConvolutionKernel": "NONE",
        "ImageComments": "Synthetic: computed, not acquired. Three nodules in the lungs.",
    }


def _raster(grid: _Grid) -> dict[str, object]:
    """Plane, pixels and Hounsfield units."""
    return {
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [f"{grid.pixel:.9f}"] * 2,
        "SliceThickness": f"{grid.thickness:.6f}",
        "SpacingBetweenSlices": f"{grid.thickness:.6f}",
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": grid.size,
        "Columns": grid.size,
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "RescaleIntercept": "-1024",
        "RescaleSlope": "1",
        "RescaleType": "HU",
        "WindowCenter": "-600",
        "WindowWidth": "1500",
    }


def _pixels(grid: _Grid, seed: int) -> Iterator[NDArray[np.uint16]]:
    """Stored values of one slice after the other."""
    vessels = list(_vessels(seed))
    chest = _Chest(grid)
    for number in range(grid.slices):
        plane = chest.plane(grid.position(number)[2], vessels)
        noise = np.random.default_rng([seed, number]).standard_normal(plane.shape, dtype=np.float32)
        yield np.clip(np.rint(plane + _NOISE * noise) + 1024, 0, 4095).astype("<u2")


def _vessels(seed: int) -> Iterator[_Tube]:
    """From each hilum a tree of vessels in every direction, each dividing five times."""
    rng = np.random.default_rng(seed)
    for side in (-1.0, 1.0):
        hilum, length, radius = np.array([side * 28, 8.0, 4.0]), 26.0, 4.2
        ends = [(hilum, np.array([side * x, y, z])) for x, y, z in _TRUNKS]
        for _ in range(6):
            tubes = [_Tube(start, start + length * way, radius) for start, way in ends]
            yield from tubes
            ends = [(tube.end, _turned(way, rng)) for tube, (_, way) in zip(tubes, ends, strict=True) for _ in "ab"]
            length, radius = length * 0.85, max(radius * 0.72, 0.7)


def _turned(way: Vector, rng: np.random.Generator) -> Vector:
    turned = way + 0.4 * rng.standard_normal(3)
    return np.asarray(turned / np.linalg.norm(turned))


class _Chest:
    """Paints slices. A coverage says how much of each pixel a thing fills, 0 to 1, which gives soft edges."""

    def __init__(self, grid: _Grid) -> None:
        self._pixel = grid.pixel
        axis = (grid.origin[0] + grid.pixel * np.arange(grid.size)).astype(np.float32)
        self._axis, self._x, self._y = axis, axis[None, :], axis[:, None]
        # How far a pixel is inside the skin, mm, along the ellipse of the trunk.
        self._depth = (1 - np.hypot(self._x / 165, self._y / 118)) * 118
        self._trunk, self._muscle = self._inside(self._depth), self._inside(self._depth - 14)

    def plane(self, z: float, vessels: list[_Tube]) -> Plane:
        """Hounsfield units of the plane at z mm."""
        plane = np.full((self._axis.size, self._axis.size), _AIR, np.float32)
        self._blend(plane, self._trunk, _FAT)
        self._blend(plane, self._muscle, _MUSCLE)
        # Ribs run down to the front: a shell around the lungs, cut by slanting planes.
        rib = 5 - np.hypot((z + 0.35 * self._y) % 26 - 13, self._depth - 24)
        self._blend(plane, self._inside(rib), _BONE)
        lungs = self._ellipsoid(z, (-76, 2, 0), (54, 78, 122)) + self._ellipsoid(z, (76, 2, 0), (52, 76, 122))
        self._blend(plane, lungs, -865 + 0.4 * self._y)  # denser at the back, where the lung lies on itself
        self._mediastinum(plane, z)
        for tube in vessels:
            self._tube(plane, z, tube, _BLOOD, within=lungs)
        for centre, radius, core in _NODULES:
            self._nodule(plane, z, centre, radius, _MUSCLE if core == radius else -520.0)
            if core < radius:
                self._nodule(plane, z, centre, core, 20.0)
        return plane

    def _mediastinum(self, plane: Plane, z: float) -> None:
        """Heart, aorta, airways and spine."""
        self._blend(plane, self._ellipsoid(z, (18, -28, -46), (52, 42, 52)), _BLOOD)
        self._blend(plane, self._inside(12 - np.hypot(self._x - 26, self._y - 52)), _BLOOD)
        carina, top = np.array([0.0, 14.0, 34.0]), np.array([0.0, 8.0, 160.0])
        for end, radius in ((top, 9.0), (np.array([-34.0, 10.0, 8.0]), 6.5), (np.array([36.0, 12.0, 4.0]), 6.0)):
            self._tube(plane, z, _Tube(carina, end, radius), _AIR)
        for radius, value in ((19, _BONE), (16, _MARROW if z % 24 > 5 else 80.0)):  # vertebra or disc
            self._blend(plane, self._inside(radius - np.hypot(self._x, self._y - 70)), value)
        self._blend(plane, self._inside(8 - np.hypot(self._x, self._y - 92)), 20.0)  # spinal canal

    def _inside(self, depth: Plane) -> Plane:
        """Coverage by a thing whose surface is `depth` mm away, positive inside."""
        return np.asarray(np.clip(depth / self._pixel + 0.5, 0, 1), np.float32)

    def _blend(self, plane: Plane, coverage: Plane, value: float | Plane) -> None:
        plane += coverage * (value - plane)

    def _ellipsoid(self, z: float, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Plane:
        x, y = (self._x - centre[0]) / radii[0], (self._y - centre[1]) / radii[1]
        reach = np.sqrt(x * x + y * y + np.float32(((z - centre[2]) / radii[2]) ** 2))
        return self._inside((1 - reach) * min(radii))

    def _window(self, low: Vector, high: Vector) -> tuple[slice, slice]:
        """Rows and columns that hold everything between two corners, mm."""
        first, last = np.searchsorted(self._axis, low[:2]), np.searchsorted(self._axis, high[:2])
        return slice(first[1], last[1]), slice(first[0], last[0])

    def _offsets(self, window: tuple[slice, slice], z: float, centre: Vector) -> tuple[Plane, Plane, float]:
        """Offsets of the window's pixels from a point, mm."""
        return self._x[:, window[1]] - centre[0], self._y[window[0]] - centre[1], z - centre[2]

    def _tube(self, plane: Plane, z: float, tube: _Tube, value: float, within: Plane | None = None) -> None:
        margin = tube.radius + self._pixel
        low, high = np.minimum(tube.start, tube.end) - margin, np.maximum(tube.start, tube.end) + margin
        if not low[2] < z < high[2]:
            return
        window = self._window(low, high)
        x, y, height = self._offsets(window, z, tube.start)
        axis = tube.end - tube.start
        along = np.clip((x * axis[0] + y * axis[1] + height * axis[2]) / (axis @ axis), 0, 1)
        distance = np.sqrt((x - along * axis[0]) ** 2 + (y - along * axis[1]) ** 2 + (height - along * axis[2]) ** 2)
        coverage = self._inside(tube.radius - distance)
        self._blend(plane[window], coverage if within is None else coverage * within[window], value)

    def _nodule(self, plane: Plane, z: float, centre: tuple[float, float, float], radius: float, value: float) -> None:
        """A ball whose surface is up to an eighth of the radius in or out."""
        middle, reach = np.array(centre), 1.125 * radius + self._pixel
        if abs(z - middle[2]) > reach:
            return
        window = self._window(middle - reach, middle + reach)
        x, y, height = self._offsets(window, z, middle)
        distance = np.sqrt(x * x + y * y + height * height)
        turn = np.arctan2(y, x)
        bumps = np.sin(3 * turn + 0.4 * height) + np.cos(5 * turn - 0.3 * height)
        self._blend(plane[window], self._inside(radius * (1 + bumps / 16) - distance), value)
