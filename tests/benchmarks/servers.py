"""Infisical and AWS on this machine, over TLS as in earnest, for functions; and how long they themselves take."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from starlette.types import ASGIApp, Receive, Scope, Send

from rotator.model import MappedRotation
from rotator.rotation.request import RotationRequest
from tests.benchmarks.fake_aws import FakeAws
from tests.sandbox.embedded_aws import ACCOUNT, REGION
from tests.sandbox.sqs_record import sqs_record
from tests.sandbox.standin.app import create_app
from tests.sandbox.standin.attempts import Pace
from tests.sandbox.standin.core import StandIn
from tests.sandbox.standin.identities import Identity
from tests.sandbox.standin.keys import MemoryKeys
from tests.sandbox.standin.rotations import Rotation
from tests.sandbox.standin.server import serve_app
from tests.sandbox.standin.sts import MemorySts

AT_ONCE = Pace(0, 0, 0)
LAST_WEEK = timedelta(days=7)
THE_WEEK_BEFORE = timedelta(days=14)
ROLE = f"arn:aws:iam::{ACCOUNT}:role/rotate"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/rotate/rotate"


@dataclass
class Stopwatch:
    """The time that the servers have worked on requests, from the first byte to the last, and how many there were."""

    seconds: float = 0.0
    requests: Counter[str] = field(default_factory=Counter)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def add(self, request: str, seconds: float) -> None:
        with self._mutex:
            self.seconds += seconds
            self.requests[request] += 1

    def reset(self) -> None:
        with self._mutex:
            self.seconds = 0.0
            self.requests.clear()


class Timed:
    """An application whose requests are timed."""

    def __init__(self, app: ASGIApp, watch: Stopwatch) -> None:
        self._app = app
        self._watch = watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        await self._app(scope, receive, send)
        if scope["type"] == "http":
            self._watch.add(_kind(scope["method"], scope["path"]), time.perf_counter() - started)


@dataclass(frozen=True)
class Servers:
    """`authority` is the file of the certificate authority that both servers' certificates are of."""

    infisical: StandIn
    aws: FakeAws
    url: str
    aws_url: str
    identity: Identity
    keys: MemoryKeys
    sts: MemorySts
    authority: Path
    watch: Stopwatch

    @property
    def parameters(self) -> dict[str, str]:
        """Values for the template's parameters and resources."""
        return {
            "AWS::StackName": "benchmarks",
            "InfisicalUrl": self.url,
            "MachineIdentityId": self.identity.id,
            "HookMachineIdentityId": self.identity.id,
            "OutcomeEventBusName": "",  # no alternative that the functions are compared with puts events
            "RotationRequests": "https://sqs.us-east-1.amazonaws.com/123456789012/requests.fifo",
            "FailedRotations": "https://sqs.us-east-1.amazonaws.com/123456789012/failed.fifo",
        }

    def environment(self) -> dict[str, str]:
        """What Lambda gives a function, a session of its role, and where its AWS is."""
        credentials = self.sts.issue(SESSION)
        return {
            "AWS_ACCESS_KEY_ID": str(credentials.access_key),
            "AWS_SECRET_ACCESS_KEY": str(credentials.secret_key),
            "AWS_SESSION_TOKEN": str(credentials.token),
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.aws_url,
            # The artifacts' bytecode is what is measured; a function may not make its own.
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def add_rotation(self, project_id: str = "d17eeab6-9bb7-4255-9168-ccac2028bfd4") -> Rotation:
        """Create a rotation that is due, of a user with two keys."""
        user, now = f"user-{len(self.infisical.rotations)}", datetime.now(UTC)
        self.keys.create_access_key(user, (now - THE_WEEK_BEFORE).timestamp())
        return self.infisical.add_rotation(
            name=user, user_name=user, last_rotated_at=now - LAST_WEEK, project_id=project_id
        )


@contextmanager
def servers(folder: Path, pace: Pace = AT_ONCE, sqs_seconds: float = 0.0) -> Iterator[Servers]:
    """Serve for as long as the block lasts. `folder` is an empty one; SQS takes `sqs_seconds` to accept messages."""
    authority, certificate, trusted = trustme.CA(), folder / "server.pem", folder / "authority.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    authority.cert_pem.write_to_path(str(trusted))
    keys, sts, watch = MemoryKeys(time), MemorySts(), Stopwatch()
    infisical = StandIn(time, keys, sts=sts, pace=pace)
    identity = infisical.add_identity(
        {"read", "rotate-secrets", "read-generated-credentials"}, allowed_principals=[ROLE]
    )
    aws = FakeAws(keys, sqs_seconds)
    apps = {"stand-in": create_app(infisical), "aws": aws.app()}
    with ExitStack() as running:
        urls = []
        for name, app in apps.items():
            app.add_middleware(Timed, watch=watch)
            urls.append(running.enter_context(serve_app(app, name, certificate)))
        yield Servers(infisical, aws, urls[0], urls[1], identity, keys, sts, trusted, watch)


def sqs_event(rotations: list[Rotation]) -> dict[str, object]:
    """What Lambda hands the function `rotate`: a request for each rotation, just sent."""
    now = datetime.now(UTC)
    bodies = {
        each.id: RotationRequest(MappedRotation(each.id), "weekly", now, "benchmark").to_message() for each in rotations
    }
    return {
        "Records": [
            sqs_record(f"message-{name}", body, name, first_received_at=now.timestamp())
            for name, body in bodies.items()
        ]
    }


def _kind(method: str, path: str) -> str:
    """What a request to Infisical is; all those to AWS are one kind."""
    if path.endswith("/login"):
        return "login"
    if path.endswith("/rotate-secrets"):
        return "rotate"
    return "read" if method == "GET" else "aws"
