"""`make build` compiles the functions with Lambda's Python: this prints its path, or says on standard error why not."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

VERSION = "3.13"  # template.yaml's Runtime

NONE_FOUND = (
    f"There is no Python {VERSION}, and uv could not download one. The functions are built without bytecode: a cold"
    f" start takes about 1.5 times as long. Install Python {VERSION}, then build again."
)


def main() -> int:
    """Find the interpreter, or let uv bring it. The exit status is always 0: a build without bytecode works too."""
    environment = {**os.environ, "PATH": search_path(os.environ), "UV_HTTP_RETRIES": "0"}
    found = _find(environment)
    if not found and _uv(environment, "install", "--no-bin") is not None:
        found = _find(environment)
    print(found or NONE_FOUND, file=sys.stdout if found else sys.stderr)
    return 0


def search_path(environment: Mapping[str, str]) -> str:
    """Return the PATH with pyenv's interpreters instead of its shims.

    A shim fails unless its version is selected, and `uv python find` then fails too.
    """
    versions = Path(environment.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    own = [str(folder) for folder in sorted(versions.glob(f"{VERSION}.*/bin"), reverse=True)]
    usual = [folder for folder in environment["PATH"].split(os.pathsep) if Path(folder).name != "shims"]
    return os.pathsep.join([*usual, *own])


def _find(environment: Mapping[str, str]) -> str | None:
    return _uv(environment, "find", "--no-project", "--no-python-downloads", "--system")


def _uv(environment: Mapping[str, str], command: str, *options: str) -> str | None:
    """Return what `uv python` prints; None if it fails."""
    run = subprocess.run(  # noqa: S603 - all arguments are written in this module
        ["uv", "python", command, *options, VERSION],  # noqa: S607 - the Makefile sets the PATH
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.stdout.strip() if run.returncode == 0 else None


if __name__ == "__main__":
    sys.exit(main())
