"""Many schedules on every core: a process each, which stays on its core."""

import gc
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.queues import Queue

from tests.simulation.schedule import Result, run

SCHEDULES_A_TASK = 20
ALLOCATIONS_A_COLLECTION = 100_000


def run_all(seeds: Sequence[int]) -> Iterator[Result]:
    """Run these schedules, in order; a few of them in this process."""
    if len(seeds) <= SCHEDULES_A_TASK:
        yield from map(run, seeds)
        return
    context = get_context("spawn")
    cores: Queue[int] = context.Queue()
    numbers = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    for number in numbers:
        cores.put(number)
    with ProcessPoolExecutor(len(numbers), context, initializer=_settle, initargs=(cores,)) as pool:
        yield from pool.map(run, seeds, chunksize=SCHEDULES_A_TASK)


def _settle(cores: "Queue[int]") -> None:
    """Stay on one core, where it costs less to hand a turn from thread to thread. Collect garbage rarely."""
    core = cores.get()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [core])
    gc.set_threshold(ALLOCATIONS_A_COLLECTION)
