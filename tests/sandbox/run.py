"""`make run`: send one event through the deployed application on this machine, and show what it did."""

import argparse
import json
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infisical_rotation_triggers.preflight.alarm_topic import check_alarm_topic
from rotator.telemetry import Metric
from tests.sandbox.deployment import build, wait_until
from tests.sandbox.embedded_aws import ROOT, forget_own_accounts
from tests.sandbox.outcome_queue import OutcomeQueue
from tests.sandbox.sandbox import Sandbox, sandbox
from tests.sandbox.screen import screen, step, tell
from tests.sandbox.standin.rotations import Rotation

DEFAULT_EVENT = ROOT / "events" / "scheduler-input.json"
USERS = ("payments-deployer", "reports-uploader")
TIMES = {1: "once", 2: "twice"}
QUEUES = ("RotationRequests", "FailedRotations", "UndeliveredTriggers")


@dataclass(frozen=True)
class Before:
    """A rotation, and the key that it published before the event."""

    rotation: Rotation
    key: str


def main() -> int:
    """Return the exit status: 0 where the event rotated what it should, once."""
    arguments = _arguments()
    forget_own_accounts()
    try:
        event = json.loads(arguments.event.read_text())
    except (OSError, ValueError) as error:
        print(f"{arguments.event} is no event: {error}", file=sys.stderr)
        return 2
    console = screen()
    try:
        problems = _run(console, arguments.event, event, 2 if arguments.twice else 1)
    except (RuntimeError, TimeoutError) as error:
        problems = [str(error)]
    for problem in problems:
        tell(console, problem)
    return 1 if problems else 0


def _run(console: Console, path: Path, event: object, deliveries: int) -> list[str]:
    """Deliver the event and show what happened; return what is not as promised."""
    with step(console, "Building the application"):
        build()
    with ExitStack() as running:
        with step(console, "Starting an AWS and an Infisical on this machine, deploying template.yaml"):
            here = running.enter_context(sandbox())
            rotations = [here.add_rotation(user) for user in USERS]
            before = [Before(rotation, here.published_key(rotation)) for rotation in rotations]
            here.stack.put_map(_rotation_map(rotations))
            here.stack.leave_alarms_unconfirmed()
            outcomes = OutcomeQueue(here.stack)
        with step(console, f"Sending {_shown(path)} {TIMES[deliveries]}"):
            for _ in range(deliveries):
                here.stack.send(event)
            _wait_for_the_end(here, deliveries)
        problems = _problems(here, before)
        _show(console, here, before, deliveries)
        for told in outcomes.events():
            console.print(f"Event    {told['detail-type']}: {escape(told['detail']['message'])}", soft_wrap=True)
        console.print()
    if not problems:
        times = "one delivery" if deliveries == 1 else f"{deliveries} deliveries"
        console.print(f"[bold green]✓[/] One trigger, {times}, one rotation; every previous key is still valid.")
    return problems


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument("--event", type=Path, default=DEFAULT_EVENT)
    parser.add_argument("--twice", action="store_true")
    return parser.parse_args()


def _rotation_map(rotations: list[Rotation]) -> dict[str, object]:
    first, *others = (rotation.id for rotation in rotations)
    entries = [first, *({"id": other, "minimumInterval": "6 days"} for other in others)]
    return {"triggers": {"weekly": entries, "payments/deployer": entries}}


def _wait_for_the_end(here: Sandbox, deliveries: int) -> None:
    wait_until("the dispatch function", lambda: len(here.stack.ends_of_triggers()) >= deliveries)
    wait_until(
        "the rotations",
        lambda: (
            here.stack.depth("RotationRequestsUrl") == 0
            or any(outcome["outcome"] == "deferred" for outcome in here.stack.outcomes())
        ),
        seconds=180,
    )


def _problems(here: Sandbox, before: list[Before]) -> list[str]:
    """What is not as promised, in words."""
    problems = {
        f"The trigger was refused ({end['reason']}): {end['explanation']}"
        for end in here.stack.ends_of_triggers()
        if end["message"] == "trigger refused"
    }
    problems |= {
        f"{end['rotation_name'] or end['rotation_id']} {end['outcome']} ({end['reason']}): {end['explanation']}"
        for end in here.stack.outcomes()
        if end["outcome"] not in {"rotated", "skipped"}
    }
    for each in before:
        rotations = sum(
            end["outcome"] == "rotated" and end["rotation_id"] == each.rotation.id for end in here.stack.outcomes()
        )
        if rotations != 1 and not problems:
            problems.add(f"{each.rotation.name} was rotated {rotations} times instead of once")
        if each.key not in here.valid_keys(each.rotation.name):
            problems.add(f"{each.rotation.name}: the previous key {each.key} is no longer valid")
    return sorted(problems)


def _show(console: Console, here: Sandbox, before: list[Before], deliveries: int) -> None:
    dispatched = [end for end in here.stack.ends_of_triggers() if end["message"] == "trigger dispatched"]
    for trigger, occurred_at in {(end["trigger"], end["occurred_at"]) for end in dispatched}:
        console.print(
            f"\nTrigger [bold]{escape(trigger)}[/], occurred {occurred_at}, delivered {TIMES[deliveries]}",
            soft_wrap=True,
        )
    known = {each.rotation.id: each for each in before}
    table = Table("Rotation", "Outcome", "Old key → new key", "Took", box=SIMPLE)
    for end in here.stack.outcomes():
        each = known.get(end.get("rotation_id", ""))
        rotated = end["outcome"] == "rotated"
        table.add_row(
            escape(end["rotation_name"] or end.get("rotation_id", "?")),
            "rotated" if rotated else f"{end['outcome']}: {end['reason']}",
            f"{each.key} →\n{here.published_key(each.rotation)}" if each and rotated else "",
            f"{end['duration_seconds']:.2f} s",
        )
    console.print(table)
    counts = {name: value for name, value in here.stack.metrics().items() if name != Metric.ROTATION_DURATION}
    console.print("Metrics  " + "  ".join(f"{name} {value:.0f}" for name, value in sorted(counts.items())))
    console.print("Queues   " + "  ".join(f"{queue} {here.stack.depth(f'{queue}Url')}" for queue in QUEUES))
    for problem in check_alarm_topic(
        here.stack.aws.client("sns"), here.stack.outputs["AlarmTopic"], failure_messages=True
    ):
        console.print(f"Alarms   {escape(problem.what)}", soft_wrap=True)


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


if __name__ == "__main__":
    sys.exit(main())
