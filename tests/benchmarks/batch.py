"""Ten rotations in one invocation beside one, where Infisical takes half a second for each; and what that saves."""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

from tests.benchmarks.artifacts import copied
from tests.benchmarks.figures import Figure
from tests.benchmarks.invocations import Running, running
from tests.benchmarks.rounds import Ratio, alternate
from tests.benchmarks.servers import Servers, servers, sqs_event
from tests.benchmarks.template import Built
from tests.sandbox.standin.attempts import Pace

HALF_A_SECOND = Pace(0, 0.5, 0)
BATCH = 10
BURST = 1000

AT_MOST_VS_ONE = 1.2
AT_LEAST_SAVED = 5


def measure(built: Built, folder: Path) -> Iterator[Figure]:
    """Invoke the function, warm, with one request and with ten in turns."""
    rotate = built.functions["RotateFunction"]
    with servers(folder, HALF_A_SECOND) as here:
        task = copied(rotate.task, folder / "task", bytecode=True, authority=here.authority)
        environment = here.environment() | rotate.environment(here.parameters)
        with running(task, rotate.handler, environment, folder) as function:
            sides = {count: partial(_batch, here, function, count) for count in (BATCH, 1)}
            taken = alternate({str(count): side for count, side in sides.items()})
            peak, printed = function.peak_bytes(), function.emulator.log.stat().st_size
        rotations = len(here.infisical.rotations)
    ten, one = taken[str(BATCH)], taken["1"]
    yield Figure.ratio("batch_of_ten_vs_one", "A batch of ten / of one", Ratio.of(ten, one), at_most=AT_MOST_VS_ONE)
    yield Figure.seconds("batch_of_ten_seconds", "… ten", ten)
    yield Figure.seconds("batch_of_one_seconds", "… one", one)
    yield Figure("batch_server_seconds", "… what Infisical takes", HALF_A_SECOND.provider_seconds, "s")
    # As Lambda bills: each invocation's duration in whole milliseconds. The memory is the same for both.
    alone, together = (
        sum(math.ceil(seconds * 1000) for _ in range(invocations)) / 1000
        for seconds, invocations in ((median(one), BURST), (median(ten), BURST // BATCH))
    )
    gigabytes = built.memory_gigabytes("RotateFunction")
    saved, burst = alone / together, together * gigabytes
    what = f"GB-seconds for a burst of {BURST:,}: one rotation an invocation / ours"
    yield Figure("gb_seconds_saved_vs_one_each", what, saved, at_least=AT_LEAST_SAVED)
    yield Figure("gb_seconds_of_a_burst", "… ours", burst, "GB-s")
    yield Figure("log_bytes_a_rotation", "What a rotation writes to its log", printed / rotations, "bytes")
    yield Figure("rotate_peak_bytes", "Peak memory of rotate, a batch of ten", peak, "MB")


def _batch(here: Servers, function: Running, count: int) -> float:
    rotations = [here.add_rotation() for _ in range(count)]
    before = [rotation.last_rotated_at for rotation in rotations]
    answer, seconds = function.invoke(sqs_event(rotations))
    after = [rotation.last_rotated_at for rotation in rotations]
    if answer != {"batchItemFailures": []} or any(old == new for old, new in zip(before, after, strict=True)):
        raise RuntimeError(f"not all were rotated: {answer}")
    return seconds
