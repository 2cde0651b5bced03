"""Infisical's secret rotations: typed calls on one pool of connections. What they raise is in `errors`."""

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx

from rotator.clock import Clock
from rotator.infisical.answers import parse_credentials, parse_list, parse_state
from rotator.infisical.errors import (
    InvalidAnswerError,
    RateLimitedError,
    UncertainError,
    UnreachableError,
    json_object,
    raise_for_error,
)
from rotator.infisical.transport import MAXIMUM_ANSWER_BYTES, MAXIMUM_LIST_BYTES, CallTimeouts
from rotator.model import GeneratedCredentials, ListedRotation, MappedRotation, RotationState
from rotator.timestamps import format_timestamp, from_epoch

# Name and version are those of pyproject.toml; a test compares them.
USER_AGENT = "infisical-rotation-triggers/2.0.0"

READ_TIMEOUT_SECONDS = 10.0

# Infisical closes the connection after 30 s (90 s on some deployments) while the rotation goes on. A client that waits
# longer than 30 s usually gets the server's answer.
ROTATE_TIMEOUT_SECONDS = 35.0

# One answer holds all rotations of a project: tens of megabytes for tens of thousands.
LIST_TIMEOUT_SECONDS = 45.0

# More than a day ahead cannot be clock skew.
_MAXIMUM_AHEAD = timedelta(days=1)

_PREFIX = "/api/v2/secret-rotations"


class Infisical:
    """The calls that a rotation needs. Safe to use from several threads.

    `auth` logs in. Redirects are not followed, so that no token goes to another host. Every `timeout_seconds` is for
    the whole call, its login included. While Infisical limits the rate of reads or of writes, further ones raise
    RateLimitedError without a request.

    Infisical may read from a database replica that lags. So the newest state of each rotation is remembered, and
    returned instead of an older answer.
    """

    def __init__(self, base_url: str, auth: httpx.Auth, transport: httpx.BaseTransport, clock: Clock) -> None:
        self._client = httpx.Client(
            base_url=base_url,
            auth=auth,
            transport=transport,
            headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": USER_AGENT},
            follow_redirects=False,
            trust_env=False,
        )
        self._clock = clock
        self._limited_until = {"GET": 0.0, "POST": 0.0}  # on the wall clock: it goes on while the process is frozen
        self._newest: dict[str, RotationState] = {}
        self._newest_lock = threading.Lock()

    def state(self, rotation: MappedRotation, timeout_seconds: float = READ_TIMEOUT_SECONDS) -> RotationState:
        """Read a rotation.

        Raises InfisicalError. A read changes nothing.
        """
        answer = self._call("GET", f"{_PREFIX}/{rotation.type}/{rotation.id}", timeout_seconds)
        return self._newest_of(self._possible(parse_state(answer, rotation.id)))

    def rotate(self, rotation: MappedRotation, timeout_seconds: float = ROTATE_TIMEOUT_SECONDS) -> RotationState:
        """Rotate, and return the state that was committed.

        Sends no body and no Content-Type: with a JSON one, the server answers 500 to an empty body.
        Raises InfisicalError; see `errors` for which of them mean that nothing was done.
        """
        answer = self._call("POST", f"{_PREFIX}/{rotation.type}/{rotation.id}/rotate-secrets", timeout_seconds)
        return self._newest_of(self._possible(parse_state(answer, rotation.id)))

    def credentials(
        self, rotation: MappedRotation, timeout_seconds: float = READ_TIMEOUT_SECONDS
    ) -> GeneratedCredentials:
        """Read the keys of a rotation of an IAM user, which needs a permission that `rotate` does not have.

        Raises InfisicalError.
        """
        path = f"{_PREFIX}/{rotation.type}/{rotation.id}/generated-credentials"
        return parse_credentials(self._call("GET", path, timeout_seconds), rotation.id)

    def rotations(
        self, project: str, rotation_type: str, timeout_seconds: float = LIST_TIMEOUT_SECONDS
    ) -> list[ListedRotation | InvalidAnswerError]:
        """Read all rotations of a type in a project that the machine identity may see. The answer is not paged.

        A rotation that cannot be read is replaced by its error, and the others are returned. If only its state is
        invalid or in the future, the rotation has no state.
        Raises InfisicalError.
        """
        query = {"projectId": project}
        answer = self._call("GET", f"{_PREFIX}/{rotation_type}", timeout_seconds, query, MAXIMUM_LIST_BYTES)
        return [self._listed(rotation) for rotation in parse_list(answer)]

    def _listed(self, rotation: ListedRotation | InvalidAnswerError) -> ListedRotation | InvalidAnswerError:
        if isinstance(rotation, ListedRotation) and rotation.state:
            try:
                self._possible(rotation.state)
            except InvalidAnswerError:
                return replace(rotation, state=None)
        return rotation

    def _newest_of(self, answer: RotationState) -> RotationState:
        """The newest known state; `stale` if the answer does not show its commit yet."""
        with self._newest_lock:
            known = self._newest.get(answer.id, answer)
            if (answer.last_rotated_at, answer.last_attempted_at) >= (known.last_rotated_at, known.last_attempted_at):
                self._newest[answer.id] = answer
                return answer
        return replace(known, stale=known.committed_after(answer))

    def _possible(self, state: RotationState) -> RotationState:
        """Refuse a commit in the future: until then, every trigger would be skipped as already rotated."""
        if state.last_rotated_at > from_epoch(self._clock.time()) + _MAXIMUM_AHEAD:
            ahead = format_timestamp(state.last_rotated_at)
            raise InvalidAnswerError(f"Infisical's answer is wrong: lastRotatedAt is in the future, {ahead}")
        return state

    def check_rate_limit(self, method: str) -> None:
        """Raise RateLimitedError while Infisical limits reads (GET) or writes (POST)."""
        limited_seconds = self._limited_until[method] - self._clock.time()
        if limited_seconds > 0:
            raise RateLimitedError(limited_seconds)

    def _call(
        self,
        method: str,
        path: str,
        timeout_seconds: float,
        query: dict[str, str] | None = None,
        maximum_bytes: int = MAXIMUM_ANSWER_BYTES,
    ) -> dict[str, Any]:
        self.check_rate_limit(method)
        extensions = {
            "timeout": CallTimeouts(self._clock.monotonic() + timeout_seconds, self._clock),
            "maximum_bytes": maximum_bytes,
            "repeatable": method == "GET",
        }
        try:
            response = self._client.request(method, path, params=query, extensions=extensions)
            raise_for_error(response)
        except RateLimitedError as limited:
            self._limited_until[method] = self._clock.time() + limited.retry_after_seconds
            raise
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise UnreachableError(f"no connection to Infisical: {error}") from None
        except httpx.RequestError as error:
            text = str(error)
            # A protocol error quotes what is wrong, at any length: perhaps the header with the token. So leave it out.
            if isinstance(error, httpx.ProtocolError) and not text.startswith("Server disconnected"):
                text = ""
            failure = f"no answer from Infisical: {type(error).__name__} {text}".rstrip()
            if not error.request.url.path.endswith(path):  # the login failed, so the request was not sent
                raise UnreachableError(failure) from None
            raise UncertainError(failure) from None
        return json_object(response)
