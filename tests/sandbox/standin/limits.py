"""Rate limits: every route counts for itself, a minute at a time; on loopback all callers share one address."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tests.sandbox.standin.answers import Refusal

WINDOW_SECONDS = 60


@dataclass
class _Window:
    ends_at: float
    count: int = 0


class RateLimits:
    """At most `reads` GETs and `writes` POSTs a minute for each route; a login is a write."""

    def __init__(self, reads: int, writes: int) -> None:
        self._maximum = {"GET": reads, "POST": writes}
        self._windows: dict[tuple[str, str], _Window] = {}

    def count(self, method: str, route: str, at: float) -> Mapping[str, str]:
        """Return the headers that tell the caller where it stands; raise Refusal once the window is full."""
        window = self._windows.get((method, route))
        if window is None or at >= window.ends_at:
            window = self._windows[method, route] = _Window(at + WINDOW_SECONDS)
        maximum, reset = self._maximum[method], math.ceil(window.ends_at - at)
        if window.count == maximum:
            raise rate_limited(reset, maximum)
        window.count += 1
        return _headers(maximum, maximum - window.count, reset)


def rate_limited(retry_after_seconds: int, maximum: int = 90) -> Refusal:
    return Refusal(
        429,
        f"Rate limit exceeded. Please try again in {retry_after_seconds} seconds",
        headers={**_headers(maximum, 0, retry_after_seconds), "retry-after": str(retry_after_seconds)},
    )


def rate_limited_without_headers() -> Refusal:
    """A 429 that does not come from the limiter: backend/src/services/identity-ua/identity-ua-service.ts."""
    return Refusal(429, "Failed to acquire lock: rate limit exceeded")


def _headers(maximum: int, remaining: int, reset: int) -> Mapping[str, str]:
    return {
        "x-ratelimit-limit": str(maximum),
        "x-ratelimit-remaining": str(remaining),
        "x-ratelimit-reset": str(reset),
    }
