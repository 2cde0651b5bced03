"""Calls of AWS in the name of a deployed role: what one of its services does, or a thief of its credentials."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from botocore.config import Config
from botocore.exceptions import ClientError

from tests.sandbox.sandbox import Sandbox

ONCE = Config(retries={"total_max_attempts": 1})


class Call:
    """A call of a service's method. In the texts of its arguments, {words} stand for what is known once it is made."""

    def __init__(self, service: str, method: str, **arguments: Any) -> None:  # noqa: ANN401 - boto3's own
        self.service = service
        self.method = method
        self._arguments = arguments

    def __repr__(self) -> str:
        texts = (str(value) for value in self._arguments.values())
        return f"{self.service}.{self.method}({', '.join(texts)})"

    def arguments(self, words: Mapping[str, str]) -> dict[str, Any]:
        return {
            name: value.format_map(words) if isinstance(value, str) else value
            for name, value in self._arguments.items()
        }


class RoleCalls:
    """Makes calls with sessions of a stack's roles; who deployed the stack may assume them, unlike on AWS."""

    def __init__(self, stage: Sandbox, words: Mapping[str, str]) -> None:
        self._aws = stage.stack.aws
        self._iam_url = stage.iam_url
        self._roles = stage.stack.resources("AWS::IAM::Role")
        self._words = words
        self._session: Any = self._aws.session()
        self._credentials = cache(self._assume)
        self._client = cache(self._make_client)

    def say(self, role: str, call: Call) -> str:
        """Make a call as a role, by its logical id; return the error's text, nothing where there is none."""
        words = {**self._words, "own_role": self._roles[role]}
        try:
            getattr(self._client(role, call.service), call.method)(**call.arguments(words))
        except ClientError as error:
            return str(error)
        return ""

    def _assume(self, role: str) -> dict[str, str]:
        iam = self._aws.client("iam")
        arn = iam.get_role(RoleName=self._roles[role])["Role"]["Arn"]
        credentials = self._aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        return {
            "aws_access_key_id": credentials["AccessKeyId"],
            "aws_secret_access_key": credentials["SecretAccessKey"],
            "aws_session_token": credentials["SessionToken"],
        }

    def _make_client(self, role: str, service: Any) -> Any:  # noqa: ANN401 - one of boto3's many
        url = self._iam_url if service == "iam" else self._aws.endpoint
        return self._session.client(service, endpoint_url=url, config=ONCE, **self._credentials(role))
