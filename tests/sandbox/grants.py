"""What the template grants, one action at a time; and a deployed stack without one of them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.sandbox.deployment import Deployment
from tests.sandbox.translation import translated

# In the embedded AWS's words: who was denied what.
DENIAL = re.compile(r"assumed-role/(?P<role>[^/]+)/\S+ is not authorized to perform: (?P<action>\w+:\w+)")

Statement = dict[str, Any]


@dataclass(frozen=True)
class Grant:
    """`role` is a logical id; `statement` is a Sid or, where a statement has none, the name of its policy."""

    role: str
    statement: str
    action: str

    def __str__(self) -> str:
        return f"{self.role}-{self.statement}-{self.action}"


def roles() -> dict[str, dict[str, Any]]:
    """The properties of every role, by its logical id, that CloudFormation gets: SAM makes some itself."""
    resources = translated()["Resources"]
    return {name: each["Properties"] for name, each in resources.items() if each["Type"] == "AWS::IAM::Role"}


def granted() -> list[Grant]:
    """Everything that the roles may do where every condition of the template holds."""
    return [
        Grant(role, _name(policy["PolicyName"], statement), action)
        for role, properties in roles().items()
        for policy in properties["Policies"]
        for either in policy["PolicyDocument"]["Statement"]
        for statement in [either["Fn::If"][1] if "Fn::If" in either else either]
        for action in _actions(statement)
    ]


@contextmanager
def without(stack: Deployment, grant: Grant) -> Iterator[None]:
    """Take a grant away for as long as the block lasts, and the one beside it that closes a gap of the embedded AWS."""
    role = stack.resources("AWS::IAM::Role")[grant.role]
    policies = list(stack.policies(role))
    for name, statements in policies:
        stack.put_policy(role, name, [kept for each in statements for kept in _without(name, each, grant)])
    try:
        yield
    finally:
        for name, statements in policies:
            stack.put_policy(role, name, statements)


def denials(said: str) -> set[tuple[str, str]]:
    """The roles, by their physical ids, that were denied something, and which actions."""
    return {(each["role"], _plain(each["action"])) for each in DENIAL.finditer(said)}


def _without(policy: str, statement: Statement, grant: Grant) -> list[Statement]:
    if _name(policy, statement) != grant.statement:
        return [statement]
    kept = [action for action in _actions(statement) if _plain(action) != grant.action]
    return [{**statement, "Action": kept}] if kept else []


def _name(policy: str, statement: Statement) -> str:
    return str(statement.get("Sid", policy.removesuffix("-batches")))


def _actions(statement: Statement) -> list[str]:
    action: str | list[str] = statement["Action"]
    return [action] if isinstance(action, str) else action


def _plain(action: str) -> str:
    """AWS's own name of an action; the embedded one has another for batches."""
    return action.removesuffix("Batch")
