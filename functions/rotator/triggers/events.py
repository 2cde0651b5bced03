"""Any supported event → which trigger occurred, and when.

An event only names a trigger; the rotation map has its rotations. An event of any other shape is refused: a guess could
rotate the wrong keys.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime

from rotator.fields import parse_rotation_id
from rotator.outcomes.publisher import DetailType
from rotator.text import clip, quote
from rotator.timestamps import MAXIMUM_AHEAD, format_timestamp, parse_timestamp
from rotator.triggers import secret_events
from rotator.triggers.secret_events import secret_name

SUPPORTED = (
    'a schedule\'s input {"trigger": "…", "scheduledTime": "<aws.scheduler.scheduled-time>"},'
    " EventBridge Scheduler's default notification, the Scheduled Event of an EventBridge rule,"
    " Secrets Manager's events about changed and rotated secrets,"
    ' a custom event with detail-type "Rotation Requested" and detail {"trigger": "…"},'
    ' a direct invocation {"trigger": "…"} with occurredAt, only, force, dryRun and map as you need them'
)

NOT_FILLED_IN = (
    "{} holds a placeholder of EventBridge Scheduler, not a time. Scheduler fills placeholders in only in the Input of"
    " a schedule, and only if they are written with the characters < and >. Terraform's jsonencode writes these as"
    " \\u003c and \\u003e: write the Input as text, or replace them. If another service sends the event, or you replay"
    " a message of Scheduler's dead-letter queue, put the time of the occurrence there, such as 2026-11-22T05:00:00Z"
)

CUSTOM_DETAIL_TYPE = "Rotation Requested"

DIRECT_OPTIONS = {"occurredAt", "only", "force", "dryRun", "map"}

_SCHEDULE_ARN = re.compile(r"arn:[^:]+:scheduler:[^:]*:[^:]*:schedule/[^/]+/(?P<name>[^/]+)")
_RULE_ARN = re.compile(r"arn:[^:]+:events:[^:]*:[^:]*:rule/(?:[^/]+/)?(?P<name>[^/]+)")


class UnsupportedEventError(ValueError):
    """The event has no supported shape, or a field of it is wrong. Nothing was rotated."""


class OutcomeEventError(UnsupportedEventError):
    """The event is an outcome event of this application."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """One occurrence of a trigger that the rotation map may know by `name`, or by `alias` where it has two names.

    The name of a secret's trigger is its ARN, the alias its name. A `direct` invocation may ask for `only` some of the
    trigger's rotations, by their ids. It may be `forced`, or a `dry_run`, also with a `rotation_map` of its own.
    """

    name: str
    occurred_at: datetime
    only: frozenset[str] | None = None
    forced: bool = False
    dry_run: bool = False
    alias: str = ""
    direct: bool = False
    rotation_map: str | None = None


def read_trigger(event: object, now: datetime) -> Trigger:
    """Find out which trigger an event names and when it occurred.

    `now` is the time of a direct invocation without one. A sender's clock may be a little ahead: then the occurrence
    counts as happening now, because a later time would use up the margin that detects duplicates.
    Raises UnsupportedEventError saying what arrived and what is supported.
    """
    if isinstance(event, dict) and event.get("detail-type") in tuple(DetailType):
        raise OutcomeEventError(
            f"the event with detail-type {quote(event['detail-type'])} is an outcome event, not a trigger: each"
            " rotation would trigger the next one. Remove the rule that sends outcome events to this function"
        )
    if placeholder := _placeholder(event):
        raise UnsupportedEventError(NOT_FILLED_IN.format(placeholder))
    try:
        trigger = _read(event, now)
    except ValueError as error:
        raise UnsupportedEventError(f"{error}. Supported: {SUPPORTED}. Seen: {_outline(event)}.") from None
    if trigger.occurred_at > now + MAXIMUM_AHEAD:
        raise UnsupportedEventError(
            f"the trigger {quote(trigger.name)} says that it occurred at {format_timestamp(trigger.occurred_at)},"
            f" more than {MAXIMUM_AHEAD.total_seconds() / 60:.0f} minutes ahead of now ({format_timestamp(now)}):"
            " correct the sender's clock, or the time that it sends"
        )
    return replace(trigger, occurred_at=min(trigger.occurred_at, now))


def _placeholder(event: object) -> str:
    """The field that holds a placeholder of Scheduler instead of a time; empty if none does."""
    if isinstance(event, dict):
        for name in ("scheduledTime", "occurredAt", "time"):
            if isinstance(time := event.get(name), str) and "aws.scheduler." in time:
                return name
    return ""


def _read(event: object, now: datetime) -> Trigger:
    if not isinstance(event, dict):
        raise ValueError("an event must be a JSON object")
    match event:
        case {"source": "aws.scheduler", "detail-type": "Scheduled Event"}:
            return Trigger(_name(event, _SCHEDULE_ARN, "schedule"), parse_timestamp(event.get("time"), "time"))
        case {"source": "aws.events", "detail-type": "Scheduled Event"}:
            return Trigger(_name(event, _RULE_ARN, "rule"), parse_timestamp(event.get("time"), "time"))
        case {"source": secret_events.SOURCE}:
            secret = secret_events.secret_of(event)
            return Trigger(secret, parse_timestamp(event.get("time"), "time"), alias=secret_name(secret))
        case {"trigger": str(name), "scheduledTime": time, **rest} if name and not rest:
            return Trigger(name, parse_timestamp(time, "scheduledTime"))
        case {"source": str(source), "detail-type": kind} if kind == CUSTOM_DETAIL_TYPE and not source.startswith(
            "aws."
        ):
            return Trigger(_custom_trigger(event.get("detail")), parse_timestamp(event.get("time"), "time"))
        case {"trigger": str(name), **options} if name and options.keys() <= DIRECT_OPTIONS:
            return _direct(name, options, now)
    raise ValueError("this event has no supported shape")


def _custom_trigger(detail: object) -> str:
    """Read the detail of a custom event, which can only name a trigger."""
    if isinstance(detail, str):
        raise ValueError(
            'detail must be a JSON object {"trigger": "…"}, not a string: the sender encodes it as JSON twice'
        )
    if not isinstance(detail, dict):
        raise ValueError(f'detail must be a JSON object {{"trigger": "…"}}, not {quote(detail)}')
    name = detail.get("trigger")
    if not isinstance(name, str) or not name:
        raise ValueError(f"detail.trigger must be the name of a trigger, not {quote(name)}")
    if more := sorted(detail.keys() - {"trigger"}):
        raise ValueError(f"detail must have only the field trigger: remove {quote(more)}")
    return name


def _direct(name: str, options: dict[str, object], now: datetime) -> Trigger:
    """Read the options of a direct invocation. Events have none: permission to put events must not be enough."""
    occurred_at = parse_timestamp(options["occurredAt"], "occurredAt") if "occurredAt" in options else now
    forced, dry_run = (options.get(option, False) for option in ("force", "dryRun"))
    if not isinstance(forced, bool) or not isinstance(dry_run, bool):
        raise ValueError("force and dryRun must be true or false")
    if forced and "occurredAt" not in options:
        # Without it each delivery would be a new occurrence, and would rotate.
        raise ValueError("force needs occurredAt, so that a repeated delivery does not rotate again")
    if "map" in options and not (dry_run and isinstance(options["map"], str)):
        raise ValueError("map must be the JSON of a rotation map as a string, and needs dryRun")
    rotation_map = str(options["map"]) if "map" in options else None
    return Trigger(name, occurred_at, _only(options), forced, dry_run, direct=True, rotation_map=rotation_map)


def _only(options: dict[str, object]) -> frozenset[str] | None:
    if "only" not in options:
        return None
    ids = options["only"]
    if not isinstance(ids, list) or not ids:
        raise ValueError("only must be a list of rotation ids")
    return frozenset(parse_rotation_id(rotation_id, f"only[{at}]") for at, rotation_id in enumerate(ids))


def _name(event: dict[str, object], arn: re.Pattern[str], kind: str) -> str:
    resources = event.get("resources")
    first = resources[0] if isinstance(resources, list) and resources else None
    match = arn.fullmatch(first) if isinstance(first, str) else None
    if match is None:
        raise ValueError(f"resources[0] must be the ARN of a {kind}, not {quote(first)}")
    return match["name"]


def _outline(event: object) -> str:
    """Describe an event by its field names, and by the values of source and detail-type alone."""
    if not isinstance(event, dict):
        return f"a {type(event).__name__}"
    kind = {key: event[key] for key in ("source", "detail-type") if isinstance(event.get(key), str)}
    fields = clip(str(sorted(map(str, event))), 200)
    return f"an object with the fields {fields}" + (f" and {clip(str(kind), 200)}" if kind else "")
