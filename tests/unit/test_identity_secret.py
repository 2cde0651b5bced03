"""The machine identity's secret, read from Secrets Manager on loopback."""

import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rotator.aws import session
from rotator.infisical.connect import connect
from rotator.infisical.errors import UnreachableError
from rotator.model import MappedRotation
from rotator.settings import InfisicalSettings
from tests.unit.fakes import rotation_id

ELSEWHERE = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:machine-identity-AbCdEf"
DELETED = b'{"__type": "InvalidRequestException", "Message": "it is scheduled for deletion"}'


@pytest.fixture
def regions(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The regions that calls are signed for, to a secret that is scheduled for deletion."""
    signed: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            signed.extend(re.findall(r"Credential=[^/]+/\d+/([^/]+)/", self.headers["Authorization"]))
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(400)
            self.send_header("Content-Length", str(len(DELETED)))
            self.end_headers()
            self.wfile.write(DELETED)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "AKIA0000000000000000",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    session.cache_clear()
    yield signed
    session.cache_clear()
    server.shutdown()
    server.server_close()


def test_a_secret_that_cannot_be_used_is_read_in_its_own_region_and_named(regions: list[str]) -> None:
    infisical = connect(InfisicalSettings("http://127.0.0.1:1", "", ELSEWHERE, ""), time)

    with pytest.raises(UnreachableError, match="scheduled for deletion") as refused:
        infisical.state(MappedRotation(rotation_id(1)))

    assert ELSEWHERE in str(refused.value)
    assert set(regions) == {"eu-west-1"}
