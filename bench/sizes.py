"""How much is measured with."""

from dataclasses import dataclass

from labelpod.docker.tags import BASE_TAG, LABEL_SERVER_TAG, ORTHANC_TAG

# Built by bench/image.py.
UPSTREAM_TAG = "labelpod-bench/upstream:local"


@dataclass(frozen=True)
class Sizes:
    """Numbers of slices, pixels, studies and repetitions."""

    runs: int = 3
    slices: int = 300
    size: int = 512
    labelled: tuple[int, ...] = (200, 2000, 5000)
    asked: int = 9  # times, for each of our lists
    upstream_lists: int = 200  # at 2,000 one answer takes upstream a minute
    instances: int = 1000
    studies: int = 50
    memory_slices: int = 24
    memory_size: int = 256
    clicks: tuple[tuple[str, int], ...] = (("deepgrow_2d", 5), ("deepgrow_3d", 3))
    polls: int = 40
    looking: float = 8  # seconds that an annotator looks at an image; what is done ahead is done by then
    stored: tuple[int, ...] = (1000, 10000, 25000)
    viewer_slices: int = 98
    viewer_size: int = 256
    slow_line: bool = True
    viewer_labelling: float = 15  # seconds; on a slow line, what comes ahead takes ten
    annotators: int = 50
    working: float = 300  # seconds
    hurry: float = 1  # times that annotators think faster than people do
    click: float = 0.2  # seconds for which the stand-in of a model keeps its server
    annotators_images: int = 320
    alone: int = 5  # images that one of them labels without the others
    images: tuple[str, str] = (LABEL_SERVER_TAG, UPSTREAM_TAG)


SMOKE = Sizes(
    runs=1,
    slices=6,
    size=64,
    labelled=(2, 4),
    asked=1,
    upstream_lists=2,
    instances=8,
    studies=2,
    memory_slices=3,
    memory_size=64,
    clicks=(("deepgrow_2d", 2),),  # the other takes half a minute whatever the image's size
    polls=4,
    looking=0,
    stored=(20, 40),
    viewer_slices=6,
    viewer_size=64,
    slow_line=False,  # a minute by itself
    viewer_labelling=0,
    annotators=3,
    working=8,
    hurry=200,
    click=0.02,
    annotators_images=40,
    alone=1,
    images=(BASE_TAG, ORTHANC_TAG),
)
