"""Serve until the process is told to end."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from hashcli.errors import HashcliError, reason_of
from hashcli.serve.app import ServerOptions, create_app

_HEADER_SECONDS = 15  # in which a client has to send a request, up to its body
_IDLE_SECONDS = 60  # that a connection without a request is kept
_MOST_CONNECTIONS = 200
_QUEUE = 128


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that listens; with port 0, at any that is free. Raises HashcliError."""
    try:
        kind = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Only where the protocol is named does asyncio set TCP_NODELAY; without it, each answer waits for 40 ms.
        found = socket.socket(kind, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(_QUEUE)
    except (OSError, OverflowError) as error:
        reason = reason_of(error)
        raise HashcliError(
            f"The server cannot listen at {host}, port {port}: {reason}.", "Choose another port, or 0 for any."
        ) from error
    return found


def serve(options: ServerOptions, listening: socket.socket, on_start: Callable[[], object]) -> None:
    """Serve until SIGINT or SIGTERM; `on_start` is called once requests are answered."""
    Server(options, on_start).run([listening])


class Server(uvicorn.Server):
    """What `serve` runs; with `should_exit` set, it ends."""

    def __init__(self, options: ServerOptions, on_start: Callable[[], object]) -> None:
        config = uvicorn.Config(
            create_app(options),
            http=_TimedProtocol,
            loop="asyncio",
            log_level="error",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=2,
            limit_concurrency=_MOST_CONNECTIONS,
        )
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()


class _TimedProtocol(H11Protocol):
    """Closes connections on which a request does not arrive in time: uvicorn would wait for ever."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait_for_request()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and not (self.cycle and not self.cycle.response_complete):
            self._wait_for_request()  # only a part of its header is there
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_request(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(_HEADER_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
