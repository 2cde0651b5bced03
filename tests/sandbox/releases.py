"""Releases: this one, as a builder makes it in a clone of its own, and the previous one, from the history."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

from tests.sandbox.clone import clone
from tests.sandbox.embedded_aws import ROOT
from tools.package import project

SBOM = "build/release/$(python -c 'from tools.package import project; print(*project(), sep=\"-\")').cdx.json"

# What `make release` runs, without making the environments anew.
MAKE_RELEASE = f"""
set -e
LAMBDA_PYTHON=$(python -m tools.lambda_python) sam build
python -m tools.package
mkdir -p build/release
hatchling build --target wheel --directory build/release
{ROOT / ".venv-checks" / "bin" / "python"} -m tools.sbom > {SBOM}
python -m tools.release
"""


class Builder:
    """Makes a release in a clone of its own, in an environment of its own."""

    def __init__(self, folder: Path, umask: int, path: list[str], **environment: str) -> None:
        self._source, home = folder / "source", folder / "home"
        home.mkdir(parents=True)
        clone(self._source, umask)
        # The Python of its own is what the first line of a console script names.
        subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, self._source / ".venv"], check=True)
        own, tools = self._source / ".venv" / "bin", Path(sys.executable).parent
        self._build = subprocess.Popen(
            ["sh", "-c", MAKE_RELEASE],
            cwd=self._source,
            umask=umask,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={
                **os.environ,
                "PATH": os.pathsep.join([str(own), str(tools), *path]),
                "PYTHONPATH": str(self._source),
                "HOME": str(home),
                **environment,
            },
        )

    def wait(self) -> Path:
        """Wait for the release, and return its folder."""
        _, errors = self._build.communicate()
        assert self._build.returncode == 0, errors.decode()
        return self._source / "build" / "release"


def uv_cache() -> str:
    """The folder with what was downloaded, which builders with homes of their own share."""
    return subprocess.check_output(["uv", "cache", "dir"], text=True).strip()


def build_previous(folder: Path) -> Path:
    """Build what was in the history before this version, and return the built template."""
    _, version = project()
    line = f'version = "{version}"'
    commits = _git("log", "--format=%H", "-S", line, "--", "pyproject.toml").split()
    assert commits, f"no commit sets {line}: fetch the whole history (git fetch --unshallow)"
    archive = folder / "previous.tar"
    _git("archive", "--output", str(archive), f"{commits[-1]}^")
    with tarfile.open(archive) as source:
        source.extractall(folder, filter="data")
    subprocess.run(["sam", "build"], cwd=folder, check=True, capture_output=True)
    return folder / ".aws-sam" / "build" / "template.yaml"


def _git(*arguments: str) -> str:
    return subprocess.check_output(["git", *arguments], cwd=ROOT, text=True)
