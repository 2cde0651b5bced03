"""The ARN of a secret ends in a dash and six random characters, which are no part of its name."""

import re

_SECRET_ARN = re.compile(r"arn:[^:]+:secretsmanager:[^:]+:[0-9]{12}:secret:(?P<name>.+)-[a-zA-Z0-9]{6}")


def secret_name(arn: str) -> str:
    """The name in a secret's full ARN; empty where it is none, so that nothing is guessed from a partial one."""
    match = _SECRET_ARN.fullmatch(arn)
    return match["name"] if match else ""
