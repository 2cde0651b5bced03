"""IAM takes its time: a new access key works only after a while."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx

from tests.sandbox.aws_calls import operation, signer
from tests.sandbox.proxy import Layer

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

REFUSAL = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>\
<Code>InvalidClientTokenId</Code><Message>The security token included in the request is invalid.</Message></Error>\
<RequestId>00000000-0000-0000-0000-000000000000</RequestId></ErrorResponse>"""


class PropagationDelay(Layer):
    """STS does not know the access keys of users that are younger than `seconds`, which may be changed at any time."""

    def __init__(self, below: httpx.AsyncBaseTransport, iam: "IAMClient") -> None:
        super().__init__(below)
        self._iam = iam
        self.seconds = 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.seconds and operation(request) == "sts:GetCallerIdentity":
            created_at = await asyncio.to_thread(self._created_at, signer(request))
            if created_at and datetime.now(UTC) - created_at < timedelta(seconds=self.seconds):
                return httpx.Response(403, headers={"content-type": "text/xml"}, text=REFUSAL)
        return await super().handle_async_request(request)

    def _created_at(self, key_id: str) -> datetime | None:
        """None for what is no key of a user: the session of a role."""
        try:
            user = self._iam.get_access_key_last_used(AccessKeyId=key_id)["UserName"]
        except self._iam.exceptions.NoSuchEntityException:
            return None
        keys = self._iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
        return next((key["CreateDate"] for key in keys if key["AccessKeyId"] == key_id), None)
