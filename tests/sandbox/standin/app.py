"""The stand-in as an ASGI application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from tests.sandbox.standin.answers import Dropped, Outcome
from tests.sandbox.standin.core import StandIn

SETTLE_SECONDS = 0.1


def create_app(standin: StandIn) -> Starlette:
    """Needs `server.Connection`: ASGI itself cannot close a connection without a response."""

    @asynccontextmanager
    async def settling(_: Starlette) -> AsyncIterator[None]:
        """Real keys are created when somebody settles, so attempts whose client is gone may not wait for a request."""
        task = asyncio.create_task(_settle_for_ever(standin))
        yield
        task.cancel()

    return Starlette(routes=[Route("/{path:path}", _Endpoint(standin))], lifespan=settling)


class _Endpoint:
    """Core calls run in threads, for they may reach out to IAM; the waiting does not."""

    def __init__(self, standin: StandIn) -> None:
        self._standin = standin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        reply: Outcome = Dropped()  # what a stop in the middle of a call leaves
        with suppress(asyncio.CancelledError):
            reply = await self._reply(request)
        if isinstance(reply, Dropped):
            await hang_up(request)
        else:
            await Response(reply.body, reply.status, dict(reply.headers))(scope, receive, send)

    async def _reply(self, request: Request) -> Outcome:
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        body = await request.body()
        call = await asyncio.to_thread(self._standin.begin, request.method, path, dict(request.headers), body)
        while isinstance(reply := await asyncio.to_thread(self._standin.poll, call), float):  # noqa: ASYNC110 - it says when
            await asyncio.sleep(reply)
        return reply


async def hang_up(request: Request) -> None:
    """Close the connection without a response; needs `server.Connection`.

    Return only once the server has noticed, or it would answer 500 for want of a response.
    """
    request.state.transport.close()
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _settle_for_ever(standin: StandIn) -> None:
    while True:
        await asyncio.to_thread(standin.settle)
        await asyncio.sleep(SETTLE_SECONDS)
