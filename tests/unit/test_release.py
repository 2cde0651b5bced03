"""A release is complete and of one version, or it is not published."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from tools.package import project
from tools.release import SCHEMA, SUMS, ReleaseError, check, notes_of, parts

NAME, VERSION = "rotations", "1.2.0"
ALL = parts(NAME, VERSION)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    for part in ALL:
        (tmp_path / part).write_text(part)
    sums = [f"{hashlib.sha256(part.encode()).hexdigest()}  {part}\n" for part in ALL]
    (tmp_path / SUMS).write_text("".join(sums))
    return tmp_path


def test_a_complete_release_may_be_published(release: Path) -> None:
    check(release, NAME, VERSION, "v1.2.0")


@pytest.mark.parametrize("part", [*ALL, SUMS])
def test_a_release_without_a_part_is_refused(release: Path, part: str) -> None:
    (release / part).unlink()

    with pytest.raises(ReleaseError, match="run 'make release' again"):
        check(release, NAME, VERSION, "v1.2.0")


@pytest.mark.parametrize("part", ALL)
@pytest.mark.parametrize("text", ["", "changed"])
def test_a_release_with_a_changed_part_is_refused(release: Path, part: str, text: str) -> None:
    (release / part).write_text(text)

    with pytest.raises(ReleaseError, match=part):
        check(release, NAME, VERSION, "v1.2.0")


@pytest.mark.parametrize("tag", ["v1.2.1", "1.2.0", "v1.2.0-rc1"])
def test_a_tag_of_another_version_is_refused(release: Path, tag: str) -> None:
    with pytest.raises(ReleaseError, match=r"is not v1\.2\.0"):
        check(release, NAME, VERSION, tag)


PINNED = re.compile(r"(?:rev: v|releases/download/v|infisical[-_]rotation[-_]triggers-)([0-9]+\.[0-9]+\.[0-9]+)")


def test_documents_and_examples_pin_this_version() -> None:
    _, version = project()
    root = SCHEMA.parents[2]
    paths = [path for kind in ("docs/*.md", "examples/**/*.*") for path in root.glob(kind) if path.suffix != ".pyc"]
    texts = {path: path.read_text("utf-8") for path in paths}
    pinned = {(path.name, found) for path, text in texts.items() for found in PINNED.findall(text)}

    assert pinned
    assert {each for each in pinned if each[1] != version} == set()


CHANGELOG = """# Changelog

## 1.2.0

- See [a section](docs/runbook.md#alarms) and [a site](https://example.com/x).

## 1.1.0

- Older.
"""


def test_the_notes_are_the_section_of_the_version() -> None:
    assert notes_of(CHANGELOG, "1.2.0") == "- See a section (docs/runbook.md) and [a site](https://example.com/x).\n"
    assert notes_of(CHANGELOG, "1.1.0") == "- Older.\n"


@pytest.mark.parametrize("changelog", ["", "## 1.2.0\n\n## 1.1.0\n", CHANGELOG.replace("1.2.0", "1x2.0")])
def test_a_version_without_notes_is_refused(changelog: str) -> None:
    with pytest.raises(ReleaseError, match=r"no section '## 1\.2\.0'"):
        notes_of(changelog, "1.2.0")


def test_this_version_has_notes_and_a_schema_with_a_place_for_its_id() -> None:
    _, version = project()
    root = SCHEMA.parents[2]

    assert notes_of((root / "CHANGELOG.md").read_text("utf-8"), version)
    assert "$id" not in json.loads(SCHEMA.read_text("utf-8"))
