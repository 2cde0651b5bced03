"""The same source makes the same archive, byte for byte, wherever and whenever it is built."""

import io
import json
import os
import re
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.sandbox.embedded_aws import ROOT
from tests.sandbox.releases import Builder, uv_cache
from tools.package import pack

pytestmark = pytest.mark.release

PIN = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def files_of(release: Path) -> dict[str, bytes]:
    """Return each file of the release, and each file of its archive and its wheel."""
    released = {path.name: path.read_bytes() for path in release.iterdir()}
    files = dict(released)
    for name, content in released.items():
        if name.endswith((".zip", ".whl")):
            with ZipFile(io.BytesIO(content)) as package:
                files |= {each: package.read(each) for each in package.namelist()}
    return files


def test_two_clones_in_different_environments_build_the_same_bytes(tmp_path: Path) -> None:
    # They share what is downloaded, and the Python 3.13 that compiles.
    cache = uv_cache()
    path = os.environ["PATH"].split(os.pathsep)
    here = {"UV_CACHE_DIR": cache, "LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "1"}
    there = {"UV_CACHE_DIR": cache, "LC_ALL": "C.UTF-8", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "2"}
    one = Builder(tmp_path / "one", 0o022, path, **here)
    another = Builder(tmp_path / "some" / "where else", 0o077, path[::-1], **there)

    first, second = files_of(one.wait()), files_of(another.wait())

    assert len(first) > 400  # five functions of more than 100 files each
    assert sorted(first) == sorted(second)
    assert [name for name in first if first[name] != second[name]] == []
    (sbom,) = (json.loads(content) for name, content in first.items() if name.endswith(".cdx.json"))
    locked = dict(PIN.findall((ROOT / "functions" / "requirements.txt").read_text("utf-8")))
    assert {each["purl"] for each in sbom["components"]} == {f"pkg:pypi/{name}@{locked[name]}" for name in locked}


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
