"""Parts of a picture. Each has a light and a dark form, with a background of its own: it is readable on any page."""

from html import escape
from pathlib import Path

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.small { font-size: 11px }
.faint { fill: #59636e }
.in { fill: #ffffff; font-size: 12px }
.back { fill: #ffffff; stroke: #d1d9e0 }
.rule { stroke: #d1d9e0 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .in { fill: #ffffff }
  .faint { fill: #9198a1 }
  .back { fill: #0d1117; stroke: #3d444d }
  .rule { stroke: #3d444d }
}
"""


def picture(width: int, height: int, parts: list[str], style: str = "") -> str:
    """A whole picture: its frame and its parts."""
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img'>"
    back = box(0.5, 0.5, width - 1, height - 1, "back", radius=6)
    return "\n".join([head, f"<style>{STYLE}{style}</style>", back, *parts, "</svg>", ""])


def text(x: float, y: float, words: str, kind: str = "", *, end: bool = False) -> str:
    """A line of text that begins at `x`, or ends there."""
    attributes = (f" class='{kind}'" if kind else "") + (" text-anchor='end'" if end else "")
    return f"<text{attributes} x='{number(x)}' y='{number(y)}'>{escape(words, quote=False)}</text>"


def box(  # noqa: PLR0913, PLR0917 - a place, a size and a look
    x: float, y: float, width: float, height: float, kind: str = "", color: str = "", radius: int = 0
) -> str:
    """A rectangle, with the look of a class or in a colour."""
    look = (f" class='{kind}'" if kind else "") + (f" fill='{color}'" if color else "")
    round_ = f" rx='{radius}'" if radius else ""
    return f"<rect{look} x='{number(x)}' y='{number(y)}' width='{number(width)}' height='{number(height)}'{round_}/>"


def number(value: float) -> str:
    """As few digits as a picture needs."""
    return f"{value:.1f}".removesuffix(".0")
