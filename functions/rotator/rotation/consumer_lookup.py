"""Asks CloudTrail who uses an access key. It only informs a person: no decision depends on it, or on its failure."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from rotator.model import GuardOptions
from rotator.rotation.consumers import MAX_CONSUMERS, distinct_consumers
from rotator.rotation.key_policy import LastUse
from rotator.text import clip

if TYPE_CHECKING:
    from rotator.clock import Clock

# One page takes 0.5 + 2.5 = 3 s at most. A second one is read only after a page that took less than half a second.
LOOKUP_CONFIG = Config(connect_timeout=0.5, read_timeout=2.5, retries={"mode": "standard", "total_max_attempts": 1})
_SECOND_PAGE_WITHIN_SECONDS = 0.5
_PAGE_SIZE = 50  # the largest

# CloudTrail answers two calls a second for an account and region, and others need them too:
# https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
_PAUSE_AFTER_FAILURE_SECONDS = 60.0

_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}")  # it becomes part of a host's name; IAM also writes N/A


class CloudTrailClient(Protocol):
    """The part of botocore's client that is used."""

    def lookup_events(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - botocore's
        """Return a page of events, the newest first."""


OpenCloudTrail = Callable[[str | None, str | None, str], CloudTrailClient]


class ConsumerLookup:
    """Looks up consumers. `open_cloudtrail` makes a client as a role with its external id, in a region. Thread-safe."""

    def __init__(self, open_cloudtrail: OpenCloudTrail, clock: "Clock") -> None:
        self._open_cloudtrail = open_cloudtrail
        self._clock = clock
        self._failures: dict[tuple[str | None, str], tuple[float, str]] = {}

    def __call__(self, guard: GuardOptions, key_id: str, last_use: LastUse, since: datetime) -> str:
        """Name the consumers that called AWS with this key, or say why they are unknown. Raises nothing."""
        if not _REGION.fullmatch(last_use.region):
            return _unknown("IAM names no region for the last use")
        place = (guard.role, last_use.region)
        until, why = self._failures.get(place, (0.0, ""))
        if self._clock.time() < until:
            return _unknown(why)
        try:
            cloudtrail = self._open_cloudtrail(guard.role, guard.external_id, last_use.region)
            consumers = distinct_consumers(self._events(cloudtrail, key_id, since))
        except (BotoCoreError, ClientError, ValueError) as error:  # ValueError for an invalid host
            why = clip(str(error)).rstrip(".")
            self._failures[place] = (self._clock.time() + _PAUSE_AFTER_FAILURE_SECONDS, why)
            return _unknown(why)
        if not consumers:
            return _unknown(
                f"it has no management event of this key in {last_use.region} since then. Events arrive some minutes"
                " late, and data events, such as reads of S3 and DynamoDB, are missing"
            )
        return "CloudTrail names " + "; and ".join(map(str, consumers))

    def _events(self, cloudtrail: CloudTrailClient, key_id: str, since: datetime) -> list[str]:
        """The events of one page, or of two if the first one has too few callers and was fast."""
        started = self._clock.monotonic()
        wanted: dict[str, Any] = {
            "LookupAttributes": [{"AttributeKey": "AccessKeyId", "AttributeValue": key_id}],
            "StartTime": since,
            "MaxResults": _PAGE_SIZE,
        }
        page = cloudtrail.lookup_events(**wanted)
        events = [event["CloudTrailEvent"] for event in page["Events"]]
        is_fast = self._clock.monotonic() - started < _SECOND_PAGE_WITHIN_SECONDS
        if "NextToken" in page and is_fast and len(distinct_consumers(events)) < MAX_CONSUMERS:
            page = cloudtrail.lookup_events(**wanted, NextToken=page["NextToken"])
            events += [event["CloudTrailEvent"] for event in page["Events"]]
        return events


def _unknown(why: str) -> str:
    return f"CloudTrail does not show who: {why}"
