"""Virtual time and its threads: the task that is due first runs next, and a process ends with all that it does."""

from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import pytest

from tests.simulation.scheduler import Killed, Process, Scheduler


def test_tasks_take_turns_in_the_order_in_which_they_wake() -> None:
    scheduler, woken = Scheduler(0), list[tuple[float, str]]()

    def wake(name: str, *pauses: float) -> None:
        for pause in pauses:
            scheduler.sleep(pause)
            woken.append((scheduler.now, name))

    scheduler.start(Process("a"), lambda: wake("a", 1, 5))
    scheduler.start(Process("b"), lambda: wake("b", 2, 1))
    scheduler.later(4, lambda: woken.append((scheduler.now, "action")))
    scheduler.run(100)

    assert woken == [(1, "a"), (2, "b"), (3, "b"), (4, "action"), (6, "a")]
    assert scheduler.now == 100


def test_a_thread_that_a_task_waits_for_runs_in_its_turn() -> None:
    scheduler, woken = Scheduler(0), list[float]()

    def wake() -> None:
        scheduler.sleep(3)
        woken.append(scheduler.now)

    def work() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(wake).result()
        scheduler.sleep(1)
        woken.append(scheduler.now)

    scheduler.start(Process("a"), work)
    scheduler.run(10)

    assert woken == [3, 4]


def test_all_tasks_of_a_process_end_when_it_dies() -> None:
    scheduler, process, ends = Scheduler(0), Process("a"), list[tuple[float, str]]()
    process.dies_at = 5

    def work(name: str, pause: float) -> None:
        try:
            while True:
                scheduler.sleep(pause)
        except Killed:
            ends.append((scheduler.now, name))
            with pytest.raises(Killed):  # whatever it does on its way out
                scheduler.sleep(0)
            raise

    scheduler.start(process, lambda: work("in small steps", 1))
    scheduler.start(process, lambda: work("in one", 90))
    scheduler.run(100)

    assert ends == [(5, "in one"), (5, "in small steps")]


def test_no_task_of_a_process_runs_beside_one_that_is_alone() -> None:
    scheduler, process, lock, done = Scheduler(0), Process("a"), Lock(), list[tuple[float, str]]()

    def log_in(name: str) -> None:
        scheduler.sleep(1)
        with lock, scheduler.alone():
            scheduler.sleep(10)
        done.append((scheduler.now, name))

    def other() -> None:
        scheduler.sleep(5)
        done.append((scheduler.now, "other"))

    scheduler.start(process, lambda: log_in("first"))
    scheduler.start(process, lambda: log_in("second"))
    scheduler.start(Process("other"), other)
    scheduler.run(100)

    assert done == [(5, "other"), (11, "first"), (21, "second")]


def test_a_task_that_still_waits_at_the_end_is_ended() -> None:
    scheduler, ends = Scheduler(0), list[str]()

    def work() -> None:
        try:
            scheduler.sleep(1000)
        finally:
            ends.append("ended")

    scheduler.start(Process("a"), work)
    scheduler.run(10)
    scheduler.close()

    assert ends == ["ended"]


@pytest.mark.parametrize("is_task", [True, False])
def test_an_error_of_the_model_ends_the_run(is_task: bool) -> None:  # noqa: FBT001 - a case
    scheduler = Scheduler(0)

    def wrong() -> None:
        raise RuntimeError("of the model")

    if is_task:
        scheduler.start(Process("a"), wrong)
    else:
        scheduler.later(0, wrong)

    with pytest.raises(RuntimeError, match="of the model"):
        scheduler.run(10)
