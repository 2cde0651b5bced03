"""Mutations of valid input: parts of its JSON replaced, lost, added, doubled or wrapped; or its text garbled."""

import json
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# The same inputs in every run: what a night on a faster machine would find belongs into a test of its own.
FUZZED = settings(
    max_examples=60,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)

Json = Any
Path = tuple[int | str, ...]
Damage = Callable[[Json], Json]


def nested(levels: int) -> Json:
    value: Json = "x"
    for _ in range(levels):
        value = [value]
    return value


LONE_SURROGATE = "\ud800"  # JSON can write it, UTF-8 cannot
HUGE = "x" * 100_000
FOREIGN_ID = "5ce5ce5c-0000-4000-8000-000000000666"

# fmt: off
TEXTS = (
    "", " ", "x", HUGE, LONE_SURROGATE, "\U0001f600", "\x00", "\r\nX-Injected: 1", "../../x", "%2e%2e%2f", "'; --",
    "{0}", "%s", "${x}", "null", "false", "\u202e", "\ufeff", "٣", FOREIGN_ID, "https://elsewhere.test/",
)
MOMENTS = (
    "2026-02-30T00:00:00Z", "2026-11-15", "2026-11-15T05:00:00", "0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-14:00", "2026-11-15T24:00:01Z", "2026-W47-7T05:00:00Z",
    "2026-11-22T05:05:01Z", "1e9", "+2026-11-15T05:00:00Z", "2026-11-15T05:00:00Z\n", "2026-11-15T05:00:00+99:99",
)
NUMBERS = (
    0, 1, -1, 1.0, 0.5, 2**31, 2**63, -(2**63), 864_000_001, 10**308, 10**400, -(10**400), 1e308, 5e-324,
    float("nan"), float("inf"), float("-inf"),
)
OTHERS: Sequence[Json] = (None, True, False, [], {}, [[]], [None], {"": None}, {"id": None}, nested(100))
# fmt: on
HOSTILE: Sequence[Json] = (*TEXTS, *MOMENTS, *NUMBERS, *OTHERS)

_LOST = object()


def _added(part: Json) -> Json:
    if isinstance(part, dict):
        return {**part, "extra": "x"}
    return [*part, "x"] if isinstance(part, list) else f"{part}x"


# What is done to a part, whatever it is.
DAMAGES: Sequence[Damage] = (
    lambda _: _LOST,
    lambda part: [part],
    lambda part: [part, part],
    lambda part: {"value": part},
    json.dumps,
    lambda part: part.upper() if isinstance(part, str) else str(part),
    lambda part: f" {part}\n" if isinstance(part, str) else part,
    _added,
)


def paths_of(value: Json) -> list[Path]:
    """Where the parts of a value are, the value itself first."""
    parts = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    return [(), *((key, *rest) for key, part in parts for rest in paths_of(part))]


def dotted(path: Path) -> str:
    return ".".join(map(str, path)) or "all"


def damaged_at(valid: Json, path: Path) -> Iterator[Json]:
    """The value with one of its parts damaged, in every way in turn."""
    for damage in DAMAGES:
        yield _damaged(valid, path, damage)
    for hostile in HOSTILE:
        yield _damaged(valid, path, _always(hostile))


@st.composite
def mutated(draw: st.DrawFn, valid: Json) -> Json:
    """A value with up to three of its parts damaged, or renamed."""
    value = deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        hostile = draw(_HOSTILE)
        path, damage = draw(st.sampled_from(paths_of(value))), draw(st.sampled_from([_always(hostile), *DAMAGES]))
        value = _damaged(value, path, damage)
    return value


@st.composite
def garbled(draw: st.DrawFn, text: str) -> str:
    """A text with a piece cut out, doubled, or replaced by another piece, which may not be valid JSON."""
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(start + 60, len(text))) | st.just(len(text)))
    piece = draw(_PIECES | st.just(2 * text[start:end]))
    return text[:start] + piece + text[end:]


def written(value: Json) -> bytes:
    """JSON as a careless server writes it, NaN and halves of characters included."""
    return json.dumps(value).encode()


def with_duplicate_name(text: str, name: str, value: Json, *, last: bool) -> str:
    """JSON text in which a name occurs twice in its object, the other value before or after the right one."""
    key = json.dumps(name) + ": "
    start = text.index(key) + len(key)
    _, end = json.JSONDecoder().raw_decode(text, start)
    other, right = key + json.dumps(value), key + text[start:end]
    both = f"{right}, {other}" if last else f"{other}, {right}"
    return text[: start - len(key)] + both + text[end:]


_HOSTILE = st.one_of(
    st.sampled_from(HOSTILE),
    st.integers(),
    st.floats(),
    st.text(max_size=9),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3) | st.integers(), max_size=3),
)
_PIECES = st.sampled_from(
    [
        "",
        "\x00",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        '"',
        "\\",
        "'",
        "NaN",
        "-Infinity",
        "1" * 5000,
        "[" * 1500,
        "\ufeff",
        "é",
    ]
)


def _always(hostile: Json) -> Damage:
    return lambda _: hostile


def _damaged(value: Json, path: Path, damage: Damage) -> Json:
    """Leave the value as it is, and return the damaged one. A value that is lost as a whole is None."""
    changed = _changed(value, path, damage)
    return None if changed is _LOST else changed


def _changed(value: Json, path: Path, damage: Damage) -> Json:
    if not path:
        return damage(value)
    key, *rest = path
    part = _changed(value[key], tuple(rest), damage)
    if isinstance(value, list):
        assert isinstance(key, int)
        return value[:key] + ([] if part is _LOST else [part]) + value[key + 1 :]
    return {name: part if name == key else each for name, each in value.items() if name != key or part is not _LOST}
