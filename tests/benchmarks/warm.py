"""What a rotation costs a warm process: its own processor time, and the calls that it makes."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import httpx

from tests.benchmarks import warm_program
from tests.benchmarks.artifacts import copied
from tests.benchmarks.figures import Figure
from tests.benchmarks.rounds import Ratio, alternate
from tests.benchmarks.servers import Servers, servers
from tests.benchmarks.template import Built
from tests.runtime.emulator import PYTHON

ROTATIONS = 90
ROUNDS = 5

AT_MOST_VS_HTTPX = 1.5


def measure(built: Built, folder: Path) -> Iterator[Figure]:
    """Let ours, bare httpx and bare http.client do the same calls in turns."""
    rotate = built.functions["RotateFunction"]
    with servers(folder) as here:
        task = copied(rotate.task, folder / "task", bytecode=True, authority=here.authority)
        environment = {"PYTHONPATH": str(task), **here.environment(), **rotate.environment(here.parameters)}
        token = _token(here)
        for guarded in (False, True):
            program = partial(_program, here, environment, token, guarded=guarded)
            taken = alternate({side: partial(program, side) for side in warm_program.SIDES}, ROUNDS)
            yield from _figures(taken, guarded=guarded)
        yield from _requests(partial(_program, here, environment, token, "ours"), here)


def _figures(taken: Mapping[str, list[float]], *, guarded: bool) -> Iterator[Figure]:
    suffix = "_guarded" if guarded else ""
    what = "Warm rotation, processor's time" + (", with the key guard's calls" if guarded else "")
    yield Figure.ratio(
        f"warm_cpu{suffix}_vs_httpx",
        f"{what}: ours / bare httpx",
        Ratio.of(taken["ours"], taken["httpx"]),
        at_most=AT_MOST_VS_HTTPX,
    )
    yield Figure.ratio(
        f"warm_cpu{suffix}_vs_http_client",
        f"{what}: ours / bare http.client",
        Ratio.of(taken["ours"], taken["http.client"]),
    )
    for side, seconds in taken.items():
        name = side.replace(".", "_")
        yield Figure.seconds(
            f"warm_cpu{suffix}_milliseconds_{name}", f"… {side}", [each * 1000 for each in seconds], "ms"
        )


def _requests(program: partial[float], here: Servers) -> Iterator[Figure]:
    """Count what ours asks for: per rotation, and per duplicate of it."""
    counts = {}
    for again in (False, True):
        here.watch.reset()
        program(guarded=True, again=again)
        counts[again] = {kind: here.watch.requests[kind] / ROTATIONS for kind in ("read", "rotate", "aws")}
    once, twice = counts[False], counts[True]
    yield Figure("requests_a_rotation", "Requests to Infisical, a rotation", once["read"] + once["rotate"], "")
    yield Figure("requests_of_the_key_guard", "… of the key guard, to IAM", once["aws"], "")
    duplicate = sum(twice.values()) - sum(once.values())
    yield Figure("requests_a_duplicate", "… a duplicate, to anybody", duplicate, "")


def _program(
    here: Servers, environment: Mapping[str, str], token: str, side: str, *, guarded: bool, again: bool = False
) -> float:
    rotations = [here.add_rotation().id for _ in range(ROTATIONS)]
    asked = {
        "side": side,
        "url": here.url,
        "token": token,
        "rotations": rotations,
        "guarded": guarded,
        "again": again,
    }
    done = subprocess.run(
        [PYTHON, warm_program.__file__],
        env={"PATH": os.defpath, **environment},
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{side} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.splitlines()[-1])


def _token(here: Servers) -> str:
    """A token as the peers need one."""
    credentials = {"clientId": here.identity.client_id, "clientSecret": here.identity.client_secret}
    url, authority = f"{here.url}/api/v1/auth/universal-auth/login", str(here.authority)
    answer = httpx.post(url, json=credentials, verify=authority, trust_env=False)
    return str(answer.raise_for_status().json()["accessToken"])
