"""From the start of a function's process to the end of its first rotation, the servers' own time taken off."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.benchmarks.artifacts import OF_BOTO3_REQUESTS, OF_HTTPX_POWERTOOLS, copied, peer
from tests.benchmarks.figures import Figure
from tests.benchmarks.invocations import running
from tests.benchmarks.rounds import Ratio, alternate
from tests.benchmarks.servers import Servers, servers, sqs_event
from tests.benchmarks.template import Built
from tests.runtime.functions import Function

ROUNDS = 9

# What a first rotation takes, whoever does it.
CALLS = Counter({"login": 1, "read": 1, "aws": 2, "rotate": 1})

OURS, IMPORTS, PLAIN = "ours", "imports", "plain"
PEERS = {IMPORTS: ("httpx_powertools", OF_HTTPX_POWERTOOLS), PLAIN: ("boto3_requests", OF_BOTO3_REQUESTS)}
CALLED = {IMPORTS: "httpx and Powertools", PLAIN: "boto3 and requests"}
AT_MOST = {IMPORTS: 1.25, PLAIN: 1.0}
BYTECODE = {"": "with bytecode", "_without_bytecode": "without bytecode"}


def measure(built: Built, folder: Path) -> Iterator[Figure]:
    """Start ours and both peers in turns, all with bytecode and all without."""
    with servers(folder) as here:
        starts = Starts(here, folder)
        sides = _sides(built.functions["RotateFunction"], here, folder)
        ways = {name: partial(starts.first_rotation, name, side) for name, side in sides.items()}
        seconds = alternate(ways, ROUNDS)
    for suffix in BYTECODE:
        yield from _figures(suffix, "", "First rotation", seconds)
        for name in (OURS, IMPORTS, PLAIN):
            yield Figure.seconds(f"first_rotation_seconds_{name}{suffix}", f"… {name}", seconds[name + suffix])
        # The first round counts for nothing.
        yield from _figures(suffix, "_cpu", "… processor's time", {name: all_[1:] for name, all_ in starts.cpu.items()})


def _figures(suffix: str, kind: str, what: str, taken: Mapping[str, Sequence[float]]) -> Iterator[Figure]:
    for name in PEERS:
        yield Figure.ratio(
            f"first_rotation{kind}_vs_{name}{suffix}",
            f"{what}, {BYTECODE[suffix]}: ours / {CALLED[name]}",
            Ratio.of(taken[OURS + suffix], taken[name + suffix]),
            at_most=None if kind else AT_MOST[name],
        )


@dataclass(frozen=True)
class Side:
    """A function that rotates."""

    task: Path
    handler: str
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Starts:
    """`cpu` is the processor's time that each side's process took, in seconds, in each round."""

    here: Servers
    folder: Path
    cpu: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def first_rotation(self, name: str, side: Side) -> float:
        """Start a side, and make sure that it has made the calls of a rotation, and no others."""
        rotation, watch = self.here.add_rotation(), self.here.watch
        before = rotation.last_rotated_at
        with running(side.task, side.handler, side.environment, self.folder) as function:
            watch.reset()
            answer, seconds = function.invoke(sqs_event([rotation]))
            self.cpu[name].append(function.cpu_seconds())
        if answer != {"batchItemFailures": []} or rotation.last_rotated_at == before or watch.requests != CALLS:
            raise RuntimeError(f"{name} did something else: {answer}, {watch.requests}")
        return seconds - watch.seconds


def _sides(rotate: Function, here: Servers, folder: Path) -> dict[str, Side]:
    environment = here.environment() | rotate.environment(here.parameters)
    packed = {OURS: (rotate.task, rotate.handler)}
    for name, (module, requirements) in PEERS.items():
        packed[name] = (peer(folder / name, module, requirements), f"{module}.handler")
    sides = {}
    for suffix in BYTECODE:
        for name, (task, handler) in packed.items():
            to = copied(task, folder / f"{name}-task{suffix}", bytecode=not suffix, authority=here.authority)
            sides[name + suffix] = Side(to, handler, environment)
    return sides
