"""The other two functions: how long one invocation takes, and how much memory."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.artifacts import copied
from tests.benchmarks.dispatch import shares
from tests.benchmarks.fake_aws import MIRROR, TOKEN
from tests.benchmarks.figures import Figure
from tests.benchmarks.invocations import running
from tests.benchmarks.servers import Servers, servers
from tests.benchmarks.template import Built

WATCHED = 50_000
PROJECT = "6b1f0f5e-3a52-4a5e-9b35-6f1f2f0f00ff"


def measure(built: Built, folder: Path) -> Iterator[Figure]:
    """Audit fifty thousand rotations of one selector, and let the hook make a secret adopt the published key."""
    with servers(folder) as here:
        for _ in range(WATCHED):
            rotation = here.add_rotation(PROJECT)
        triggers, mirrors = {"all": {"project": PROJECT}}, {MIRROR: rotation.id}
        here.aws.rotation_map = json.dumps({"triggers": triggers, "mirrors": mirrors})
        answer, seconds, peak = _invoke(built, "AuditFunction", {}, here, folder)
        if answer["RotationsWatched"] != WATCHED:
            raise RuntimeError(f"not all were audited: {answer}")
        what = f"Audit of {WATCHED:,} rotations, from a cold start"
        yield Figure("audit_seconds", what, seconds, "s")
        yield Figure("audit_peak_bytes", "… its peak memory", peak, "MB")
        yield from shares(built, "AuditFunction", WATCHED, seconds, peak)
        step = {"Step": "createSecret", "SecretId": MIRROR, "ClientRequestToken": TOKEN}
        _, _, peak = _invoke(built, "HookFunction", step, here, folder)
        if not here.aws.calls["PutSecretValue"]:
            raise RuntimeError("the hook has put no secret")
        yield Figure("hook_peak_bytes", "Peak memory of hook", peak, "MB")


def _invoke(built: Built, name: str, event: Mapping[str, str], here: Servers, folder: Path) -> tuple[Any, float, int]:
    function = built.functions[name]
    task = copied(function.task, folder / name, bytecode=True, authority=here.authority)
    environment = here.environment() | function.environment(here.parameters)
    with running(task, function.handler, environment, folder) as started:
        answer, seconds = started.invoke(event)
        return answer, seconds, started.peak_bytes()
