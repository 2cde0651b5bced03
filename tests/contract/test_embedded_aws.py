"""The embedded AWS lasts as long as whoever started it."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import httpx

from tests.sandbox.deployment import wait_until
from tests.sandbox.embedded_aws import ROOT

STARTS_ONE = """
import time
from tests.sandbox.embedded_aws import embedded_aws
with embedded_aws() as aws:
    print(aws.endpoint, flush=True)
    time.sleep(60)
"""


def test_the_embedded_aws_ends_when_its_caller_is_killed() -> None:
    caller = subprocess.Popen(
        [sys.executable, "-c", STARTS_ONE],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert caller.stdout
    endpoint = caller.stdout.readline().strip()
    assert _answers(endpoint)

    caller.send_signal(signal.SIGKILL)
    caller.wait()
    caller.stdout.close()

    assert wait_until("its end", lambda: not _answers(endpoint), seconds=20)


def _answers(endpoint: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{endpoint}/_ministack/health", trust_env=False).is_success
    return False
