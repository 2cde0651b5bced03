"""The same source makes the same artifact, and the same archive of it, wherever and whenever it is built."""

import shutil
import subprocess
from pathlib import Path

from tests.sandbox.embedded_aws import ROOT
from tools.package import pack


def built(folder: Path) -> dict[str, bytes]:
    """Build a function from a copy of the source in `folder`, and return its files."""
    source, artifact = folder / "functions", folder / "artifact"
    shutil.copytree(ROOT / "functions", source, ignore=shutil.ignore_patterns("__pycache__"))
    artifact.mkdir()
    subprocess.run(["make", "--silent", "build-RotateFunction", f"ARTIFACTS_DIR={artifact}"], cwd=source, check=True)
    return {str(path.relative_to(artifact)): path.read_bytes() for path in artifact.rglob("*") if path.is_file()}


def test_two_builds_in_different_places_are_the_same_byte_for_byte(tmp_path: Path) -> None:
    first, second = built(tmp_path / "here"), built(tmp_path / "some" / "where" / "else")

    assert len(first) > 100
    assert first == second


def test_two_archives_of_the_same_files_are_the_same_byte_for_byte(tmp_path: Path) -> None:
    contents = {}
    for name in ("b", "a"):
        contents[name] = tmp_path / name
        contents[name].write_text(name)
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    pack(first, "name-1.0.0", contents)
    (tmp_path / "a").touch()

    pack(second, "name-1.0.0", dict(sorted(contents.items())))

    assert first.read_bytes() == second.read_bytes()
