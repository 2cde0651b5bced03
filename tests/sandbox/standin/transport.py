"""A transport for httpx that calls the stand-in without a socket, in virtual time."""

import httpx

from tests.sandbox.standin.answers import Dropped
from tests.sandbox.standin.core import StandIn


class StandInTransport(httpx.BaseTransport):
    """Waiting moves the stand-in's clock: by the read time-out at most, then the server goes on alone."""

    def __init__(self, standin: StandIn) -> None:
        self._standin = standin

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        clock = self._standin.clock
        patience: float | None = request.extensions.get("timeout", {}).get("read")
        leaves_at = float("inf") if patience is None else clock.time() + patience
        path = request.url.raw_path.decode()
        headers = {name.decode(): value.decode() for name, value in request.headers.raw}
        call = self._standin.begin(request.method, path, headers, request.read())
        while isinstance(reply := self._standin.poll(call), float):
            wait = min(reply, leaves_at - clock.time())
            if wait <= 0:
                raise httpx.ReadTimeout("The read operation timed out", request=request)
            clock.sleep(wait)
        if isinstance(reply, Dropped):
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=request)
        return httpx.Response(reply.status, headers=dict(reply.headers), content=reply.body, request=request)
