"""What a person sees of the command: what the key is, each step, and the questions."""

import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infisical_rotation_triggers.leaked.investigation import Investigation, NotOwnedError, find_owner, find_user
from infisical_rotation_triggers.leaked.plan import Consent, Facts, Status, describe_kind, describe_use
from infisical_rotation_triggers.leaked.steps import Response
from infisical_rotation_triggers.one_line import one_line
from infisical_rotation_triggers.preflight.functions import CLIENT_CONFIG, DeployedFunctions, OutdatedError
from infisical_rotation_triggers.preflight.stack import PreflightError, find_stack, read_map
from rotator.model import GuardOptions
from rotator.rotation.consumer_lookup import LOOKUP_CONFIG, ConsumerLookup
from rotator.rotation.key_guard import list_keys
from rotator.timestamps import format_timestamp, from_epoch

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

# CloudTrail's event history reaches back 90 days:
# https://docs.aws.amazon.com/awscloudtrail/latest/userguide/view-cloudtrail-events.html
HISTORY = timedelta(days=90)


def run(key_id: str, stack: str, *, yes: bool, now: str | None) -> int:
    """Run with the caller's own AWS credentials; return the exit status."""
    try:
        return respond(key_id, stack, yes=yes, now=now)
    except NotOwnedError as error:
        print(one_line(f"Nothing was done: {error}"), file=sys.stderr)
        return Status.NOTHING_DONE
    except (PreflightError, OutdatedError, BotoCoreError, ClientError) as error:
        print(one_line(f"{error}. Fix this, then run the command again"), file=sys.stderr)
        return Status.CANNOT_RUN
    except KeyboardInterrupt:
        print("Interrupted. Run this command again: it goes on from here", file=sys.stderr)
        return Status.UNFINISHED


def respond(key_id: str, stack_name: str, *, yes: bool, now: str | None) -> Status:
    """Find everything, say what the key is, and take the steps.

    Raises NotOwnedError, and what find_stack and boto3's clients raise.
    """
    iam = boto3.client("iam")
    user_name = find_user(iam, boto3.client("sts"), key_id)
    if now not in (None, user_name):
        raise NotOwnedError(f"{key_id} belongs to the IAM user {user_name}, and not to {now}")
    stack = find_stack(boto3.client("cloudformation"), stack_name)
    functions = DeployedFunctions(boto3.client("lambda", config=CLIENT_CONFIG), stack.dispatch, stack.hook)
    rotation_map = read_map(boto3.client("ssm"), stack.map_parameter)
    owner = find_owner(functions, rotation_map, user_name, list_keys(iam, user_name))
    investigation = Investigation(iam, functions, time, key_id, user_name, owner)
    for line in describe(investigation.look()):
        say(line)
    consents = {Consent.ROTATE: yes, Consent.DEACTIVATE: now is not None}
    allowed = frozenset(consent for consent, is_given in consents.items() if is_given)
    return Response(investigation, deactivator(iam), say, ask, time, allowed).respond()


def describe(facts: Facts) -> list[str]:
    """What the key is, and who has used it."""
    key, use = facts.key, facts.uses.get(facts.key_id)
    if key is None:
        return []
    used = f"last used {describe_use(use)}" if use else "and never used, as far as IAM shows"
    key_line = (
        f"{key.id} of the IAM user {facts.user_name}: {'active' if key.active else 'inactive'}, created at"
        f" {format_timestamp(key.created_at)}, {used}"
    )
    return [key_line, *([consumers(facts)] if use else []), *describe_kind(facts)]


def consumers(facts: Facts) -> str:
    """Who has used the key, as far as CloudTrail says it in the region of the last use."""

    def open_cloudtrail(_role: str | None, _external_id: str | None, region: str) -> Any:  # noqa: ANN401 - a client
        return boto3.client("cloudtrail", config=LOOKUP_CONFIG, region_name=region)

    look_up = ConsumerLookup(open_cloudtrail, time)
    return look_up(GuardOptions(), facts.key_id, facts.uses[facts.key_id], from_epoch(time.time()) - HISTORY)


def deactivator(iam: "IAMClient") -> Any:  # noqa: ANN401 - what Response takes
    """Return what deactivates a key. One that a rotation has deleted meanwhile is gone, which is as good."""

    def deactivate(user_name: str, key_id: str) -> None:
        try:
            iam.update_access_key(UserName=user_name, AccessKeyId=key_id, Status="Inactive")
        except iam.exceptions.NoSuchEntityException:
            return

    return deactivate


def ask(consent: Consent, facts: Facts) -> bool:
    """Ask for a consent; in a pipe, name the option that gives it."""
    is_name = consent is Consent.DEACTIVATE
    if not sys.stdin.isatty():
        option = f"{consent} {facts.user_name} (make: NOW={facts.user_name})" if is_name else f"{consent} (make: YES=1)"
        say(f"To {'deactivate it now' if is_name else 'rotate'} all the same, add {option}")
        return False
    if is_name:
        answer = input("To deactivate it now all the same, type the user's name. To leave it, press Enter: ")
        return answer.strip() == facts.user_name
    return input("Rotate all the same? [y/N] ").strip().lower() in ("y", "yes")


def say(text: str) -> None:
    """Print one line."""
    print(one_line(text), flush=True)
