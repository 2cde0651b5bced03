"""The dashboard after a week with incidents: docs/pictures/dashboard.svg."""

from collections.abc import Callable, Iterator, Sequence

from tests.cloudwatch.dashboard import DAY, DAYS, Alarms, Chart, Line, Table, Widget, a_week_with_incidents
from tests.cloudwatch.dashboard import dashboard as widgets
from tools.pictures.svg import box, number, picture, text

COLUMN, ROW, GAP = 40, 40, 4  # pixels: the dashboard's grid, and the space around a widget
TITLE, MARGIN = 26, 12
AXIS, LEGEND = 40, 15  # left of a chart, and the height of a line of its legend
LETTER = 6.1  # the width of a small letter

# CloudWatch's own, in its order.
COLORS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f")
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
FIRST_HOUR = 5  # the week begins on Monday at 05:00 UTC

TABLE_WIDTHS = (90, 100, 70, 80, 110)  # of all columns but the last
TABLE_ROWS = 10

STYLE = """
.card { fill: none; stroke: #d1d9e0 }
.ok { fill: #1a7f37 }
.alarm { fill: #cf222e }
.line { fill: none; stroke-width: 1.6; stroke-linejoin: round }
.limit { stroke: #cf222e; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) { .card { stroke: #3d444d } }
"""

Place = Callable[[float], float]


def dashboard() -> str:
    """Draw every widget of the template's dashboard."""
    shown = widgets(a_week_with_incidents())
    width = max(each.x + each.width for each in shown) * COLUMN
    height = max(each.y + each.height for each in shown) * ROW
    return picture(width, height, [part for each in shown for part in _widget(each)], STYLE)


def _widget(widget: Widget) -> Iterator[str]:
    left, top = widget.x * COLUMN + GAP, widget.y * ROW + GAP
    width, height = widget.width * COLUMN - 2 * GAP, widget.height * ROW - 2 * GAP
    yield box(left, top, width, height, "card", radius=4)
    yield text(left + MARGIN, top + 20, widget.title)
    match widget:
        case Chart():
            yield from _chart(widget, left, top + TITLE, width, height - TITLE)
        case Alarms():
            yield from _alarms(widget, left + MARGIN, top + TITLE, width - 2 * MARGIN, height - TITLE)
        case Table():
            yield from _table(widget, left + MARGIN, top + TITLE, width - 2 * MARGIN)


def _chart(chart: Chart, left: int, top: int, width: int, height: int) -> Iterator[str]:
    legend = _legend(chart.lines, width - 2 * MARGIN)
    bottom = top + height - 24 - LEGEND * len(legend)
    x0, x1, y1 = left + AXIS, left + width - MARGIN, top + 10
    most = _round_up(_peak(chart))

    def x(period: float) -> float:
        return x0 + (x1 - x0) * period * chart.period_minutes / (DAYS * DAY)

    def y(value: float) -> float:
        return bottom - (bottom - y1) * value / most

    for value in (0, most / 2, most):
        yield f"<path class='rule' d='M{x0} {number(y(value))}H{x1}'/>"
        yield text(x0 - 6, y(value) + 4, f"{value:,g}", "small faint", end=True)
    for day, name in enumerate(WEEKDAYS):
        noon = day * DAY + (12 - FIRST_HOUR) * 60
        yield text(x(noon / chart.period_minutes) - 10, bottom + 15, name, "small faint")
    for label, value in chart.limits.items():
        yield f"<path class='limit' d='M{x0} {number(y(value))}H{x1}'/>"
        yield text(x1, y(value) + 13, label, "small faint", end=True)
    if chart.stacked:
        yield from _stack(chart.lines, x, y)
    else:
        for place, line in enumerate(chart.lines):
            yield from _curve(line.values, _color(place, line), x, y)
    for row, entries in enumerate(legend):
        at, down = float(left + MARGIN), bottom + 24 + LEGEND * row
        for place, line in entries:
            yield box(at, down, 9, 9, color=_color(place, line))
            yield text(at + 13, down + 8.5, line.label, "small")
            at += _legend_width(line)


def _peak(chart: Chart) -> float:
    periods = list(zip(*(line.values for line in chart.lines), strict=True))
    join = sum if chart.stacked else max
    return max([*(join(value or 0 for value in values) for values in periods), *chart.limits.values()], default=0)


def _color(place: int, line: Line) -> str:
    return line.color or COLORS[place]


def _stack(lines: Sequence[Line], x: Place, y: Place) -> Iterator[str]:
    """A bar for each period, of all lines."""
    base = [0.0] * max(len(line.values) for line in lines)
    for place, line in enumerate(lines):
        for period, value in enumerate(line.values):
            if value:
                width = max(x(period + 1) - x(period), 3)
                yield box(x(period), y(base[period] + value), width, y(0) - y(value), color=_color(place, line))
                base[period] += value


def _curve(values: Sequence[float | None], color: str, x: Place, y: Place) -> Iterator[str]:
    """A line through neighbouring values, and a dot for a value without neighbours."""
    piece: list[tuple[int, float]] = []
    for period, value in enumerate([*values, None]):
        if value is not None:
            piece.append((period, value))
            continue
        if len(piece) == 1:
            yield f"<circle cx='{number(x(piece[0][0] + 0.5))}' cy='{number(y(piece[0][1]))}' r='2.2' fill='{color}'/>"
        elif piece:
            points = (f"{number(x(at + 0.5))} {number(y(each))}" for at, each in _corners(piece))
            yield f"<path class='line' stroke='{color}' d='M{'L'.join(points)}'/>"
        piece = []


def _corners(piece: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """The first and the last point, and those between that differ from a neighbour."""
    inner = [
        point
        for before, point, after in zip(piece, piece[1:], piece[2:], strict=False)
        if not before[1] == point[1] == after[1]
    ]
    return [piece[0], *inner, piece[-1]]


def _legend(lines: Sequence[Line], width: int) -> list[list[tuple[int, Line]]]:
    """The lines by their place, in as many rows as they need."""
    rows: list[list[tuple[int, Line]]] = [[]]
    for place, line in enumerate(lines):
        if rows[-1] and sum(_legend_width(each) for _, each in rows[-1]) + _legend_width(line) > width:
            rows.append([])
        rows[-1].append((place, line))
    return rows


def _legend_width(line: Line) -> float:
    return 26 + LETTER * len(line.label)


def _round_up(value: float) -> float:
    """The next number whose half is round too."""
    steps = (step * 10.0**power for power in range(6) for step in (2, 4, 6, 8, 10, 12, 16))
    return next(step for step in steps if step >= value)


def _alarms(widget: Alarms, left: int, top: int, width: int, height: int) -> Iterator[str]:
    """In two columns."""
    rows = -(-len(widget.alarms) // 2)
    for place, (name, is_on) in enumerate(widget.alarms.items()):
        column, row = divmod(place, rows)
        x, y = left + column * width // 2, top + 6 + row * (height - 12) // rows
        yield box(x, y, 10, 10, "alarm" if is_on else "ok", radius=2)
        yield text(x + 15, y + 9, name.removesuffix("Alarm"), "small")


def _table(widget: Table, left: int, top: int, width: int) -> Iterator[str]:
    widths = (*TABLE_WIDTHS, width - sum(TABLE_WIDTHS))
    for row, cells in enumerate([widget.columns, *widget.rows[:TABLE_ROWS]]):
        y, x = top + 14 + row * 18, left
        for cell, wide in zip(cells, widths, strict=True):
            room = int(wide / LETTER) - 1
            yield text(x, y, cell if len(cell) <= room else f"{cell[: room - 1]}…", "small" if row else "small faint")
            x += wide
        yield f"<path class='rule' d='M{left} {y + 5}H{left + width}'/>"
