"""Valid values that tests vary: requests, their messages and deliveries, a certificate."""

import json
from datetime import timedelta

from rotator.model import MappedRotation
from rotator.rotation.delivery import Delivery
from rotator.rotation.request import RotationRequest
from tests.unit.fakes import NOW, rotation_id

# Nobody has its key.
OWN_AUTHORITY = """\
-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUM/0/82VNmdj6KgPevM339zEY6NowCgYIKoZIzj0EAwIw
IjEgMB4GA1UEAwwXQW4gYXV0aG9yaXR5IG9mIG91ciBvd24wIBcNMjYxMTIyMDcx
NTM0WhgPMjEyNjEwMjkwNzE1MzRaMCIxIDAeBgNVBAMMF0FuIGF1dGhvcml0eSBv
ZiBvdXIgb3duMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEnIq8py4lTGevRXJk
01eMMgIJoY3Gl1OHsXr8AJ0vQOYF/pGdEXqjyHiM1QKRmJKgnRLiMxoOsGMTtjLr
sCUYeKNTMFEwHQYDVR0OBBYEFGB+4Md+vsGX+X1xBiQ2LruDHoOyMB8GA1UdIwQY
MBaAFGB+4Md+vsGX+X1xBiQ2LruDHoOyMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZI
zj0EAwIDSAAwRQIgYi52FsreDEYIb1SJhlAB8si1u8s6n4dcN581WcdKaA8CIQDh
YoHjnVf2+EZ4Gn3t9W0566lN+elsNYotEfn0jQyIlA==
-----END CERTIFICATE-----
"""


class Missing:
    def __repr__(self) -> str:
        return "missing"


MISSING = Missing()
REQUEST = RotationRequest(MappedRotation(rotation_id(1)), "weekly", NOW, "correlation")


def message(field: str = "", value: object = MISSING) -> str:
    """A valid message, but for one field."""
    fields = json.loads(REQUEST.to_message()) | {field: value}
    return json.dumps({name: value for name, value in fields.items() if value is not MISSING})


def body(group: str, number: int = 1) -> str:
    """The request of the `number`th occurrence."""
    occurred_at = NOW - timedelta(days=1) + timedelta(hours=number)
    return RotationRequest(MappedRotation(group), "weekly", occurred_at, f"correlation-{number}").to_message()


def delivery(
    group: str,
    number: int = 1,
    *,
    receive_count: int = 1,
    text: str | None = None,
    age_seconds: float = 0.0,
) -> Delivery:
    message = f"{group[-1]}{number}"
    return Delivery(
        message_id=message,
        receipt_handle=f"receipt-{message}",
        body=text or body(group, number),
        group=group,
        receive_count=receive_count,
        first_received_at=NOW.timestamp() - age_seconds,
    )
