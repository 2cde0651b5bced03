"""From the start of a function's process to the end of its first rotation, the servers' own time taken off."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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

OURS, WITH_EVENT, IMPORTS, PLAIN = "ours", "with_event", "imports", "plain"
PEERS = {IMPORTS: ("httpx_powertools", OF_HTTPX_POWERTOOLS), PLAIN: ("boto3_requests", OF_BOTO3_REQUESTS)}
CALLED = {IMPORTS: "httpx and Powertools", PLAIN: "boto3 and requests"}
AT_MOST = {"": {IMPORTS: 1.25, PLAIN: 0.8}, "_without_bytecode": {IMPORTS: 1.25, PLAIN: 1.0}}
WITH_EVENT_AT_MOST = 1.03
BYTECODE = {"": "with bytecode", "_without_bytecode": "without bytecode"}


def measure(built: Built, folder: Path) -> Iterator[Figure]:
    """Start ours and both peers in turns, all with bytecode and all without; ours with an outcome event, too."""
    with servers(folder) as here:
        starts = Starts(here, folder)
        sides = _sides(built.functions["RotateFunction"], here, folder)
        ways = {name: partial(starts.first_rotation, name, side) for name, side in sides.items()}
        seconds = alternate(ways, ROUNDS)
    yield Figure.ratio(
        "first_rotation_with_event_vs_without",
        "First rotation, with bytecode: with an outcome event / without",
        Ratio.of(seconds[WITH_EVENT], seconds[OURS]),
        at_most=WITH_EVENT_AT_MOST,
    )
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
            at_most=None if kind else AT_MOST[suffix][name],
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
        expected = CALLS + Counter({"aws": 1}) if name == WITH_EVENT else CALLS
        if answer != {"batchItemFailures": []} or rotation.last_rotated_at == before or watch.requests != expected:
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
    with_event = rotate.environment(here.parameters | {"OutcomeEventBusName": "default"})
    sides[WITH_EVENT] = replace(sides[OURS], environment=here.environment() | with_event)
    return sides
