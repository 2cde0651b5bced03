"""Whatever is connected to a server of the sandbox when it stops is cut off."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.sandbox.standin.server import serve_app

# Longer than a server takes to look whether it has to stop: 0.1 s.
BUSY_SECONDS = 0.3


def test_a_connection_that_arrives_while_the_server_stops_is_closed() -> None:
    is_busy = threading.Event()

    async def keep_busy(_: Request) -> Response:
        is_busy.set()
        time.sleep(BUSY_SECONDS)  # noqa: ASYNC251 - it shall accept nobody for so long
        return Response()

    app = Starlette(routes=[Route("/", keep_busy)])
    with ThreadPoolExecutor(1) as pool, socket.socket() as late:
        with serve_app(app, "busy") as url:
            answer = pool.submit(httpx.get, url, trust_env=False)
            is_busy.wait()
            late.settimeout(10)
            late.connect(("127.0.0.1", httpx.URL(url).port))

        assert late.recv(1) == b""
        assert answer.result().is_success
