"""`make release`: everything that a release publishes, in build/release. `--check TAG` says what is missing of it."""

import argparse
import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

from tools.package import ROOT, project

RELEASE = ROOT / "build" / "release"
SCHEMA = ROOT / "functions" / "rotator" / "rotation-map.schema.json"
SUMS, NOTES = "SHA256SUMS", "RELEASE_NOTES.md"


class ReleaseError(Exception):
    """The release must not be published; the message says why."""


def main() -> int:
    """Return the exit status: 0, or 2 if the release is incomplete."""
    parser = argparse.ArgumentParser(prog="make release", description=__doc__)
    parser.add_argument("--check", metavar="TAG", help="only check the parts, and that the tag names this version")
    given = parser.parse_args()
    name, version = project()
    try:
        if given.check:
            check(RELEASE, name, version, given.check)
        else:
            make(RELEASE, name, version)
            check(RELEASE, name, version, f"v{version}")
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 2
    for part in (*parts(name, version), SUMS):
        print(f"{RELEASE.relative_to(ROOT) / part}")
    return 0


def parts(name: str, version: str) -> tuple[str, ...]:
    """Return the names of all files that SHA256SUMS lists."""
    return (
        f"{name}-{version}.zip",
        f"{name.replace('-', '_')}-{version}-py3-none-any.whl",
        f"{name}-{version}.cdx.json",
        f"rotation-map-{version}.schema.json",
        NOTES,
    )


def make(folder: Path, name: str, version: str) -> None:
    """Collect the parts beside the wheel and the SBOM, which are there already, and write the hashes of all."""
    archive, _, _, schema, notes = parts(name, version)
    shutil.copyfile(ROOT / "build" / archive, folder / archive)
    (folder / schema).write_text(_with_id(SCHEMA, schema), "utf-8")
    (folder / notes).write_text(notes_of((ROOT / "CHANGELOG.md").read_text("utf-8"), version), "utf-8")
    sums = [f"{_hash(folder / part)}  {part}\n" for part in parts(name, version) if (folder / part).is_file()]
    (folder / SUMS).write_text("".join(sums), "utf-8")


def check(folder: Path, name: str, version: str, tag: str) -> None:
    """Raise ReleaseError if the tag is of another version, or a part is missing, empty or changed."""
    if tag != f"v{version}":
        raise ReleaseError(f"the tag {tag} is not v{version}, the version in pyproject.toml: correct one of them")
    sums = folder / SUMS
    listed = dict(line.split("  ")[::-1] for line in sums.read_text("utf-8").splitlines()) if sums.is_file() else {}
    for part in parts(name, version):
        path = folder / part
        if not path.is_file() or not path.stat().st_size:
            raise ReleaseError(f"the release has no {part}: run 'make release' again")
        if listed.get(part) != _hash(path):
            raise ReleaseError(f"{SUMS} does not have the hash of {part}: run 'make release' again")


def notes_of(changelog: str, version: str) -> str:
    """Return the section of a version.

    Raises ReleaseError if there is none.
    """
    match = re.search(rf"^## {re.escape(version)}\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    if match is None or not match[1].strip():
        raise ReleaseError(f"CHANGELOG.md has no section '## {version}': write it")
    # A release's page is elsewhere: a link into the repository becomes its text and the file's name.
    return re.sub(r"\[([^\]]+)\]\((?!https?:)([^)#]+)[^)]*\)", r"\1 (\2)", match[1].strip()) + "\n"


def _with_id(schema: Path, name: str) -> str:
    """Return the schema with an `$id` that names its version."""
    document = json.loads(schema.read_text("utf-8"))
    return (
        json.dumps({"$schema": document.pop("$schema"), "$id": name, **document}, indent=2, ensure_ascii=False) + "\n"
    )


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
