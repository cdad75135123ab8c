"""MONAI Label's `start_server` with a web server that is patient, but not without end.

Upstream gives uvicorn no limits: a connection that never sends its request is held for ever (monailabel 0.8.5,
main.py:248-262).
"""

import asyncio
import json
import os
import resource
from pathlib import Path
from typing import Any

import uvicorn
from monailabel.main import Main
from monailabel.utils.others.generic import init_log_config

from label_server import logs
from label_server.settings import LOG_FORMAT, MAX_HEADER_BYTES, SLOW_CLIENT_SECONDS
from label_server.web.connections import CountedProtocol

_MAX_CONNECTIONS = 1000
# Those that wait to be accepted come all at once, 2048 at most.
_OPEN_FILES = 8192
# Of TLS 1.2, which is the oldest here, only what keeps yesterday's traffic secret if the key is stolen, and no CBC;
# TLS 1.3 has nothing else.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class PatientProtocol(CountedProtocol):
    """HTTP/1.1; a connection whose next request does not arrive whole in time is closed."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Wait on for the rest of a request's head; what follows it is the gateway's matter."""
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete:
            self._wait()
        else:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Wait for the rest of a next request that has begun already."""
        super().on_response_complete()
        if self.conn.trailing_data[0]:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(SLOW_CLIENT_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


class LabelServer(Main):
    """Upstream's command line with our web server's settings."""

    def action_start_server(self, args: Any) -> None:
        """Serve until stopped."""
        allow_open_files()
        self.start_server_validate_args(args)
        self.start_server_init_settings(args)
        upstreams = init_log_config(args.log_config, args.app, "app.log", args.verbose)
        uvicorn.run(
            args.uvicorn_app,
            host=args.host,
            port=args.port,
            log_config=logs.formatted(json.loads(Path(upstreams).read_text(encoding="utf-8")), LOG_FORMAT),
            # The gateway keeps its own, without tokens.
            access_log=False,
            server_header=False,
            proxy_headers=False,
            http=PatientProtocol,
            loop="label_server.web.connections:Loop",
            ws="none",
            # Longer than any client pauses between two questions, or its next one meets a connection that closes.
            timeout_keep_alive=30,
            h11_max_incomplete_event_size=2 * MAX_HEADER_BYTES,
            limit_concurrency=_MAX_CONNECTIONS,
            ssl_certfile=os.environ.get("TLS_CERT_FILE") or None,
            ssl_keyfile=os.environ.get("TLS_KEY_FILE") or None,
            ssl_ciphers=_CIPHERS,
        )


def allow_open_files() -> None:
    """Let this process have more files and connections open than some engines let it, if it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
