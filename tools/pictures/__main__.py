"""`make pictures`: draws the named pictures, or all of them."""

import sys
from collections.abc import Callable, Mapping

from tests.sandbox.embedded_aws import forget_own_accounts
from tools.pictures.dashboard import dashboard
from tools.pictures.simulation import simulation
from tools.pictures.svg import PICTURES
from tools.pictures.timelines import timelines

DRAWN: Mapping[str, Callable[[], str]] = {
    "timelines": timelines,
    "dashboard": dashboard,
    "simulation": simulation,
}


def main(names: list[str]) -> None:
    """Write each picture to docs/pictures."""
    forget_own_accounts()
    for name, draw in DRAWN.items():
        if name in names or not names:
            (PICTURES / f"{name}.svg").write_text(draw(), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
