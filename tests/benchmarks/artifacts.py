"""What is measured: the built functions, and beside them the peers, packed as ours are, with bytecode and without."""

import os
import shutil
import subprocess
from pathlib import Path

from samcli.lib.package.utils import make_zip_with_lambda_permissions, zip_folder

from tests.runtime.emulator import PYTHON
from tests.sandbox.embedded_aws import ROOT

PEERS = Path(__file__).with_name("peers")
BUNDLE = Path("certifi", "cacert.pem")

# What a peer's folder holds, in the versions of the locked requirements.
OF_HTTPX_POWERTOOLS = ("httpx", "aws-lambda-powertools")
OF_BOTO3_REQUESTS = ("requests",)


def build(folder: Path) -> Path:
    """Build the application from the working tree into `folder`, which `tests.runtime.functions` reads."""
    _run("sam", "build", "--build-dir", str(folder))
    return folder


def peer(folder: Path, name: str, requirements: tuple[str, ...]) -> Path:
    """Pack one of the handlers in `peers` with what it needs beside boto3."""
    for_the_interpreter = ("--python", str(PYTHON), "--link-mode", "copy", "--only-binary", ":all:")
    versions = ("--constraint", str(ROOT / "requirements" / "dev.txt"))
    _run("uv", "pip", "install", "--quiet", *for_the_interpreter, *versions, "--target", str(folder), *requirements)
    shutil.rmtree(folder / "bin", ignore_errors=True)
    shutil.copy(PEERS / f"{name}.py", folder)
    return folder


def copied(task: Path, to: Path, *, bytecode: bool, authority: Path | None = None) -> Path:
    """Copy a function's folder, with its interpreter's bytecode or with none; let it trust `authority` too."""
    shutil.copytree(task, to, ignore=shutil.ignore_patterns("__pycache__"))
    if authority:
        with (to / BUNDLE).open("a") as bundle:
            bundle.write(authority.read_text())
    if bytecode:
        _run(str(PYTHON), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(to))
    return to


def zip_bytes(folder: Path) -> int:
    """How large the archive is that SAM uploads."""
    with zip_folder(str(folder), zip_method=make_zip_with_lambda_permissions) as (archive, _):
        return os.path.getsize(archive)  # noqa: PTH202 - as zip_folder has it, a text


def _run(*command: str) -> None:
    environment = {**os.environ, "SAM_CLI_TELEMETRY": "0"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
