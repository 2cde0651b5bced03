"""A Lambda function, run from its artifact by AWS's own emulator of the runtime, for as long as a `with` block lasts.

The function's interpreter holds what Lambda brings and nothing else. Nothing of the caller's environment reaches it.
"""

import json
import os
import platform
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import samcli

from tests.sandbox.embedded_aws import ROOT

PYTHON = ROOT / ".venv-lambda" / "bin" / "python"
ARCHITECTURE = "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"
EMULATOR = Path(samcli.__file__).parent / "local" / "rapid" / f"aws-lambda-rie-{ARCHITECTURE}"
PROCESSES = Path("/proc")

# Lambda's runtime sets it, and awslambdaric takes it for leave to write UTF-8 as it does there.
EXECUTION_ENVIRONMENT = "AWS_Lambda_python3.13"

LOOPBACK = "127.0.0.1"
START_SECONDS = 10
GRACE_SECONDS = 30  # the emulator itself ends what takes longer than the function's time-out

# What Lambda writes into the function's log around an invocation.
OF_LAMBDA = ("START RequestId:", "END RequestId:", "REPORT RequestId:")
INIT = re.compile(r"INIT REPORT\(durationMs: (?P<milliseconds>[\d.]+)\)")


@dataclass(frozen=True)
class Invocation:
    """What came of an event. `text` is the answer's body; `printed` are the lines that the function wrote meanwhile.

    `init_seconds` is None where the function's process was there already. Where it was not, it was started for this
    invocation, and `seconds` is everything from then to the answer: a cold start.
    """

    text: str
    printed: list[str]
    seconds: float
    init_seconds: float | None

    @property
    def answer(self) -> Any:  # noqa: ANN401 - JSON
        """What the function returned, or the error that its caller is told."""
        return json.loads(self.text)

    @property
    def error(self) -> str | None:
        """The errorMessage; None where the function returned."""
        answer = self.answer
        return str(answer["errorMessage"]) if isinstance(answer, dict) and "errorType" in answer else None

    @property
    def records(self) -> list[dict[str, Any]]:
        """The JSON lines among the printed ones."""
        return [json.loads(line) for line in self.printed if line.startswith("{")]


@dataclass(frozen=True)
class Emulator:
    """Takes one event at a time: the second of two that overlap would crash it.

    The function's process is started by the first event, and anew by the first one after its end.
    """

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    platform_log: Path
    timeout_seconds: int

    def invoke(self, event: object) -> Invocation:
        """Hand the function an event, and wait for its end, whatever that is."""
        printed, platform_printed = self.log.stat().st_size, self.platform_log.stat().st_size
        started = time.perf_counter()
        patience = self.timeout_seconds + GRACE_SECONDS
        response = httpx.post(self.url, content=json.dumps(event), timeout=patience, trust_env=False)
        seconds = time.perf_counter() - started
        # A traceback is one line of a log: its own line ends are others.
        lines = _from(self.log, printed).rstrip("\n").split("\n")
        init = INIT.search(_from(self.platform_log, platform_printed))
        return Invocation(
            response.text,
            [line for line in lines if line and not line.startswith(OF_LAMBDA)],
            seconds,
            float(init["milliseconds"]) / 1000 if init else None,
        )

    def kill_function(self) -> None:
        """Kill the function's process, as a crash would. Whoever waits for its answer is told of its exit."""
        for process in live_processes(self.process.pid) - {self.process.pid}:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def stop(self) -> None:
        """End the emulator, and whatever it may have left running."""
        self.process.terminate()
        try:
            self.process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        while live_processes(self.process.pid):
            self.kill_function()
            time.sleep(0.01)


@contextmanager
def emulator(
    task: Path, handler: str, environment: Mapping[str, str], logs: Path, timeout_seconds: int = 60
) -> Iterator[Emulator]:
    """Start an emulator for the function in the folder `task`, and stop it, and the function, afterwards.

    `logs` is an empty folder, for what the function and the emulator print. The function's working directory is `task`,
    as in Lambda, but it can be written to: with PYTHONDONTWRITEBYTECODE in `environment` it stays as it is.
    """
    port, runtime_port = _free_ports()
    log, platform_log = logs / "function.txt", logs / "platform.txt"
    with log.open("wb") as function_output, platform_log.open("wb") as platform_output:
        process = subprocess.Popen(
            [
                EMULATOR,
                *("--runtime-interface-emulator-address", f"{LOOPBACK}:{port}"),
                *("--runtime-api-address", f"{LOOPBACK}:{runtime_port}"),
                *(PYTHON, "-m", "awslambdaric", handler),
            ],
            cwd=task,
            env={
                "PATH": os.defpath,
                "LAMBDA_TASK_ROOT": str(task),
                "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_seconds),
                "AWS_EXECUTION_ENV": EXECUTION_ENVIRONMENT,
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=function_output,
            stderr=platform_output,
            start_new_session=True,
        )
    url = f"http://{LOOPBACK}:{port}/2015-03-31/functions/function/invocations"
    running = Emulator(url, process, log, platform_log, timeout_seconds)
    try:
        _wait_until_it_listens(running, port)
        yield running
    finally:
        running.stop()


def live_processes(session: int) -> set[int]:
    """Every process of a session that has not ended, whether or not somebody has taken note of its end."""
    found = set()
    for stat in PROCESSES.glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended just now
            state, _, _, of = stat.read_text().rpartition(")")[2].split()[:4]
            if int(of) == session and state != "Z":
                found.add(int(stat.parent.name))
    return found


def _wait_until_it_listens(running: Emulator, port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and running.process.poll() is None:
        try:
            socket.create_connection((LOOPBACK, port)).close()
        except ConnectionRefusedError:
            time.sleep(0.01)
        else:
            return
    raise RuntimeError(f"the emulator did not start:\n{running.platform_log.read_text()[-2000:]}")


def _from(path: Path, offset: int) -> str:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read().decode()


def _free_ports() -> tuple[int, int]:
    with socket.create_server((LOOPBACK, 0)) as one, socket.create_server((LOOPBACK, 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]
