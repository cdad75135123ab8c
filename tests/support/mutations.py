"""Files that are almost right: what a fuzzer makes of good ones, without a fuzzer."""

from collections.abc import Sequence

from hypothesis import settings
from hypothesis import strategies as st

# Some seconds of each parser; none of it is kept.
brief = settings(deadline=None, database=None, max_examples=60)
# Of lengths and numbers: none, all, the largest, the one beyond.
_NUMBERS = [
    b"\0",
    b"\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x80",
    b"\xff\xff\xff\xff",
    b"-1",
    b"99999999999",
    b"nan",
    b"\n",
]


def mutated(good: Sequence[bytes], header: int = 2**12) -> st.SearchStrategy[bytes]:
    """One of the good files with some bytes written over, put in, or taken out, most of them in its header."""
    edits = st.lists(
        st.tuples(
            st.integers(0, header) | st.integers(0, max(map(len, good))),
            st.integers(0, 8),
            st.binary(max_size=8) | st.sampled_from(_NUMBERS),
        ),
        min_size=1,
        max_size=6,
    )
    return st.builds(_edited, st.sampled_from(list(good)), edits, st.none() | st.integers(0, header))


def _edited(content: bytes, edits: list[tuple[int, int, bytes]], cut: int | None) -> bytes:
    for place, removed, written in edits:
        at = place % (len(content) + 1)
        content = content[:at] + written + content[at + removed :]
    return content if cut is None else content[: len(content) - cut]
