"""A reverse proxy on loopback, for what a deployed function talks to without knowing.

What it does on the way is a stack of httpx transports, the server at the bottom. Requests pass unchanged, with their
Host and Authorization headers, so that signatures stay good and IAM keeps judging.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tests.sandbox.standin.app import hang_up
from tests.sandbox.standin.server import serve_app

# What belongs to one connection, or is made anew for the other one.
OF_THE_CONNECTION = {"connection", "content-encoding", "content-length", "date", "keep-alive", "transfer-encoding"}


class Server(httpx.AsyncHTTPTransport):
    """The bottom of a stack: answers whole, and keeps no connections, for one may close just when it is used again."""

    def __init__(self) -> None:
        super().__init__(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        await response.aread()
        return response


class Layer(httpx.AsyncBaseTransport):
    """Something that happens on the way; by itself, nothing does."""

    def __init__(self, below: httpx.AsyncBaseTransport) -> None:
        self._below = below

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._below.handle_async_request(request)

    async def aclose(self) -> None:
        await self._below.aclose()


@contextmanager
def proxy(upstream: str, transport: httpx.AsyncBaseTransport) -> Iterator[str]:
    """Serve on 127.0.0.1 and a free port, as `upstream`, a base URL without a path; yield the base URL.

    A connection that the server closes without an answer is closed here too.
    """

    @asynccontextmanager
    async def closing(_: Starlette) -> AsyncIterator[None]:
        yield
        await transport.aclose()

    app = Starlette(routes=[Route("/{path:path}", _Endpoint(upstream, transport))], lifespan=closing)
    with serve_app(app, "proxy") as url:
        yield url


class _Endpoint:
    def __init__(self, upstream: str, transport: httpx.AsyncBaseTransport) -> None:
        self._upstream = httpx.URL(upstream)
        self._transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            answer = await self._transport.handle_async_request(await self._passed_on(request))
        except (httpx.TransportError, asyncio.CancelledError):  # the latter: a stop in the middle of a call
            await hang_up(request)
            return
        headers = {name: value for name, value in answer.headers.items() if name not in OF_THE_CONNECTION}
        await Response(answer.content, answer.status_code, headers)(scope, receive, send)

    async def _passed_on(self, request: Request) -> httpx.Request:
        query: bytes = request.scope["query_string"]
        path: bytes = request.scope["raw_path"] + (b"?" + query if query else b"")
        headers = [
            (name, value) for name, value in request.headers.raw if name not in {b"connection", b"transfer-encoding"}
        ]
        url = self._upstream.copy_with(raw_path=path)
        return httpx.Request(request.method, url, headers=headers, content=await request.body())
