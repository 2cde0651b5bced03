"""One trigger that stands for thousands of rotations: what the function `dispatch` takes for it, and how that grows.

Triggers are rare, so each time is that of a cold start.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from uuid import UUID, uuid5

from tests.benchmarks.artifacts import copied
from tests.benchmarks.figures import Figure
from tests.benchmarks.invocations import running
from tests.benchmarks.rounds import Ratio, alternate
from tests.benchmarks.servers import Servers, servers
from tests.benchmarks.template import Built
from tests.runtime.functions import Function

SIZES = (100, 1000, 10_000)
LARGEST = 50_000  # started once
MESSAGES_A_CALL = 10
SQS_SECONDS = 0.015  # to accept a batch, the way there and back included

PROJECTS = UUID("0f2f1f5e-3a52-4a5e-9b35-6f1f2f0f00ff")

AT_MOST = SIZES[-1] / SIZES[-2]  # as the number of rotations
AT_MOST_OF_TIMEOUT_PERCENT, AT_MOST_OF_MEMORY_PERCENT = 25, 50


def measure(built: Built, folder: Path) -> Iterator[Figure]:
    """Start the function for each size in turns."""
    dispatch = built.functions["DispatchFunction"]
    with servers(folder, sqs_seconds=SQS_SECONDS) as here:
        for size in (*SIZES, LARGEST):
            for _ in range(size):
                here.add_rotation(_project(size))
        triggers = {str(size): {"project": _project(size)} for size in (*SIZES, LARGEST)}
        here.aws.rotation_map = json.dumps({"triggers": triggers})
        task = copied(dispatch.task, folder / "task", bytecode=True, authority=here.authority)
        environment = here.environment() | dispatch.environment(here.parameters)
        trial = Trial(here, dispatch, task, environment, folder)
        taken = alternate({str(size): partial(trial.dispatch, size) for size in SIZES})
        most_seconds = trial.dispatch(LARGEST)
        at_once = here.aws.at_most_at_once
    seconds = {size: taken[str(size)] for size in SIZES}
    # The first round counts for nothing.
    peaks = {size: trial.peaks[size][1:] for size in SIZES}
    few, small, large = SIZES
    yield Figure.ratio(
        "dispatch_time_10k_vs_1k",
        f"Dispatch of {large:,} rotations / of {small:,}: time, from a cold start",
        Ratio.of(seconds[large], seconds[small]),
        at_most=AT_MOST,
    )
    yield Figure.ratio(
        "dispatch_memory_10k_vs_1k",
        f"Dispatch of {large:,} rotations / of {small:,}: peak memory of the process",
        Ratio.of(peaks[large], peaks[small]),
        at_most=AT_MOST,
    )
    for size in SIZES:
        yield Figure.seconds(f"dispatch_seconds_{size}", f"… {size:,} rotations", seconds[size])
        yield Figure.seconds(f"dispatch_peak_bytes_{size}", "… its peak memory", peaks[size], "MB")
    grown = (median(peaks[large]) - median(peaks[few])) / (large - few)
    yield Figure("dispatch_bytes_a_rotation", "… memory that each further rotation takes", grown, "bytes")
    yield from shares(built, "DispatchFunction", LARGEST, most_seconds, trial.peaks[LARGEST][0])
    yield Figure("dispatch_sends_at_once", "… batches on their way to SQS at the same time, at most", at_once, "")


def shares(built: Built, function: str, rotations: int, seconds: float, peak_bytes: float) -> Iterator[Figure]:
    """Say how much of its time-out and of its memory a function needs for so many rotations."""
    name = function.removesuffix("Function")
    what = f"{name} of {rotations:,} rotations, from a cold start: of the function's"
    timeout_percent = seconds / built.functions[function].timeout_seconds * 100
    memory_percent = peak_bytes / (built.memory_gigabytes(function) * 1024**3) * 100
    limits = {
        "time-out": (timeout_percent, AT_MOST_OF_TIMEOUT_PERCENT),
        "memory": (memory_percent, AT_MOST_OF_MEMORY_PERCENT),
    }
    for limit, (percent, at_most) in limits.items():
        key = f"{name.lower()}_share_of_{limit.replace('-', '')}"
        yield Figure(key, f"{what} {limit}", percent, "%", at_most=at_most)


@dataclass(frozen=True)
class Trial:
    """What a start of the function needs. `peaks` are the most memory that it used, for each size."""

    here: Servers
    function: Function
    task: Path
    environment: Mapping[str, str]
    folder: Path
    peaks: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))

    def dispatch(self, size: int) -> float:
        """Start the function with one trigger, and make sure that it has sent each request."""
        watch, aws = self.here.watch, self.here.aws
        watch.reset()
        aws.calls.clear()
        before = aws.messages
        with running(self.task, self.function.handler, self.environment, self.folder) as started:
            answer, seconds = started.invoke({"trigger": str(size)})
            self.peaks[size].append(started.peak_bytes())
        sent, batches = aws.messages - before, aws.calls["SendMessageBatch"]
        expected = (size, size, size // MESSAGES_A_CALL, 1)
        if (answer["requests"], sent, batches, watch.requests["read"]) != expected:
            raise RuntimeError(f"{sent} messages in {batches} batches, {watch.requests}")
        return seconds


def _project(size: int) -> str:
    return str(uuid5(PROJECTS, str(size)))
