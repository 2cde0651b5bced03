"""What `make run` and its like print."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape


def screen() -> Console:
    """A console on which `:secret:` is a part of an ARN, and no picture."""
    return Console(highlight=False, emoji=False)


@contextmanager
def step(console: Console, what: str) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    console.print(f"{what} ... ", end="")
    started = time.monotonic()
    yield
    console.print(f"[dim]{time.monotonic() - started:.1f} s[/]")


def tell(console: Console, problem: object) -> None:
    """Say what is not as promised, in a text from anywhere."""
    console.print(f"[bold red]✗[/] {escape(str(problem))}", soft_wrap=True)
