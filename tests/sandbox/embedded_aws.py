"""An AWS on loopback with IAM enforced, for as long as a `with` block lasts."""

import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx

ROOT = Path(__file__).parents[2]
ACCOUNT = "123456789012"
REGION = "us-east-1"
ROOT_SECRET = "test"
START_SECONDS = 30


@dataclass(frozen=True)
class EmbeddedAws:
    """Where the embedded AWS is, and the account's root credentials, with which stacks are deployed."""

    endpoint: str
    log: Path
    _clients: dict[str, Any] = field(default_factory=dict)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    @property
    def environment(self) -> dict[str, str]:
        """What the AWS SDKs and `sam` need to talk to it, and to nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": ROOT_SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: Any) -> Any:  # noqa: ANN401 - one of boto3's many
        """A client with the account's root credentials, for everybody who asks; threads may share it."""
        with self._mutex:
            if service not in self._clients:
                self._clients[service] = self.session().client(service, endpoint_url=self.endpoint)
            return self._clients[service]

    def session(self, access_key_id: str = ACCOUNT, secret_access_key: str = ROOT_SECRET) -> boto3.Session:
        """A session whose clients need `endpoint_url=self.endpoint`."""
        return boto3.Session(access_key_id, secret_access_key, region_name=REGION)


def forget_own_accounts() -> None:
    """Take everything out of this process's environment that points the AWS tools at its user's own accounts."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "SAM_")):
            del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["AWS_DEFAULT_REGION"] = REGION


@contextmanager
def embedded_aws() -> Iterator[EmbeddedAws]:
    """Start an AWS on a free port and stop it, and every process of its functions, afterwards."""
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="embedded-aws-") as folder:
        aws = EmbeddedAws(f"http://127.0.0.1:{port}", Path(folder, "log.txt"))
        with aws.log.open("wb") as log:
            process = subprocess.Popen(
                [ROOT / ".venv-aws/bin/python", "-P", Path(__file__).with_name("start_ministack.py"), str(os.getpid())],
                # Nothing of the caller's environment: the functions would inherit it.
                env={
                    "PATH": os.defpath,
                    "TMPDIR": folder,
                    "AUTH": "true",
                    "MINISTACK_ACCOUNT_ID": ACCOUNT,
                    "MINISTACK_REGION": REGION,
                    "GATEWAY_PORT": str(port),
                    "BIND_HOST": "127.0.0.1",
                    "LAMBDA_ASYNC_RETRY_BASE_SECONDS": "0.1",  # AWS waits a minute, then two
                    "DOCKER_HOST": f"unix://{folder}/no-docker.sock",
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait_until_healthy(aws, process)
            yield aws
        finally:
            _stop(process)


def _wait_until_healthy(aws: EmbeddedAws, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{aws.endpoint}/_ministack/health", trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError(f"the embedded AWS did not start:\n{aws.log.read_text()[-2000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process, and the functions' processes, which share its session."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
