"""IAM as AWS keeps it, in front of the embedded one, which makes every key today and knows of no use of it."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import httpx

from tests.sandbox.accounts import iam_of
from tests.sandbox.aws_calls import operation, signer
from tests.sandbox.deployment import Deployment
from tests.sandbox.embedded_aws import EmbeddedAws
from tests.sandbox.proxy import Layer
from tests.sandbox.standin.keys import AccessKey

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

GUARDED_FUNCTIONS = {"DispatchFunction", "RotateFunction", "HookFunction", "AuditFunction", "RetireFunction"}

NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"
REQUEST_ID = "00000000-0000-0000-0000-000000000000"

LISTED_KEY = re.compile(r"<AccessKeyId>(?P<id>\w+)</AccessKeyId>.*?<CreateDate>(?P<date>[^<]+)</CreateDate>", re.DOTALL)
NOT_ALLOWED = re.compile(r"User: (?P<caller>\S+) is not authorized .* because no identity-based policy allows")
SESSION = re.compile(r":sts::(?P<account>\d{12}):assumed-role/(?P<role>[^/]+)/.+")
ROOT_KEY = re.compile(r"\d{12}")  # of the account with this id


@dataclass(frozen=True)
class KeyUse:
    at: datetime
    service: str
    region: str


class IamFront(Layer):
    """Corrects the answers of the embedded one to those of AWS:

    - a key was created at the date that it was given here, and used as it was said here; all else is as it is;
    - the keys of a user that does not exist are an error, and no empty list;
    - GetAccessKeyLastUsed names no user, so the embedded one judges it by `*` and denies whoever may look at some
      users' keys only. AWS judges it by the user that has the key. Where nothing is missing but a policy that allows
      it, the embedded one's own policy simulator is asked about that user.

    The embedded one is asked first, so that it verifies who is asking. It is several accounts; each sees its own users.
    """

    def __init__(self, below: httpx.AsyncBaseTransport, aws: EmbeddedAws) -> None:
        super().__init__(below)
        self._sts = aws.client("sts")
        self._iam_of = cache(partial(iam_of, aws, aws.endpoint))
        self._created: dict[str, datetime] = {}
        self._uses: dict[str, KeyUse] = {}
        self._is_down = False

    def date(self, key_id: str, created_at: datetime) -> None:
        """Let a key have been created then, to the second."""
        self._created[key_id] = created_at

    def use(self, key_id: str, at: datetime, service: str, region: str) -> None:
        """Let the last use of a key have been this one."""
        self._uses[key_id] = KeyUse(at, service, region)

    def age(self, key: AccessKey, by: timedelta) -> None:
        """Let a key, as it is listed now, be that much older, and its last use that much longer ago."""
        self.date(key.id, key.created_at - by)
        if use := self._uses.get(key.id):
            self._uses[key.id] = replace(use, at=use.at - by)

    @contextmanager
    def down(self) -> Iterator[None]:
        """Let IAM refuse every call of everybody, for as long as the block lasts."""
        self._is_down = True
        try:
            yield
        finally:
            self._is_down = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._is_down:
            return _refusal(503, "ServiceUnavailable", "Service is unavailable. Please try again later.")
        answer = await super().handle_async_request(request)
        match operation(request):
            case "iam:ListAccessKeys" if answer.is_success:
                return await asyncio.to_thread(self._listed, request, answer)
            case "iam:GetAccessKeyLastUsed":
                return await asyncio.to_thread(self._last_used, request, answer)
            case _:
                return answer

    def _listed(self, request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        if LISTED_KEY.search(answer.text):
            return _answer(200, LISTED_KEY.sub(self._dated, answer.text))
        iam, user = self._iam_of(self._account(request)), _parameter(request, "UserName")
        try:
            iam.get_user(UserName=user)
        except iam.exceptions.NoSuchEntityException as error:
            return _refusal(404, "NoSuchEntity", error.response["Error"]["Message"])
        return answer

    def _dated(self, key: re.Match[str]) -> str:
        created_at = self._created.get(key["id"])
        return key[0].replace(key["date"], _text(created_at)) if created_at else key[0]

    def _last_used(self, request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        denied = NOT_ALLOWED.search(answer.text)
        if answer.is_error and not denied:
            return answer
        iam, key_id = self._iam_of(self._account(request)), _parameter(request, "AccessKeyId")
        try:
            user = iam.get_access_key_last_used(AccessKeyId=key_id)["UserName"]
        except iam.exceptions.NoSuchEntityException:
            return answer
        if denied and not _may_look(iam, denied["caller"], user):
            return answer
        return _answer(200, _last_use(user, self._uses.get(key_id)))

    def _account(self, request: httpx.Request) -> str:
        """Return the account that a request is made in: that of who signed it."""
        key_id = signer(request)
        if ROOT_KEY.fullmatch(key_id):
            return key_id
        return str(self._sts.get_access_key_info(AccessKeyId=key_id)["Account"])


def lead_to_iam(deployment: Deployment, url: str) -> None:
    """Let the functions that look at keys reach IAM there; they start their next invocations in new processes."""
    functions = deployment.resources("AWS::Lambda::Function")
    for name in (functions[each] for each in GUARDED_FUNCTIONS & functions.keys()):
        variables = deployment.lambda_.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        deployment.lambda_.update_function_configuration(
            FunctionName=name, Environment={"Variables": {**variables, "AWS_ENDPOINT_URL_IAM": url}}
        )


def _may_look(iam: "IAMClient", caller: str, user: str) -> bool:
    """Return what the policies of a caller, a user or a role's session, say about the user's last uses."""
    (result,) = iam.simulate_principal_policy(
        PolicySourceArn=SESSION.sub(r":iam::\g<account>:role/\g<role>", caller),
        ActionNames=["iam:GetAccessKeyLastUsed"],
        ResourceArns=[iam.get_user(UserName=user)["User"]["Arn"]],
    )["EvaluationResults"]
    return result["EvalDecision"] == "allowed"


def _parameter(request: httpx.Request, name: str) -> str:
    return parse_qs(request.content.decode())[name][0]


def _text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _last_use(user: str, use: KeyUse | None) -> str:
    date = f"<LastUsedDate>{_text(use.at)}</LastUsedDate>" if use else ""
    service, region = (use.service, use.region) if use else ("N/A", "N/A")
    return (
        f'<GetAccessKeyLastUsedResponse xmlns="{NAMESPACE}"><GetAccessKeyLastUsedResult><UserName>{user}</UserName>'
        f"<AccessKeyLastUsed>{date}<ServiceName>{service}</ServiceName><Region>{region}</Region></AccessKeyLastUsed>"
        f"</GetAccessKeyLastUsedResult><ResponseMetadata><RequestId>{REQUEST_ID}</RequestId></ResponseMetadata>"
        "</GetAccessKeyLastUsedResponse>"
    )


def _refusal(status: int, code: str, text: str) -> httpx.Response:
    fault = "Sender" if status < 500 else "Receiver"
    return _answer(
        status,
        f'<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>{fault}</Type><Code>{code}</Code><Message>{text}</Message>'
        f"</Error><RequestId>{REQUEST_ID}</RequestId></ErrorResponse>",
    )


def _answer(status: int, document: str) -> httpx.Response:
    return httpx.Response(status, headers={"content-type": "text/xml"}, text=document)
