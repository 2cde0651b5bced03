"""Server-side work that goes on whether or not its client is still there."""

import heapq
import itertools
import math
from collections.abc import Generator

from tests.sandbox.standin.answers import Dropped, Outcome

# A process yields the seconds that it waits, is sent the moment at which it goes on, and returns what its client gets.
Process = Generator[float, float, Outcome]


class Task:
    def __init__(self, process: Process) -> None:
        self._process = process
        self.wakes_at = 0.0
        self.ended_at = math.inf
        self.outcome: Outcome = Dropped()

    def start(self, at: float) -> None:
        self._advance(None, at)

    def resume(self) -> None:
        self._advance(self.wakes_at, self.wakes_at)

    def _advance(self, sent: float | None, at: float) -> None:
        try:
            wait = next(self._process) if sent is None else self._process.send(sent)
        except StopIteration as end:
            self.ended_at, self.outcome = at, end.value
        else:
            self.wakes_at = at + wait


class Timeline:
    """Runs every process's next step at its own moment, in order, however late somebody settles."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Task]] = []
        self._order = itertools.count()

    def start(self, process: Process, at: float) -> Task:
        task = Task(process)
        task.start(at)
        self._keep(task)
        return task

    def settle(self, now: float) -> None:
        while self._waiting and self._waiting[0][0] <= now:
            _, _, task = heapq.heappop(self._waiting)
            task.resume()
            self._keep(task)

    def _keep(self, task: Task) -> None:
        if math.isinf(task.ended_at):
            heapq.heappush(self._waiting, (task.wakes_at, next(self._order), task))
