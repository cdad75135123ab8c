"""Answers that end: httpx bounds each read, and an answer in drips, or without an end, would be read for ever."""

import time
from collections.abc import Iterator

import httpx

_SECONDS, _BYTES = 60.0, 32 * 2**20
_LONGEST_LINE, _LONGEST_LOG = 2**16, 16 * 2**20
# An extension of a request whose answer is read as `lines`.
STREAM = {"labelpod.stream": True}


def answer(response: httpx.Response) -> None:
    """Bound how long and how much of an answer is read; a hook of httpx's."""
    if not response.request.extensions.keys() & STREAM.keys():
        assert isinstance(response.stream, httpx.SyncByteStream)  # noqa: S101, no client here is asynchronous
        response.stream = _Bounded(response.stream, response.request)


HOOKS = {"response": [answer]}


class _Bounded(httpx.SyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream, request: httpx.Request) -> None:
        self._inner, self._request = inner, request

    def __iter__(self) -> Iterator[bytes]:
        deadline, read = time.monotonic() + _SECONDS, 0
        for chunk in self._inner:
            read += len(chunk)
            if read > _BYTES or time.monotonic() > deadline:
                raise httpx.ReadTimeout("the answer has no end", request=self._request)
            yield chunk

    def close(self) -> None:
        self._inner.close()


def lines(chunks: Iterator[bytes], seconds: float | None) -> Iterator[str]:
    """Lines of a stream, as they come; of one that is too long, its beginning.

    Args:
        chunks: of the stream.
        seconds: after which no more are read, however many there are; None: as long as they come.

    """
    deadline, read, rest = time.monotonic() + (seconds or 0), 0, b""
    for chunk in chunks:
        read += len(chunk)
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line[:_LONGEST_LINE].decode(errors="replace").rstrip("\r")
        rest = rest[:_LONGEST_LINE]
        if seconds is not None and (read > _LONGEST_LOG or time.monotonic() > deadline):
            return
