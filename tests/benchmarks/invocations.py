"""Invoking a function in the emulator, with nothing of this side's own in the time that it takes."""

import http.client
import itertools
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.runtime.emulator import PROCESSES, Emulator, emulator, live_processes

_numbers = itertools.count()


@dataclass(frozen=True)
class Running:
    """A function in an emulator of its own. Its process is started by the first event."""

    emulator: Emulator

    def invoke(self, event: object) -> tuple[Any, float]:
        """Return the answer, and the seconds that it took.

        Raises RuntimeError where the function raised.
        """
        url = urlsplit(self.emulator.url)
        connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=self.emulator.timeout_seconds)
        body = json.dumps(event)
        connection.connect()
        started = time.perf_counter()
        connection.request("POST", url.path, body)
        content = connection.getresponse().read()
        seconds = time.perf_counter() - started
        connection.close()
        answer = json.loads(content)
        if isinstance(answer, dict) and "errorMessage" in answer:
            raise RuntimeError(f"{answer['errorMessage']}\n{self.emulator.log.read_text()[-2000:]}")
        return answer, seconds

    def peak_bytes(self) -> int:
        """The most memory that the function's process has ever had in use."""
        (function,) = live_processes(self.emulator.process.pid) - {self.emulator.process.pid}
        status = (PROCESSES / str(function) / "status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024

    def cpu_seconds(self) -> float:
        """The processor's time that the function's process has taken so far."""
        (function,) = live_processes(self.emulator.process.pid) - {self.emulator.process.pid}
        # After the name, which may hold anything: the 12th and 13th field are user and system time, in hundredths.
        fields = (PROCESSES / str(function) / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


@contextmanager
def running(task: Path, handler: str, environment: Mapping[str, str], folder: Path) -> Iterator[Running]:
    """Run a function for as long as the block lasts. `folder` is for what it prints."""
    logs = folder / f"logs-{next(_numbers)}"
    logs.mkdir()
    with emulator(task, handler, environment, logs, timeout_seconds=300) as started:
        yield Running(started)
