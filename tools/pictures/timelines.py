"""The lives of a user's keys when one event is delivered twice: docs/pictures/timelines.svg."""

from collections.abc import Iterator
from dataclasses import dataclass

from tools.pictures.svg import box, picture, text

WIDTH = 880
START, END = 150, 850
FIRST, SECOND, PICKED_UP = 300, 460, 690  # both deliveries, and when consumers read the published key
HEAD, ROW, BAR, FOOT = 64, 32, 20, 4

STYLE = """
.event { stroke: #8c959f; stroke-dasharray: 4 4 }
.published { fill: #0969da }
.previous { fill: #6e7781 }
.good { fill: #1a7f37 }
.bad { fill: #cf222e }
.gone { stroke: #cf222e; stroke-width: 3 }
"""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a row: what holds from one moment to another."""

    kind: str
    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class Row:
    """A key, or the consumers. A key that is deleted gets a cross."""

    name: str
    spans: tuple[Span, ...]
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One way to answer two deliveries of the same event."""

    title: str
    second_delivery: str
    rows: tuple[Row, ...]


PANELS = (
    Panel(
        "A function that calls rotate-secrets for each event",
        "delivered again: rotates",
        (
            Row("key 1", (Span("previous", START, FIRST, "previous"),), deleted=True),
            Row(
                "key 2",
                (Span("published", START, FIRST, "published"), Span("previous", FIRST, SECOND, "previous")),
                deleted=True,
            ),
            Row("key 3", (Span("published", FIRST, SECOND, "published"), Span("previous", SECOND, END, "previous"))),
            Row("key 4", (Span("published", SECOND, END, "published"),)),
            Row(
                "consumers",
                (
                    Span("good", START, SECOND, "use key 2"),
                    Span("bad", SECOND, PICKED_UP, "cut off: key 2 is gone"),
                    Span("good", PICKED_UP, END, "use key 4"),
                ),
            ),
        ),
    ),
    Panel(
        "This application",
        "delivered again: skipped",
        (
            Row("key 1", (Span("previous", START, FIRST, "previous"),), deleted=True),
            Row("key 2", (Span("published", START, FIRST, "published"), Span("previous", FIRST, END, "previous"))),
            Row("key 3", (Span("published", FIRST, END, "published"),)),
            Row(
                "consumers",
                (Span("good", START, PICKED_UP, "use key 2"), Span("good", PICKED_UP, END, "use key 3")),
            ),
        ),
    ),
)


def timelines() -> str:
    """Draw the panels, one below the other."""
    height = sum(_height(panel) for panel in PANELS) + 12
    parts: list[str] = []
    top = 0
    for panel in PANELS:
        parts += _panel(panel, top)
        top += _height(panel)
    return picture(WIDTH, height, parts, STYLE)


def _height(panel: Panel) -> int:
    return HEAD + ROW * len(panel.rows) + FOOT


def _panel(panel: Panel, top: int) -> Iterator[str]:
    yield text(20, top + 28, panel.title, "title")
    moments = ((FIRST, "delivered: rotates"), (SECOND, panel.second_delivery), (PICKED_UP, "consumers reload"))
    bottom = top + _height(panel) - FOOT - 6
    for moment, label in moments:
        yield f"<line class='event' x1='{moment}' y1='{top + 42}' x2='{moment}' y2='{bottom}'/>"
        yield text(moment + 6, top + 54, label)
    for position, row in enumerate(panel.rows):
        yield from _row(row, top + HEAD + ROW * position)


def _row(row: Row, top: int) -> Iterator[str]:
    middle = top + BAR / 2
    yield text(20, middle + 4.5, row.name)
    for span in row.spans:
        width = span.end - span.start - 2  # a gap between two spans
        yield box(span.start + 1, top, width, BAR, span.kind, radius=3)
        yield text(span.start + 9, middle + 4.5, span.label, "in")
    if row.deleted:
        x = row.spans[-1].end + 12
        yield f"<path class='gone' d='M{x - 6} {middle - 6}l12 12m0 -12l-12 12'/>"
        yield text(x + 12, middle + 4.5, "deleted")
