"""Clients of AWS, from one session of botocore. boto3 on top of it would lengthen a cold start."""

import threading
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from botocore.config import Config
from botocore.session import Session

from rotator.settings import SettingsError

# The calls are small and stay in the region. A connection that hangs must not use up the function's time. At most, and
# without pauses: CLIENT_CONFIG 4 x (5 + 10) = 60 s, GUARD_CONFIG 2 x (3 + 5) = 16 s, REPORT_CONFIG 2 x (2 + 3) = 10 s.
CLIENT_CONFIG = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 4})
# The key guard makes up to three calls, one after the other, in an attempt's time. If they fail, the request waits.
GUARD_CONFIG = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})
# For `rotate`'s reports, when its time is nearly over.
REPORT_CONFIG = Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})

# Long enough for a burst of events, short enough that a changed parameter is soon seen.
PARAMETER_CACHE_SECONDS = 5


_making = threading.Lock()


@cache
def session() -> Session:
    """The one session: the function's own credentials and region, and what botocore has loaded."""
    return Session()


def client(service: str, config: Config = CLIENT_CONFIG, **credentials: Any) -> Any:  # noqa: ANN401 - any of botocore's
    """Make a client, by default with the function's own credentials. Both are thread-safe."""
    with _making:
        return session().create_client(service, config=config, **credentials)


class LazyClient:
    """A client that is made at its first call, for functions that seldom need it."""

    def __init__(self, service: str, config: Config = CLIENT_CONFIG) -> None:
        self._made = cache(partial(client, service, config))

    def __getattr__(self, method: str) -> Any:  # noqa: ANN401 - whichever it is
        return getattr(self._made(), method)


def parameter_reader(name: str, source: str) -> Callable[[], str]:
    """Return a function that reads an SSM parameter, with a short cache. The template's parameter `source` names it.

    Reading raises SettingsError, with both names.
    """
    # Imported here because `rotate` mostly starts without it, which saves 10 % of a cold start.
    from aws_lambda_powertools.utilities.parameters import SSMProvider  # noqa: PLC0415
    from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError  # noqa: PLC0415

    ssm = SSMProvider(boto_config=CLIENT_CONFIG)

    def read() -> str:
        try:
            return str(ssm.get(name, max_age=PARAMETER_CACHE_SECONDS, decrypt=True))
        except GetParameterError as error:
            raise SettingsError(
                f"the SSM parameter {name}, which the template's parameter {source} names, could not be read: {error}"
            ) from None

    return read
