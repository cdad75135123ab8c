"""A web server with a port of its own, in the tests' process."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from tests.support.waiting import eventually


@contextmanager
def listening(app: Any, port: int = 0, **options: Any) -> Iterator[int]:
    """Serve an application with these options of uvicorn's; yields the port, of this machine only."""
    with socket.create_server(("127.0.0.1", port)) as held:
        running = uvicorn.Server(uvicorn.Config(app, ws="none", lifespan="off", log_config=None, **options))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [held]})
        thread.start()
        try:
            eventually(lambda: running.started, 5, "the server runs")
            yield held.getsockname()[1]
        finally:
            running.should_exit = True
            thread.join()
