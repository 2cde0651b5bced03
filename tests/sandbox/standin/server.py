"""The stand-in, or any other application that may hang up, on a socket of its own."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from tests.sandbox.standin.app import create_app
from tests.sandbox.standin.core import StandIn


class Connection(H11Protocol):
    """Hands its transport to the application, so that it can hang up."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in the base class
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}

    def shutdown(self) -> None:
        """Close idle connections at once: a farewell by TLS would outlast the server."""
        super().shutdown()
        if self.transport.is_closing():
            self.transport.abort()


class Server(uvicorn.Server):
    """Leaves no connection open: uvicorn forgets those that arrive in the moment when it stops to accept any."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop as uvicorn does, and still close every open connection."""
        await super().shutdown(sockets)
        loop: Any = asyncio.get_running_loop()
        for transport in list(loop._transports.values()):  # noqa: SLF001 - nothing else knows them all
            transport.abort()
        await asyncio.sleep(0)  # each transport closes its socket then


@contextmanager
def serve(standin: StandIn, certificate: Path | None = None) -> Iterator[str]:
    """Serve on 127.0.0.1 and a free port; yield the base URL. Whatever still runs at the end is cut off.

    With `certificate`, a PEM file that holds the private key too, serve https.
    """
    with serve_app(create_app(standin), "stand-in", certificate) as url:
        yield url


@contextmanager
def serve_app(app: Starlette, name: str, certificate: Path | None = None) -> Iterator[str]:
    """As `serve`; `name` is the thread's."""
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        ssl_certfile=certificate,
    )
    server = Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # asyncio sees to that only where a socket names its protocol; without it, every second answer takes 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host, port = listener.getsockname()
        thread = threading.Thread(target=server.run, args=([listener],), name=name)
        thread.start()
        try:
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            yield f"{'https' if certificate else 'http'}://{host}:{port}"
        finally:
            server.should_exit = True
            thread.join()
