"""Virtual time and its threads: whoever is due is next, and a process ends with all that it does."""

from concurrent.futures import ThreadPoolExecutor
from threading import Lock

import pytest

from tests.simulation.turns import Killed, Process, Turns


def test_tasks_take_turns_in_the_order_in_which_they_wake() -> None:
    turns, woken = Turns(0), list[tuple[float, str]]()

    def wake(name: str, *pauses: float) -> None:
        for pause in pauses:
            turns.sleep(pause)
            woken.append((turns.now, name))

    turns.start(Process("a"), lambda: wake("a", 1, 5))
    turns.start(Process("b"), lambda: wake("b", 2, 1))
    turns.later(4, lambda: woken.append((turns.now, "action")))
    turns.run(100)

    assert woken == [(1, "a"), (2, "b"), (3, "b"), (4, "action"), (6, "a")]
    assert turns.now == 100


def test_a_thread_that_a_task_waits_for_goes_on_with_its_turn() -> None:
    turns, woken = Turns(0), list[float]()

    def wake() -> None:
        turns.sleep(3)
        woken.append(turns.now)

    def work() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(wake).result()
        turns.sleep(1)
        woken.append(turns.now)

    turns.start(Process("a"), work)
    turns.run(10)

    assert woken == [3, 4]


def test_all_tasks_of_a_process_end_when_it_dies() -> None:
    turns, process, ends = Turns(0), Process("a"), list[tuple[float, str]]()
    process.dies_at = 5

    def work(name: str, pause: float) -> None:
        try:
            while True:
                turns.sleep(pause)
        except Killed:
            ends.append((turns.now, name))
            with pytest.raises(Killed):  # whatever it does on its way out
                turns.sleep(0)
            raise

    turns.start(process, lambda: work("in small steps", 1))
    turns.start(process, lambda: work("in one", 90))
    turns.run(100)

    assert ends == [(5, "in one"), (5, "in small steps")]


def test_nobody_of_a_process_runs_beside_a_task_that_is_alone() -> None:
    turns, process, lock, done = Turns(0), Process("a"), Lock(), list[tuple[float, str]]()

    def log_in(name: str) -> None:
        turns.sleep(1)
        with lock, turns.alone():
            turns.sleep(10)
        done.append((turns.now, name))

    def other() -> None:
        turns.sleep(5)
        done.append((turns.now, "other"))

    turns.start(process, lambda: log_in("first"))
    turns.start(process, lambda: log_in("second"))
    turns.start(Process("other"), other)
    turns.run(100)

    assert done == [(5, "other"), (11, "first"), (21, "second")]


def test_what_waits_when_all_is_over_is_ended() -> None:
    turns, ends = Turns(0), list[str]()

    def work() -> None:
        try:
            turns.sleep(1000)
        finally:
            ends.append("ended")

    turns.start(Process("a"), work)
    turns.run(10)
    turns.close()

    assert ends == ["ended"]


@pytest.mark.parametrize("is_task", [True, False])
def test_an_error_of_the_model_ends_the_run(is_task: bool) -> None:  # noqa: FBT001 - a case
    turns = Turns(0)

    def wrong() -> None:
        raise RuntimeError("of the model")

    if is_task:
        turns.start(Process("a"), wrong)
    else:
        turns.later(0, wrong)

    with pytest.raises(RuntimeError, match="of the model"):
        turns.run(10)
