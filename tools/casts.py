"""`make pictures`: runs the demonstrations, and draws what they print into docs/pictures as a terminal shows it."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"

# How long a step took says something about this machine only.
TIMED_STEP = re.compile(r"^.* \.\.\. .*\d s\S*$\n", re.MULTILINE)

MARGIN = 2  # columns at the right: another font may be wider

# A spinner, which the program wipes out.
OVERWRITTEN = re.compile(r"[^\n]*(\r|\n(\x1b\[\?25h)?\r?\x1b\[1A)")

# As rich has it, but for the font: a picture in a page may load nothing.
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width
}}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: system-ui, sans-serif }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


@dataclass(frozen=True, slots=True)
class Cast:
    """A demonstration: the command that a person types, the module that it runs, and how wide the terminal is.

    With `cut`, long lines end with the terminal; without, they go on below.
    """

    name: str
    command: str
    module: tuple[str, ...]
    columns: int
    cut: bool = False


CASTS = (
    Cast("run", "make run TWICE=1", ("tests.sandbox.run", "--twice"), 92, cut=True),
    Cast("hook", "make hook", ("tests.sandbox.show_hook",), 92),
    Cast("preflight", "make preflight", ("tests.sandbox.show_preflight",), 120),
)


def main(names: list[str]) -> int:
    """Draw the named demonstrations, or all; return the exit status."""
    for cast in CASTS:
        if cast.name in names or not names:
            (PICTURES / f"{cast.name}.svg").write_text(draw(cast, _run(cast)), "utf-8")
    return 0


def draw(cast: Cast, output: str) -> str:
    """Draw what a demonstration printed, below its command."""
    console = Console(
        record=True, width=cast.columns, file=io.StringIO(), color_system="truecolor", force_terminal=True
    )
    console.print(Text.assemble(("$ ", "bold green"), (cast.command, "bold"), "\n"))
    printed = Text.from_ansi(TIMED_STEP.sub("", output).strip())
    for line in printed.split(allow_blank=True):
        console.print(line, width=cast.columns - MARGIN, no_wrap=cast.cut, overflow="ellipsis" if cast.cut else "fold")
    svg = console.export_svg(title=cast.command, code_format=FORMAT, unique_id=cast.name)
    return "".join(f"{line.rstrip()}\n" for line in svg.splitlines())


def _run(cast: Cast) -> str:
    """Run a demonstration in a terminal, and return all that it printed. Raises CalledProcessError where it failed."""
    terminal, program = pty.openpty()
    fcntl.ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", 60, cast.columns, 0, 0))
    command = [sys.executable, "-m", *cast.module]
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    with subprocess.Popen(  # noqa: S603 - a module of this repository
        command, stdin=program, stdout=program, stderr=program, env=environment
    ) as running:
        os.close(program)
        printed = bytearray()
        while part := _read(terminal):
            printed += part
    os.close(terminal)
    if running.returncode:
        raise subprocess.CalledProcessError(running.returncode, command, bytes(printed))
    return OVERWRITTEN.sub("", printed.decode().replace("\r\n", "\n"))


def _read(terminal: int) -> bytes:
    """Read from a terminal; nothing at the end, which Linux reports as an error."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
