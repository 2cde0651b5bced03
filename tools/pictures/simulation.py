"""What the simulation did: docs/pictures/simulation.svg. Schedules, faults, and the planted bugs that it found."""

import inspect
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from tests.simulation import test_planted_bugs
from tests.simulation.__main__ import Totals
from tests.simulation.oracle import Invariant
from tests.simulation.workers import run_all
from tools.pictures.svg import box, picture, text

SCHEDULES = 2000

# What the kinds of faults have in common: each is named as "where: what".
EFFECTS = {
    "a process is killed, or its clock stands still": "killed|stood still",
    "an event or a request arrives late or again": "late|acknowledgement",
    "a database replica lags, or a sender's clock is ahead": "behind|clock is ahead",
    "Infisical's attempt fails, dies or meets another": "fails|dies|in progress|others|plan|server error|committed",
    "an answer is slow": "slow",
    "a connection fails, or a message is lost": "connect|lost|dropped",
    "a rate limit, throttling or an outage": "limited|throttled|unavailable|partly",
    "a login, a token or a permission is refused": "token|session|denied|login",
    "a proxy answers instead": "proxy",
}

# Words of test names that are written otherwise.
SPELLED = {
    "iam": "IAM",
    "infisicals": "Infisical's",
    "mirrors": "mirror's",
    "proxys": "proxy's",
    "senders": "sender's",
    "sqs": "SQS",
}

WIDTH, MARGIN, LINE = 960, 20, 17
BAR_LEFT, BAR_RIGHT = 350, 880
BUG_LEFT = 400

STYLE = """
.big { font-size: 26px; font-weight: 600 }
.bar { fill: #0969da }
.good { fill: #1a7f37 }
.bad { fill: #cf222e }
@media (prefers-color-scheme: dark) { .bar { fill: #4493f8 } .good { fill: #3fb950 } .bad { fill: #f85149 } }
"""


@dataclass
class Found:
    """Listens to the tests of planted bugs: which of them passed."""

    passed: dict[str, bool] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note how a test ended."""
        if report.when == "call":
            self.passed[report.nodeid.rpartition("::")[2]] = report.passed


def simulation() -> str:
    """Run schedules and plant the bugs, and draw what happened."""
    totals = Totals()
    for result in run_all(range(SCHEDULES)):
        totals.add(result)
    found = Found()
    pytest.main([test_planted_bugs.__file__, "-q", "-n", "2", "--no-header", "-p", "no:cacheprovider"], plugins=[found])
    return drawn(totals, found.passed)


def drawn(totals: Totals, bugs: Mapping[str, bool]) -> str:
    """Draw the numbers, the faults, and each invariant with the bugs that break it."""
    parts = list(_numbers(totals, bugs))
    top = 116
    parts.append(text(MARGIN, top, "Injected faults, by what happens", "title"))
    effects = _effects(totals.faults)
    parts += _bars(effects, top + 14)
    top += 14 + LINE * len(effects) + 34
    parts.append(text(MARGIN, top, "What holds in every schedule", "title"))
    parts.append(text(BUG_LEFT, top, "Planted bugs that break it, and are found", "title"))
    top += 10
    for invariant, broken_by in _by_invariant(bugs).items():
        parts += _invariant(invariant, broken_by, top)
        top += LINE * max(1, len(broken_by)) + 7
    return picture(WIDTH, top + 12, parts, STYLE)


def sentence(test: str) -> str:
    """The name of a test as a sentence."""
    return " ".join(SPELLED.get(word, word) for word in test.removeprefix("test_").split("_"))


def _numbers(totals: Totals, bugs: Mapping[str, bool]) -> Iterator[str]:
    shown = (
        (f"{totals.schedules:,}", "random schedules", ""),
        (f"{totals.faults.total():,}", f"injected faults of {len(totals.faults)} kinds", ""),
        (f"{totals.violations:,}", "violations", " bad" if totals.violations else " good"),
        (f"{sum(bugs.values())} of {len(bugs)}", "planted bugs found", " good" if all(bugs.values()) else " bad"),
    )
    for place, (figure, what, kind) in enumerate(shown):
        x = MARGIN + place * (WIDTH - MARGIN) / len(shown)
        yield text(x, 44, figure, f"big{kind}")
        yield text(x, 66, what, "faint")
    yield f"<path class='rule' d='M{MARGIN} 84H{WIDTH - MARGIN}'/>"


def _effects(faults: Counter[str]) -> list[tuple[str, int]]:
    """How many faults have each effect; the most frequent first."""
    counted: Counter[str] = Counter()
    for kind, times in faults.items():
        what = kind.partition(": ")[2]
        counted[next((name for name, words in EFFECTS.items() if re.search(words, what)), "another fault")] += times
    return counted.most_common()


def _bars(effects: Sequence[tuple[str, int]], top: int) -> Iterator[str]:
    most = max(times for _, times in effects)
    for row, (name, times) in enumerate(effects):
        y = top + row * LINE
        width = (BAR_RIGHT - BAR_LEFT) * times / most
        yield text(MARGIN, y + 10, name, "small")
        yield box(BAR_LEFT, y, width, 12, "bar", radius=2)
        yield text(BAR_LEFT + width + 6, y + 10, f"{times:,}", "small faint")


def _by_invariant(bugs: Mapping[str, bool]) -> dict[Invariant, list[tuple[str, bool]]]:
    """Each invariant, with the bugs whose tests name it, in their order."""
    found: dict[Invariant, list[tuple[str, bool]]] = {invariant: [] for invariant in Invariant}
    for name, passed in sorted(bugs.items(), key=lambda bug: _source(bug[0])[1]):
        named = re.findall(r"Invariant\.([A-Z]+)", "".join(_source(name)[0]))
        found[Invariant[named[-1]]].append((sentence(name), passed))
    return found


def _source(test: str) -> tuple[list[str], int]:
    """The lines of a test, and the number of the first one."""
    return inspect.getsourcelines(getattr(test_planted_bugs, test))


def _invariant(invariant: Invariant, bugs: Sequence[tuple[str, bool]], top: int) -> Iterator[str]:
    yield f"<path class='rule' d='M{MARGIN} {top}H{WIDTH - MARGIN}'/>"
    first, rest = _wrapped(str(invariant))
    yield text(MARGIN, top + 15, first, "small")
    if rest:
        yield text(MARGIN, top + 15 + LINE - 2, rest, "small")
    for row, (bug, passed) in enumerate(bugs):
        y = top + 15 + row * LINE
        yield text(BUG_LEFT, y, "✓" if passed else "✗", "small good" if passed else "small bad")
        yield text(BUG_LEFT + 16, y, bug, "small")


def _wrapped(words: str, length: int = 58) -> tuple[str, str]:
    """Two lines where one is too long."""
    if len(words) <= length:
        return words, ""
    at = words.rindex(" ", 0, length)
    return words[:at], words[at + 1 :]
