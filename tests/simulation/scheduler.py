"""The scheduler: virtual time for real threads. One runs until it waits for something; all others stand still.

The task that is due first runs next. So a run is the same each time, however many threads it has, and idle days cost
nothing. A turn belongs to a task, not to a thread: where the program starts a thread and waits for it, as a pool of one
does, that thread goes on with the same turn.
"""

import heapq
import itertools
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn


class Killed(BaseException):
    """The process ends here, whatever it was about to do."""


class Process:
    """Tasks that end together at `dies_at`, whatever they wait for. `reaped`: their end was reported.

    Between invocations it is frozen. Each of its `thaws` is where one of its pooled connections may have died, and how
    that shows (None: it has not). Its monotonic clock starts at `booted_at` and has stood still for `lost_seconds`.
    """

    def __init__(self, name: str, booted_at: float = 0.0) -> None:
        self.name = name
        self.booted_at = booted_at
        self.frozen_at = booted_at
        self.lost_seconds = 0.0
        self.thaws: list[str | None] = []
        self.dies_at = math.inf
        self.dead = False
        self.reaped = False
        self.alone: Task | None = None
        self.waiting: list[Task] = []


class Task:
    def __init__(self, process: Process, work: Callable[[], None]) -> None:
        self.process = process
        self.work = work
        self.turn = threading.Lock()
        self.turn.acquire()
        self.started = False


class Scheduler:
    def __init__(self, now: float) -> None:
        self.now = now
        self._due: list[tuple[float, int, Task | Callable[[], None]]] = []
        self._order = itertools.count()
        self._main = Task(Process("-"), lambda: None)
        self._main.started = True
        self._broken: Exception | None = None
        self.current = self._main

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Have something done that does not wait itself."""
        self._add(self.now + seconds, action)

    def start(self, process: Process, work: Callable[[], None], seconds: float = 0) -> Task:
        task = Task(process, work)
        self._add(self.now + seconds, task)
        return task

    def sleep(self, seconds: float) -> None:
        """Let others take their turns. Raises Killed where the process does not live to see the end of it."""
        task, process = self.current, self.current.process
        if not process.dead:
            self._add(min(self.now + max(0.0, seconds), max(self.now, process.dies_at)), task)
            self._pass_on(task)
        if process.dead or self.now >= process.dies_at:
            process.dead = True
            raise Killed

    def monotonic(self, process: Process) -> float:
        """What a process's monotonic clock shows."""
        return self.now - process.booted_at - process.lost_seconds

    def die(self) -> NoReturn:
        """End the process of this task here and now."""
        process = self.current.process
        process.dead = True
        process.dies_at = min(process.dies_at, self.now)
        raise Killed

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep the other tasks of this process from running: one that waits for a lock would keep its turn for ever."""
        process = self.current.process
        process.alone = self.current
        try:
            yield
        finally:
            process.alone = None
            for task in process.waiting:
                self._add(self.now, task)
            process.waiting.clear()

    def run(self, until: float) -> None:
        """Let everything happen that is due until then. Raises what any task or action raised."""
        self._add(until, self._main)
        self._pass_on(self._main)
        if self._broken:
            raise self._broken

    def fail(self, error: Exception) -> None:
        """End the run with this error; it is the model's own."""
        self._broken = self._broken or error
        self._add(-math.inf, self._main)

    def close(self) -> None:
        """End every task that still waits."""
        while self._due:
            _, _, due = heapq.heappop(self._due)
            if isinstance(due, Task) and due is not self._main:
                due.process.dead = True
                if due.started:
                    self._add(-math.inf, self._main)
                    self._give(due)
                    self._main.turn.acquire()

    def _add(self, moment: float, due: Task | Callable[[], None]) -> None:
        heapq.heappush(self._due, (moment, next(self._order), due))

    def _pass_on(self, task: Task | None) -> None:
        """Let the next task have the turn, and wait until `task` has it again."""
        while True:
            moment, _, due = heapq.heappop(self._due)
            self.now = max(self.now, moment)
            if not isinstance(due, Task):
                self.current = self._main
                try:
                    due()
                except Exception as error:  # noqa: BLE001 - it is `run` that raises it, not the task that waits here
                    self.fail(error)
            elif due.process.alone not in (None, due):
                due.process.waiting.append(due)
            elif due is task:
                self.current = due
                return
            else:
                self._give(due)
                if task is not None:
                    task.turn.acquire()
                return

    def _give(self, task: Task) -> None:
        self.current = task
        if task.started:
            task.turn.release()
        else:
            task.started = True
            threading.Thread(target=self._work, args=[task], daemon=True).start()

    def _work(self, task: Task) -> None:
        try:
            task.work()
        except Killed:
            pass
        except Exception as error:  # noqa: BLE001 - it is `run` that raises it
            self.fail(error)
        self._pass_on(None)
