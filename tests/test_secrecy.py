"""No token, client secret or secret access key in anything that any test before this one wrote."""

import pytest

from tests.sandbox.standin.core import SERVERS


@pytest.mark.last
def test_no_secret_of_any_server_was_written_anywhere(captured: list[str]) -> None:
    secrets = {secret for server in SERVERS for secret in server.secrets}
    written = "\n".join(captured)

    assert [secret for secret in secrets if secret in written] == []
