"""No token, client secret or secret access key in anything that any test before this one wrote."""

import pytest

from tests.sandbox.standin.core import SERVERS

SHORTEST_REAL_SECRET = 20


@pytest.mark.last
def test_no_secret_of_any_server_was_written_anywhere(captured: list[str]) -> None:
    # What is shorter was made up by a test, and may be a word.
    secrets = {secret for server in SERVERS for secret in server.secrets if len(secret) >= SHORTEST_REAL_SECRET}
    written = "\n".join(captured)

    assert len(secrets) > 0
    assert [secret for secret in secrets if secret in written] == []
