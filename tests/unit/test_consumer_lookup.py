"""The consumers of an access key, as CloudTrail's events and its failures name them."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from rotator.model import GuardOptions
from rotator.rotation.consumer_lookup import ConsumerLookup
from rotator.rotation.consumers import distinct_consumers
from rotator.rotation.key_policy import LastUse
from tests.component.iam import refused
from tests.unit.fakes import NOW, VirtualClock

ROLE = GuardOptions("arn:aws:iam::210987654321:role/key-guard", external_id="external")
LAST_USE = LastUse(NOW, "sts", "eu-central-1")
SINCE = NOW - timedelta(hours=6)


def event(**fields: object) -> str:
    return json.dumps(
        {
            "userAgent": "aws-cli/2.15.0",
            "sourceIPAddress": "192.0.2.7",
            "eventSource": "sts.amazonaws.com",
            "eventName": "GetCallerIdentity",
            "eventTime": "2026-11-22T04:58:00Z",
            **fields,
        }
    )


class FakeCloudTrail:
    """Answers each call with the next page, or raises it. A page takes `seconds`."""

    def __init__(self, *pages: "list[str] | Exception", seconds: float = 0.1) -> None:
        self.pages = pages
        self.seconds = seconds
        self.clock = VirtualClock()
        self.opened: list[tuple[str | None, str | None, str]] = []
        self.asked: list[dict[str, Any]] = []
        self.lookup = ConsumerLookup(self.open, self.clock)

    def open(self, role: str | None, external_id: str | None, region: str) -> "FakeCloudTrail":
        self.opened.append((role, external_id, region))
        return self

    def lookup_events(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401 - botocore's
        page = self.pages[len(self.asked)]
        self.asked.append(request)
        self.clock.sleep(self.seconds)
        if isinstance(page, Exception):
            raise page
        following = {"NextToken": f"after {len(self.asked)}"} if len(self.asked) < len(self.pages) else {}
        return {"Events": [{"CloudTrailEvent": text} for text in page], **following}

    def ask(self, guard: GuardOptions = GuardOptions(), last_use: LastUse = LAST_USE) -> str:  # noqa: B008 - a value
        return self.lookup(guard, "AKIAPREVIOUS", last_use, SINCE)


def test_a_consumer_is_named_by_its_agent_source_and_latest_call() -> None:
    events = [event(errorCode="AccessDenied"), event(eventTime="2026-11-22T04:00:00Z")]

    (consumer,) = distinct_consumers(events)

    assert str(consumer) == (
        "'aws-cli/2.15.0' from 192.0.2.7, last at 2026-11-22T04:58:00Z for sts:GetCallerIdentity, which failed with"
        " AccessDenied"
    )


def test_a_vpc_endpoint_is_the_source_of_a_call_through_it() -> None:
    (consumer,) = distinct_consumers([event(vpcEndpointId="vpce-0a1b")])

    assert consumer.source == "vpce-0a1b"


def test_only_the_three_latest_distinct_consumers_are_named() -> None:
    events = [event(sourceIPAddress=address) for address in ("a", "b", "a", "c", "d")]

    assert [consumer.source for consumer in distinct_consumers(events)] == ["a", "b", "c"]


@pytest.mark.parametrize("broken", ["", "{", "[]", "null", "{}", '{"eventSource": null}', "[" * 100_000])
def test_what_is_not_an_event_is_skipped(broken: str) -> None:
    assert len(distinct_consumers([broken, event()])) == 1


@given(st.text(), st.text(), st.text())
def test_no_text_of_a_caller_breaks_the_line_or_makes_it_long(agent: str, source: str, error: str) -> None:
    for consumer in distinct_consumers([event(userAgent=agent, sourceIPAddress=source, errorCode=error)]):
        assert str(consumer).isprintable()
        assert len(str(consumer)) < 600


def test_a_terminal_sequence_in_a_user_agent_is_shown_and_not_sent() -> None:
    (consumer,) = distinct_consumers([event(userAgent="curl\x1b[2J\n\u202e" + "x" * 1000)])

    assert str(consumer).startswith(r"'curl\x1b[2J\n\u202exxx")


def test_the_lookup_asks_for_the_key_in_the_last_uses_region_as_the_guards_role() -> None:
    cloudtrail = FakeCloudTrail([event()])

    assert cloudtrail.ask(ROLE).startswith("CloudTrail names 'aws-cli/2.15.0' from 192.0.2.7")

    assert cloudtrail.opened == [(ROLE.role, "external", "eu-central-1")]
    assert cloudtrail.asked == [
        {
            "LookupAttributes": [{"AttributeKey": "AccessKeyId", "AttributeValue": "AKIAPREVIOUS"}],
            "StartTime": SINCE,
            "MaxResults": 50,
        }
    ]


@pytest.mark.parametrize(("seconds", "pages"), [(0.4, 2), (0.6, 1)], ids=["fast", "slow"])
def test_a_second_page_is_read_only_after_a_fast_first_one(seconds: float, pages: int) -> None:
    cloudtrail = FakeCloudTrail([event()], [event()], [event()], seconds=seconds)

    cloudtrail.ask()

    assert len(cloudtrail.asked) == pages


def test_no_second_page_is_read_once_three_consumers_are_known() -> None:
    cloudtrail = FakeCloudTrail([event(sourceIPAddress=address) for address in "abc"], [event()])

    cloudtrail.ask()

    assert len(cloudtrail.asked) == 1


def failures() -> Iterator[ClientError | ConnectTimeoutError]:
    yield refused("AccessDeniedException", "not authorized to perform: cloudtrail:LookupEvents", "LookupEvents")
    yield refused("ThrottlingException", "Rate exceeded", "LookupEvents")
    yield ConnectTimeoutError(endpoint_url="https://cloudtrail.eu-central-1.amazonaws.com/")


@pytest.mark.parametrize("failure", list(failures()), ids=lambda failure: type(failure).__name__)
def test_a_failed_lookup_is_reported_and_not_repeated_for_a_minute(failure: Exception) -> None:
    cloudtrail = FakeCloudTrail(failure, [event()])

    first, second = cloudtrail.ask(), cloudtrail.ask()

    assert first == second == f"CloudTrail does not show who: {failure}"
    assert len(cloudtrail.asked) == 1

    cloudtrail.clock.sleep(60)

    assert cloudtrail.ask().startswith("CloudTrail names ")


def test_an_empty_answer_says_what_cloudtrail_does_not_have() -> None:
    assert "data events, such as reads of S3 and DynamoDB, are missing" in FakeCloudTrail([]).ask()


@pytest.mark.parametrize("region", ["N/A", "", "eu-central-1.evil.example/", "aws-global"])
def test_no_region_means_no_lookup(region: str) -> None:
    cloudtrail = FakeCloudTrail()

    answer = cloudtrail.ask(last_use=LastUse(NOW, "iam", region))

    assert answer == "CloudTrail does not show who: IAM names no region for the last use"
    assert cloudtrail.opened == []
