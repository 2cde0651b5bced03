"""What the other tests here rely on: the function is alone with what Lambda brings, and ends with its emulator."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.emulator import Emulator, emulator, live_processes

PROBE = """
import importlib.util, os, sys, time

def handler(event, context):
    if event == "sleep":
        time.sleep(60)
    found = [name for name in event if importlib.util.find_spec(name)]
    return {"found": found, "environment": sorted(os.environ), "path": sys.path, "process": os.getpid()}
"""

pytestmark = pytest.mark.usefixtures("linux")


@pytest.fixture
def task(tmp_path: Path) -> Path:
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "probe.py").write_text(PROBE)
    return folder


@pytest.fixture
def probe(task: Path, tmp_path: Path) -> Iterator[Emulator]:
    with emulator(task, "probe.handler", {"GIVEN": "1"}, tmp_path, timeout_seconds=1) as running:
        yield running


def test_a_function_finds_what_lambda_brings_and_nothing_of_this_environment(probe: Emulator, task: Path) -> None:
    brought, ours = (
        ["boto3", "awslambdaric"],
        ["tests", "rotator", "httpx", "aws_lambda_powertools", "pytest", "samcli"],
    )

    answer = probe.invoke(brought + ours).answer

    assert answer["found"] == brought
    assert answer["path"][0] == str(task)
    assert "GIVEN" in answer["environment"]
    assert {"PYTHONPATH", "HOME", "VIRTUAL_ENV"} & set(answer["environment"]) == set()


def test_only_the_first_event_of_a_process_starts_it(probe: Emulator) -> None:
    first, second = probe.invoke([]), probe.invoke([])

    assert first.answer["process"] == second.answer["process"]
    assert first.init_seconds is not None
    assert second.init_seconds is None


def test_the_first_event_after_a_time_out_starts_a_new_process(probe: Emulator) -> None:
    before = probe.invoke([]).answer["process"]

    assert "timed out after 1.00 seconds" in probe.invoke("sleep").text
    assert probe.invoke([]).answer["process"] != before


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_function_ends_with_its_emulator(task: Path, tmp_path: Path, end: signal.Signals) -> None:
    with emulator(task, "probe.handler", {}, tmp_path) as running:
        function = running.invoke([]).answer["process"]
        assert live_processes(running.process.pid) == {running.process.pid, function}
        running.process.send_signal(end)

    assert live_processes(running.process.pid) == set()
