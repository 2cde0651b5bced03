"""How this application talks to AWS itself."""

from collections.abc import Callable

from aws_lambda_powertools.utilities.parameters import SSMProvider
from botocore.config import Config

# The calls are small and near; a connection that hangs must not eat the function's time.
CLIENT_CONFIG = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 4})

# Long enough for a burst of events, short enough that whoever changes a parameter sees the change.
PARAMETER_CACHE_SECONDS = 5


def parameter_reader(name: str) -> Callable[[], str]:
    """Return what reads an SSM parameter, from a short cache. It raises GetParameterError."""
    ssm = SSMProvider(boto_config=CLIENT_CONFIG)
    return lambda: str(ssm.get(name, max_age=PARAMETER_CACHE_SECONDS, decrypt=True))
