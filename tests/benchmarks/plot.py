"""docs/performance.svg: the first rotation beside others', and what a dispatch takes as rotations grow in number."""

import math
from collections.abc import Iterator, Mapping, Sequence

from tests.benchmarks.dispatch import SIZES

WIDTH, HEIGHT = 860, 300
INK, FAINT, OURS, THEIRS = "#1f2328", "#8c959f", "#0969da", "#b6bfc9"

SIDES = (("ours", "this function"), ("imports", "httpx, Powertools"), ("plain", "boto3, requests"))

LEFT, BARS_FROM, BARS_TO = 20, 150, 390
PLOT_LEFT, PLOT_RIGHT, TOP, BOTTOM = 500, 820, 70, 240


def svg(measured: Mapping[str, float]) -> str:
    """Draw it."""
    drawn = [*_bars(measured), *_growth(measured)]
    style = "font-family='system-ui, sans-serif' font-size='12'"
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' {style}>"
    background = f"<rect width='{WIDTH}' height='{HEIGHT}' fill='white'/>"
    return "\n".join([head, background, *drawn, "</svg>", ""])


def _bars(measured: Mapping[str, float]) -> Iterator[str]:
    yield _text(LEFT, 28, "First rotation, from the process's start (ms)", weight="bold")
    kinds = (("", "with bytecode"), ("_without_bytecode", "without"))
    seconds = {
        (name, suffix): measured[f"first_rotation_seconds_{name}{suffix}"] for name, _ in SIDES for suffix, _ in kinds
    }
    scale = (BARS_TO - BARS_FROM) / max(seconds.values())
    top = 55
    for suffix, kind in kinds:
        yield _text(LEFT, top, kind, color=FAINT)
        for name, label in SIDES:
            top += 26
            length = seconds[name, suffix] * scale
            color = OURS if name == "ours" else THEIRS
            yield _text(LEFT, top, label)
            yield f"<rect x='{BARS_FROM}' y='{top - 12}' width='{length:.1f}' height='16' fill='{color}'/>"
            yield _text(BARS_FROM + length + 6, top, f"{seconds[name, suffix] * 1000:.0f}")
        top += 34


def _growth(measured: Mapping[str, float]) -> Iterator[str]:
    seconds = [measured[f"dispatch_seconds_{size}"] for size in SIZES]
    # As the largest, had it grown with the number of rotations all the way.
    linear = [seconds[-1] * size / SIZES[-1] for size in SIZES]
    x = _axis([math.log10(size) for size in SIZES], PLOT_LEFT, PLOT_RIGHT)
    y = _axis([math.log10(each) for each in (*seconds, *linear)], BOTTOM, TOP)
    yield _text(PLOT_LEFT - 30, 28, "Dispatch of one trigger, from a cold start (s)", weight="bold")
    yield f"<path d='M{PLOT_LEFT} {TOP - 10}V{BOTTOM + 12}H{PLOT_RIGHT}' stroke='{FAINT}' fill='none'/>"
    for values, color, dashes in ((linear, FAINT, "4 4"), (seconds, OURS, "none")):
        points = " ".join(f"{x(math.log10(n)):.1f},{y(math.log10(s)):.1f}" for n, s in zip(SIZES, values, strict=True))
        yield f"<polyline points='{points}' fill='none' stroke='{color}' stroke-width='2' stroke-dasharray='{dashes}'/>"
    for size, each in zip(SIZES, seconds, strict=True):
        at, height = x(math.log10(size)), y(math.log10(each))
        yield f"<circle cx='{at:.1f}' cy='{height:.1f}' r='4' fill='{OURS}'/>"
        yield _text(at - 8, height - 12, f"{each:.2f}", anchor="middle")
        yield _text(at, BOTTOM + 30, f"{size:,}", anchor="middle")
    yield _text(
        (PLOT_LEFT + PLOT_RIGHT) / 2,
        BOTTOM + 48,
        "rotations of one selector; dashed: linear",
        color=FAINT,
        anchor="middle",
    )


def _axis(values: Sequence[float], start: float, end: float) -> "Axis":
    return Axis(min(values), max(values), start, end)


class Axis:
    """Where a value is drawn."""

    def __init__(self, lowest: float, highest: float, start: float, end: float) -> None:
        self._lowest, self._start = lowest, start
        self._scale = (end - start) / (highest - lowest)

    def __call__(self, value: float) -> float:
        return self._start + (value - self._lowest) * self._scale


def _text(x: float, y: float, text: str, *, color: str = INK, anchor: str = "start", weight: str = "normal") -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' fill='{color}' text-anchor='{anchor}' font-weight='{weight}'>{text}</text>"
