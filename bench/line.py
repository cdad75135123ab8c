"""A slow line to a server, made by a process: so many bits a second each way, and so long from end to end.

`python -m bench.line PORT HOST PORT` is that process: its own port, and where the server is.
"""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

from tests.support.paths import ROOT
from tests.support.ports import held_port

BITS_PER_SECOND = 10e6
SECONDS = 0.015  # each way
_PIECE = 4096


@contextmanager
def slow(address: str) -> Iterator[str]:
    """The address of a server at the other end of a slow line."""
    url, port = urlsplit(address), held_port()
    command = [sys.executable, "-m", "bench.line", str(port), str(url.hostname), str(url.port)]
    with subprocess.Popen(command, cwd=ROOT) as line:
        try:
            _wait(port)
            yield urlunsplit(url._replace(netloc=f"127.0.0.1:{port}"))
        finally:
            line.kill()


def _wait(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the slow line does not come up")


class _Direction:
    """What goes one way, of all connections together."""

    def __init__(self) -> None:
        self._free = 0.0

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Everything that comes, until nothing comes any more."""
        arriving: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivering = asyncio.create_task(_deliver(arriving, writer))
        try:
            while piece := await reader.read(_PIECE):
                now = asyncio.get_running_loop().time()
                self._free = max(now, self._free) + 8 * len(piece) / BITS_PER_SECOND
                await asyncio.sleep(self._free - now)
                arriving.put_nowait((self._free + SECONDS, piece))
        finally:
            arriving.put_nowait((0, b""))
            await delivering


async def _deliver(arriving: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    try:
        while (due := await arriving.get())[1]:
            await asyncio.sleep(due[0] - asyncio.get_running_loop().time())
            writer.write(due[1])
            await writer.drain()
    finally:
        writer.close()


async def _serve(port: int, host: str, far_port: int) -> None:
    there, back = _Direction(), _Direction()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * SECONDS)  # a connection's own way there and back
        far_reader, far_writer = await asyncio.open_connection(host, far_port)
        ways = there.pass_on(reader, far_writer), back.pass_on(far_reader, writer)
        await asyncio.gather(*ways, return_exceptions=True)

    async with await asyncio.start_server(connected, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
