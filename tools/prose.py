"""`make lint`: checks the words of documents and sources with proselint, and a list of our own phrases.

An error is a phrase that has a plainer form. A long sentence in a document is a warning.
"""

import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from proselint.checks import __register__ as general_checks
from proselint.config import DEFAULT
from proselint.registry import CheckRegistry
from proselint.registry.checks import Check, CheckFlags, types
from proselint.registry.checks.engine import Fancy
from proselint.tools import LintFile

DOCUMENTS = ("*.md", "docs/**/*.md", "examples/**/*.md")
SOURCES = (
    "template.yaml",
    "functions/**/*.py",
    "infisical_rotation_triggers/**/*.py",
    "tools/**/*.py",
    "examples/**/*.py",
    "examples/**/template.yaml",
)

LONGEST_SENTENCE = 30  # words; 20 are long already

KINDS = (
    "JSON|texts?|strings?|numbers?|objects?|lists?|dry run|occurrences?|events?|certificates?|ARN|URL|answer|allowed"
)

# Phrase → what to write instead. A phrase may be broken over two lines.
PLAIN_FORMS = {
    "unless told( otherwise)?": "by default",
    "tells? of": "reports",
    "told of": "reported",
    rf"(?<!there )(is|are) no ({KINDS})": "is not …",
    "is none of": "is not one of",
    "is of no use": "cannot be used",
    "surely": "certainly, or nothing",
    "half a day": "12 hours",
    "half a minute of": "30 seconds of",
    "wants (an?|to|no)": "needs",
    "(comes|come|came) back": "returns, or who sends it again",
    "(stands|stand) for": "means, selects or matches",
    "whoever": "everybody who",
    "whatever the reason": "for any reason",
    "to see to": "to fix",
    "so-manieth": "nth",
    "passing error": "temporary error",
    "alarms? (rings?|goes off)": "goes to ALARM, or reports",
}
UNWANTED = {
    "lexical_illusions": False,  # takes a heading and the sentence after it together
    "typography": False,  # quotes are straight, as in code
}

OWN = {"plain": True, "doubled": True}

CODE = re.compile(r"^```.*?^```$|<!--.*?-->|`[^`\n]+`|\]\([^)]*\)", re.DOTALL | re.MULTILINE)
BETWEEN_SENTENCES = re.compile(r"\n\s*\n|\n(?=\s*(?:[-*#>|]|\d+\. ))|\||(?<=[.!?:])\s+")


def main(names: list[str]) -> int:
    """Check the named files, or all of them. Return the exit status: 1 where there is an error."""
    registry = CheckRegistry()
    registry.register_many((*general_checks, *_own_checks()))
    paths = [Path(name) for name in names] or [*_all(DOCUMENTS), *_all(SOURCES)]
    errors = sum(_check_document(path) if path.suffix == ".md" else _check_source(path) for path in paths)
    return 1 if errors else 0


def _own_checks() -> tuple[Check, ...]:
    plain = {re.sub(r" (?!\))", r"\\s+", phrase): form for phrase, form in PLAIN_FORMS.items()}
    quoted = CheckFlags(allow_quotes=True)  # every docstring and message is in quotes
    return (
        Check(types.PreferredForms(plain), Fancy(), "plain", "'{1}': write {0}", quoted),
        Check(types.ExistenceSimple(r"\b([a-z]+) \1\b"), Fancy(), "doubled", "'{}': the same word twice", quoted),
    )


def _all(patterns: tuple[str, ...]) -> list[Path]:
    """The files of the repository, except this one, which lists the phrases."""
    found = {path for pattern in patterns for path in Path().glob(pattern)}
    return sorted(path for path in found if path.resolve() != Path(__file__).resolve())


def _check_document(path: Path) -> int:
    text = CODE.sub(_hidden, path.read_text("utf-8"))
    for line, words in _long_sentences(text):
        print(f"{path}:{line}: warning: a sentence of {words} words")
    return _report(path, text, {**DEFAULT["checks"], **UNWANTED, **OWN})


def _check_source(path: Path) -> int:
    return _report(path, path.read_text("utf-8"), OWN)


def _hidden(code: re.Match[str]) -> str:
    """As many characters on as many lines. Code in a sentence counts as a word, a block of code as none."""
    return re.sub(r"[^\n]", " " if "\n" in code[0] else "·", code[0])


def _report(path: Path, text: str, checks: dict[str, bool]) -> int:
    """Print what proselint finds, and return how much that is."""
    found = LintFile(str(path), text).lint({"max_errors": 1000, "checks": checks})
    for each in found:
        print(f"{path}:{each.pos[0]}: {' '.join(each.check_result.message.split())}")
    return len(found)


def _long_sentences(text: str) -> Iterator[tuple[int, int]]:
    """The line and the number of words of each sentence that is too long."""
    ends = [0, *(gap.end() for gap in BETWEEN_SENTENCES.finditer(text)), len(text)]
    for start, end in pairwise(ends):
        words = len(re.findall(r"\w[\w'.,/-]*|·+", text[start:end]))
        if words > LONGEST_SENTENCE:
            yield text.count("\n", 0, start) + 1, words


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
