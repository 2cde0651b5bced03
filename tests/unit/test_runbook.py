"""The runbook against what the code says and the template deploys: whoever is woken up finds what the alarm named."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text("utf-8")
TEMPLATE = (ROOT / "template.yaml").read_text("utf-8")
CODE = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "functions").rglob("*.py")))

ANCHORS = {
    re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
    for heading in re.findall(r"^##+ (.+)$", RUNBOOK, re.MULTILINE)
}

# What `outcome`, `decision` and `trigger refused` give as their reason: literals, and the names of errors.
REASONS = {
    *re.findall(r'(?:Outcome\(\s*Result|Verdict)\.\w+,\s*"(\w+)"', CODE),
    *re.findall(r"^class (\w+)Error\(", CODE, re.MULTILINE),
    *re.findall(r'return "(\w+)"$', CODE, re.MULTILINE),
    *re.findall(r'deferred\("(\w+)"', CODE),
    *re.findall(r'Verdict\.\w+, "(\w+)"', CODE),
    "PermissionDenied",
    "NotFound",
    "BadRequest",  # Infisical's own words, where they are one
}
# A success, a reason to begin, the roots of the tree of errors, and what only the hook knows to wait for.
NO_FAILURES = {"Rotated", "Confirmed", "Due", "Infisical", "KeyNotAccepted"}


def test_the_reasons_are_found_in_the_code() -> None:
    known = {"AlreadyRotated", "TooSoon", "AttemptFailed", "PreviousAttemptFailed", "ReportNotKept", "Uncertain"}

    assert known <= REASONS
    assert NO_FAILURES <= REASONS


@pytest.mark.parametrize("reason", sorted(REASONS - NO_FAILURES))
def test_every_reason_has_a_cause_and_a_remedy(reason: str) -> None:
    assert re.search(rf"\b{reason}\b", RUNBOOK)


def test_every_alarm_leads_to_a_section() -> None:
    named = re.findall(r"docs/runbook\.md#([a-z0-9-]+)", TEMPLATE)

    assert len(named) > 12
    assert set(named) - ANCHORS == set()


def test_every_link_leads_to_an_existing_section() -> None:
    linked = re.findall(r"\]\(#([a-z0-9-]+)\)", RUNBOOK)

    assert linked
    assert set(linked) - ANCHORS == set()


@pytest.mark.parametrize(
    ("command", "part"),
    [
        (r"(?:\boutput|\blogs|}') ([A-Z]\w+)", TEMPLATE.partition("\nOutputs:\n")[2]),
        (r"\bresource ([A-Z]\w+)", TEMPLATE.partition("\nResources:\n")[2].partition("\nOutputs:\n")[0]),
    ],
    ids=["output", "resource"],
)
def test_every_command_names_what_the_stack_has(command: str, part: str) -> None:
    named = set(re.findall(command, RUNBOOK))
    # SAM makes the schedule of a function's event.
    defined = {*re.findall(r"^  (\w+):$", part, re.MULTILINE), "AuditFunctionScheduled"}

    assert len(named) > 1
    assert named - defined == set()


@pytest.mark.parametrize("page", ["docs/deploy.md", "docs/rotation-map.md", "docs/runbook.md"])
def test_no_invocation_is_repeated_by_the_aws_cli(page: str) -> None:
    """Without the option it gives up on an answer after 60 seconds, and invokes the function again."""
    invocations = re.findall(r"aws lambda invoke --(?!cli-read-timeout 0).*", (ROOT / page).read_text("utf-8"))

    assert invocations == []
