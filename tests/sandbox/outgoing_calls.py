"""What a deployed function calls, and its sudden end at one of these calls."""

import os
import re
import signal
import threading
from contextlib import suppress
from pathlib import Path

import httpx

from tests.sandbox.aws_calls import operation
from tests.sandbox.embedded_aws import EmbeddedAws
from tests.sandbox.proxy import Layer

PROCESSES = Path("/proc")


class OutgoingCalls:
    """The calls of one function, in order, over whichever proxies they pass."""

    def __init__(self, aws: EmbeddedAws, function_name: str) -> None:
        self._aws = aws
        self._function_name = function_name
        self._mutex = threading.Lock()
        self._names: list[str] = []
        self._crash_at: int | None = None

    def through(self, below: httpx.AsyncBaseTransport) -> Layer:
        """Return the layer that counts what passes it."""
        return _Counting(below, self)

    def take(self) -> list[str]:
        """Return the calls since the last time, as `secretsmanager:GetSecretValue` or `GET /path`, and forget them."""
        with self._mutex:
            names, self._names = self._names, []
            return names

    def crash_after(self, number: int) -> None:
        """Kill the function once the server has executed the call of this number, counted from now, beginning with 1.

        The function does not see the answer. It happens once; whoever invoked the function gets an error.
        """
        self.take()
        self._crash_at = number

    def disarm(self) -> bool:
        """Let nothing crash any more; return whether it was still to come."""
        with self._mutex:
            pending, self._crash_at = self._crash_at is not None, None
            return pending

    def begun(self, name: str) -> int:
        """Note a call; return its number."""
        with self._mutex:
            self._names.append(name)
            return len(self._names)

    def executed(self, number: int) -> None:
        with self._mutex:
            if number != self._crash_at:
                return
            self._crash_at = None
        kill_function(self._aws, self._function_name)


class _Counting(Layer):
    def __init__(self, below: httpx.AsyncBaseTransport, calls: OutgoingCalls) -> None:
        super().__init__(below)
        self._calls = calls

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        number = self._calls.begun(operation(request))
        try:
            return await super().handle_async_request(request)
        finally:  # a lost answer does not make the call undone
            self._calls.executed(number)


def kill_function(aws: EmbeddedAws, function_name: str) -> None:
    """Kill every process that runs this function for this AWS."""
    runs_it = re.compile(rf"{re.escape(str(aws.log.parent))}/ministack-lambda-{re.escape(function_name)}-[^-/]+/code")
    for process in PROCESSES.glob("[0-9]*"):
        with suppress(OSError):  # it is gone, or somebody else's
            if runs_it.fullmatch(str((process / "cwd").readlink())):
                os.kill(int(process.name), signal.SIGKILL)
