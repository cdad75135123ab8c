"""A slow line to a server, made in this process: so many bits a second each way, and so long from end to end."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

from tests.support.ports import held_port

BITS_PER_SECOND = 10e6
SECONDS = 0.015  # each way
_PIECE = 4096


class _Direction:
    """What goes one way, of all connections together."""

    def __init__(self) -> None:
        self._free = 0.0

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Everything that comes, until nothing comes any more."""
        arriving: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivering = asyncio.create_task(_deliver(arriving, writer))
        while piece := await reader.read(_PIECE):
            now = asyncio.get_running_loop().time()
            self._free = max(now, self._free) + 8 * len(piece) / BITS_PER_SECOND
            await asyncio.sleep(self._free - now)
            arriving.put_nowait((self._free + SECONDS, piece))
        arriving.put_nowait((0, b""))
        await delivering


async def _deliver(arriving: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    while (due := await arriving.get())[1]:
        await asyncio.sleep(due[0] - asyncio.get_running_loop().time())
        writer.write(due[1])
        await writer.drain()
    writer.close()


@contextmanager
def slow(address: str) -> Iterator[str]:
    """The address of a server at the other end of a slow line."""
    url, port = urlsplit(address), held_port()
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        there, back = _Direction(), _Direction()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(2 * SECONDS)  # a connection's own way there and back
            far_reader, far_writer = await asyncio.open_connection(url.hostname, url.port)
            ways = there.pass_on(reader, far_writer), back.pass_on(far_reader, writer)
            await asyncio.gather(*ways, return_exceptions=True)

        async with await asyncio.start_server(connected, "127.0.0.1", port):
            ready.set()
            await asyncio.Event().wait()

    task = asyncio.run_coroutine_threadsafe(serve(), loop)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        ready.wait()
        yield urlunsplit(url._replace(netloc=f"127.0.0.1:{port}"))
    finally:
        task.cancel()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
