"""README.md and docs/ against the files, the template and the code that they name."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from rotator.rotation.key_policy import PUBLISHED_KEY_WINDOW
from rotator.triggers.rotation_map import parse_rotation_map
from tools.pictures.simulation import sentence
from tools.pictures.svg import PICTURES
from tools.pictures.timelines import timelines

ROOT = Path(__file__).parents[2]
DOCUMENTS = [path for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md") for path in sorted(ROOT.glob(pattern))]
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
README = (ROOT / "README.md").read_text("utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
TEMPLATE = (ROOT / "template.yaml").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
FLOW = re.compile(r"<!-- flow -->\n(.*?)<!-- end of flow -->", re.DOTALL)


def texts() -> dict[str, str]:
    return {name: (ROOT / name).read_text("utf-8") for name in NAMES}


def headings(path: Path) -> set[str]:
    """A heading's anchor as GitHub makes it: lower case, without punctuation, with dashes."""
    titles = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_links_lead_to_existing_files_and_sections(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


def test_make_targets_in_the_documents_exist() -> None:
    targets = set(re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE))
    defined = {target for line in targets for target in line.split()}

    command = re.compile(r"(?:`|^\$ )make ([a-z]+)", re.MULTILINE)
    named = {target for text in texts().values() for target in command.findall(text)}
    assert named >= {"run", "deploy", "preflight", "redrive"}
    assert named - defined == set()


def test_outputs_in_commands_exist() -> None:
    outputs = set(re.findall(r"^  (\w+):$", TEMPLATE.partition("\nOutputs:\n")[2], re.MULTILINE))

    named = {output for text in texts().values() for output in re.findall(r"\$\(output ([A-Z]\w+)\)", text)}
    assert named >= {"DispatchFunctionName", "RotationRequestsUrl"}
    assert named - outputs == set()


def test_rotation_maps_in_the_documents_are_valid() -> None:
    json = re.compile(r"^```json\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    blocks = [block for text in texts().values() for block in json.findall(text)]
    inline = re.findall(r"`(\{\"triggers\".*?\})`", README)
    maps = [*(block for block in blocks if '"triggers"' in block), *inline]
    entries = [f'{{"triggers": {{"weekly": {block}}}}}' for block in blocks if '"triggers"' not in block]

    assert len(maps) > 2
    assert len(entries) > 0
    for text in (*maps, *entries):
        parse_rotation_map(text.replace("<the project's id>", "d17eeab6-9bb7-4255-9168-ccac2028bfd4"))


def test_key_guard_page_names_the_window_of_the_code() -> None:
    before, after = (abs(each.total_seconds()) for each in PUBLISHED_KEY_WINDOW)

    guard = (ROOT / "docs" / "key-guard.md").read_text("utf-8")
    assert f"from {before:.0f} s before it to {after:.0f} s after it" in guard


def test_monthly_cost_is_the_measured_one_within_a_dollar() -> None:
    measured = re.search(r"^\| 10 \|.*\*\*([0-9.]+)\*\* \|$", texts()["docs/performance.md"], re.MULTILINE)
    assert measured

    named = [re.search(r"bout USD (\d+) a month", texts()[name]) for name in ("README.md", "docs/operations.md")]
    assert all(each and abs(float(each[1]) - float(measured[1])) < 1 for each in named)


def test_flow_is_the_same_in_readme_and_architecture() -> None:
    assert FLOW.findall(README) == FLOW.findall(ARCHITECTURE) != []


def test_flow_shows_every_function_and_queue() -> None:
    resources = pairwise(re.findall(r"^  (\w+):$|^    Type: AWS::(\S+)$", TEMPLATE, re.MULTILINE))
    types = {name: kind for (name, _), (_, kind) in resources if name and kind}
    functions = {
        name.removesuffix("Function").lower() for name, kind in types.items() if kind == "Serverless::Function"
    }
    queues = {name for name, kind in types.items() if kind == "SQS::Queue"}

    (flow,) = FLOW.findall(README)
    assert len(functions) > 3
    assert len(queues) > 3
    assert functions | queues <= set(re.findall(r"\w+", flow))


def test_timelines_are_what_make_pictures_draws() -> None:
    assert (PICTURES / "timelines.svg").read_text("utf-8") == timelines()


def test_the_simulations_picture_names_every_planted_bug() -> None:
    tests = (ROOT / "tests" / "simulation" / "test_planted_bugs.py").read_text("utf-8")
    bugs = [sentence(name) for name in re.findall(r"^def (test_\w+)", tests, re.MULTILINE)]

    picture = (PICTURES / "simulation.svg").read_text("utf-8")
    assert len(bugs) > 20
    assert [bug for bug in bugs if f">{bug}<" not in picture] == []


def test_operations_page_lists_every_alarm() -> None:
    alarms = re.findall(r"^  (\w+)Alarm:", TEMPLATE, re.MULTILINE)

    table = texts()["docs/operations.md"].partition("| alarm | watches |")[2].partition("\n\n")[0]
    cells = re.findall(r"^\| ([\w, ]+) \|", table, re.MULTILINE)
    assert {name for cell in cells for name in cell.split(", ")} == set(alarms)
