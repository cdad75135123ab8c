"""Answers that end: httpx bounds each read, and an answer in drips, or without an end, would be read for ever."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

import httpx

from labelpod.errors import DeployError

Answer = TypeVar("Answer")

_SECONDS, _BYTES = 60.0, 32 * 2**20
_LONGEST_LINE, _LONGEST_LOG = 2**16, 16 * 2**20
# An extension of a request whose answer is read as `lines`.
STREAM = {"labelpod.stream": True}
# What httpx reads of the environment.
_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir")


def client(
    *,
    base_url: str = "",
    headers: Mapping[str, str] | None = None,
    timeout: float | httpx.Timeout,
    trust_env: bool = True,
) -> httpx.Client:
    """A client whose answers end.

    Args:
        base_url: what its addresses begin with.
        headers: of each request.
        timeout: of each read, in seconds.
        trust_env: whether it uses the environment's proxies and certificates.

    Raises:
        DeployError: the environment names a proxy or certificates that cannot be used.

    """
    plain = {**(headers or {}), "Accept-Encoding": "identity"}
    try:
        return _Client(
            base_url=base_url, headers=plain, timeout=timeout, trust_env=trust_env, event_hooks={"response": [answer]}
        )
    except (httpx.InvalidURL, ImportError, ValueError, OSError):  # ImportError: a SOCKS proxy needs one more package
        # Not their values: there may be a login in them.
        named = ", ".join(name for name in sorted(os.environ) if name.lower() in _VARIABLES and os.environ[name])
        raise DeployError(
            f"{named or 'a proxy'} of the environment cannot be used",
            "correct or unset it; a proxy is http://HOST:PORT",
        ) from None


def within(ask: Callable[[], Answer], request: httpx.Request) -> Answer:
    """What it answers, asked in a thread of its own: headers in drips and a name server that hangs heed no timeout.

    Raises:
        httpx.ReadTimeout: nothing in time; the thread is left behind.
        Exception: whatever it raises.

    """
    future: Future[Answer] = Future()

    def run() -> None:
        try:
            future.set_result(ask())
        except BaseException as problem:
            future.set_exception(problem)

    Thread(target=run, daemon=True).start()
    try:
        return future.result(_SECONDS)
    except TimeoutError:
        raise httpx.ReadTimeout("no whole answer in time", request=request) from None


class _Client(httpx.Client):
    def send(self, request: httpx.Request, *args: Any, **kwargs: Any) -> httpx.Response:
        def ask() -> httpx.Response:
            try:
                return super(_Client, self).send(request, *args, **kwargs)
            except UnicodeError:  # of a name that cannot be, as a proxy's
                raise httpx.ConnectError("there can be no such address", request=request) from None

        forever = request.extensions["timeout"]["read"] is None
        return ask() if forever else within(ask, request)


def answer(response: httpx.Response) -> None:
    """Bound how long and how much of an answer is read; a hook of httpx's.

    Raises:
        httpx.DecodingError: it is packed, which was not asked for: a little may become very much.

    """
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise httpx.DecodingError("the answer is packed", request=response.request)
    if not response.request.extensions.keys() & STREAM.keys():
        assert isinstance(response.stream, httpx.SyncByteStream)  # noqa: S101, no client here is asynchronous
        response.stream = _Bounded(response.stream, response.request)


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
