"""As teams run it: selectors, other types, custom events, direct invocation, a private network."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.timestamps import format_timestamp
from tests.e2e.assertions import outcomes_of, posts_for, scheduled
from tests.sandbox.authority import Authority
from tests.sandbox.deployment import Deployment, deploy, wait_until
from tests.sandbox.iam_front import lead_to_iam
from tests.sandbox.sandbox import LONG_AGO, Sandbox
from tests.sandbox.standin.rotations import Rotation
from tests.sandbox.standin.server import serve

PAYMENTS = "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f0001"
NewRotation = Callable[..., Rotation]


def test_a_selector_rotates_its_25_rotations_and_no_other(deployed: Sandbox, new_rotation: NewRotation) -> None:
    # given 25 rotations that match, and one neighbour for each way of not matching
    where = {"project_id": PAYMENTS, "environment": "prod", "path": "/payments"}
    matching = [new_rotation(**where) for _ in range(25)]
    neighbours = [
        new_rotation(**where | {"project_id": "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f0002"}),
        new_rotation(**where | {"environment": "dev"}),
        new_rotation(**where | {"path": "/payments/archive"}),
        new_rotation(**where | {"rotation_type": "postgres-credentials"}),
    ]
    deployed.stack.put_map({"triggers": {"weekly": {"project": PAYMENTS, "environment": "prod", "path": "/payments"}}})
    lists = sum("projectId=" in entry.path for entry in deployed.infisical.requests)

    deployed.stack.send(scheduled())

    ends = outcomes_of(deployed, *matching)
    assert [end["outcome"] for end in ends] == ["rotated"] * 25
    assert {posts_for(deployed, rotation) for rotation in matching} == {1}
    assert {posts_for(deployed, rotation) for rotation in neighbours} == {0}
    assert sum("projectId=" in entry.path for entry in deployed.infisical.requests) == lists + 1


def test_a_selector_without_matches_is_refused_and_kept(deployed: Sandbox) -> None:
    deployed.stack.put_map({"triggers": {"weekly": {"project": "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f0009"}}})

    answer = deployed.stack.invoke(scheduled())

    assert answer["errorType"]
    assert "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f0009" in answer["errorMessage"]


@pytest.mark.parametrize("rotation_type", ["postgres-credentials", "mysql-credentials"])
def test_other_types_of_rotation_have_the_same_verbs(
    deployed: Sandbox, new_rotation: NewRotation, rotation_type: str
) -> None:
    rotation = new_rotation(rotation_type=rotation_type)
    before = rotation.slots[rotation.active_index]
    deployed.stack.put_map({"triggers": {"weekly": {"id": rotation.id, "type": rotation_type}}})

    deployed.stack.send(scheduled())

    (end,) = outcomes_of(deployed, rotation)
    assert (end["outcome"], end["rotation_type"]) == ("rotated", rotation_type)
    assert rotation.slots[rotation.active_index] != before
    # Without key guard the message stays until no replica lags any more. These tests do not wait for that.
    deployed.stack.sqs.purge_queue(QueueUrl=deployed.stack.outputs["RotationRequestsUrl"])


def test_the_wrong_type_is_a_clear_no(deployed: Sandbox, rotation: Rotation) -> None:
    deployed.stack.put_map({"triggers": {"weekly": {"id": rotation.id, "type": "postgres-credentials"}}})

    deployed.stack.send(scheduled())

    (end,) = outcomes_of(deployed, rotation)
    assert (end["outcome"], end["reason"]) == ("failed", "BadRequest")
    assert "PostgreSQL" in end["explanation"]
    (message,) = deployed.stack.take("FailedRotationsUrl")
    assert message["rotation_id"] == rotation.id


def test_custom_events_rotate_once_they_are_switched_on(deployed: Sandbox, rotation: Rotation) -> None:
    events = deployed.stack.events
    name = deployed.stack.resources("AWS::Events::Rule")["DispatchFunctionCustomEvents"].rsplit("|", 1)[-1]
    assert events.describe_rule(Name=name)["State"] == "DISABLED"
    events.enable_rule(Name=name)
    try:
        answer = events.put_events(
            Entries=[
                {
                    "Source": "rotations",
                    "DetailType": "Rotation Requested",
                    "Detail": json.dumps({"trigger": "weekly"}),
                }
            ]
        )
        assert answer["FailedEntryCount"] == 0
        (end,) = outcomes_of(deployed, rotation)
    finally:
        events.disable_rule(Name=name)

    assert (end["outcome"], end["trigger"]) == ("rotated", "weekly")


def test_the_rules_dead_letters_are_let_into_the_queue(deployed: Sandbox) -> None:
    stack = deployed.stack
    url = stack.outputs["UndeliveredTriggersUrl"]
    attributes = stack.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn", "Policy"])["Attributes"]
    (statement,) = json.loads(attributes["Policy"])["Statement"]
    rules_by_id = stack.resources("AWS::Events::Rule").items()
    names = [name.rsplit("|", 1)[-1] for logical, name in rules_by_id if logical.startswith("DispatchFunction")]
    rules = [stack.events.describe_rule(Name=name) for name in names]

    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert (statement["Action"], statement["Resource"]) == ("sqs:SendMessage", attributes["QueueArn"])
    assert set(statement["Condition"]["ArnEquals"]["aws:SourceArn"]) == {rule["Arn"] for rule in rules}
    for name in names:
        (target,) = stack.events.list_targets_by_rule(Rule=name)["Targets"]
        assert target["DeadLetterConfig"]["Arn"] == attributes["QueueArn"]


def test_the_only_field_rotates_the_chosen_rotations(deployed: Sandbox, new_rotation: NewRotation) -> None:
    chosen, other = new_rotation(), new_rotation()
    deployed.stack.put_map({"triggers": {"weekly": [chosen.id, other.id]}})

    assert deployed.stack.invoke({"trigger": "weekly", "only": [chosen.id]})["requests"] == 1

    assert [end["outcome"] for end in outcomes_of(deployed, chosen)] == ["rotated"]
    assert posts_for(deployed, other) == 0


def test_the_only_field_cannot_choose_beyond_the_trigger(
    deployed: Sandbox, rotation: Rotation, new_rotation: NewRotation
) -> None:
    foreign = new_rotation()

    answer = deployed.stack.invoke({"trigger": "weekly", "only": [foreign.id]})

    assert foreign.id in answer["errorMessage"]
    assert posts_for(deployed, rotation) == posts_for(deployed, foreign) == 0


def test_force_rotates_within_the_minimum_interval_and_once(deployed: Sandbox, new_rotation: NewRotation) -> None:
    half_an_hour_ago = datetime.now(UTC) - timedelta(minutes=30)
    rotation = new_rotation(last_rotated_at=half_an_hour_ago)
    deployed.stack.put_map({"triggers": {"weekly": rotation.id}})
    forced = {"trigger": "weekly", "force": True, "occurredAt": format_timestamp(datetime.now(UTC))}

    refused = deployed.stack.invoke({"trigger": "weekly", "force": True})
    assert "occurredAt" in refused["errorMessage"]
    deployed.stack.invoke({"trigger": "weekly"})
    assert [end["reason"] for end in outcomes_of(deployed, rotation)] == ["TooSoon"]
    deployed.stack.invoke(forced)
    outcomes_of(deployed, rotation, count=2)
    deployed.stack.invoke(forced)

    wait_until("an empty queue", lambda: deployed.stack.depth("RotationRequestsUrl") == 0)
    assert posts_for(deployed, rotation) == 1


def test_a_dry_run_reports_every_kind_of_entry_and_rotates_none(deployed: Sandbox, new_rotation: NewRotation) -> None:
    due, fresh = new_rotation(), new_rotation(last_rotated_at=datetime.now(UTC))
    database = new_rotation(rotation_type="postgres-credentials")
    patient = new_rotation(last_rotated_at=datetime.now(UTC) - timedelta(days=2))
    selected = [new_rotation(project_id="0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f0003") for _ in range(3)]
    unknown = "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f00ff"
    entries = [
        due.id,
        fresh.id,
        {"id": database.id, "type": "postgres-credentials"},
        {"id": patient.id, "minimumInterval": "6 days"},
        {"project": "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f0003", "environment": "dev", "path": "/"},
        unknown,
    ]
    deployed.stack.put_map({"triggers": {"weekly": entries}})

    answer = deployed.stack.invoke({"trigger": "weekly", "dryRun": True})

    told = {each["rotation_id"]: (each["decision"], each["reason"]) for each in answer["rotations"]}
    assert told == {
        due.id: ("rotate", "Due"),
        fresh.id: ("skip", "TooSoon"),
        database.id: ("rotate", "Due"),
        patient.id: ("skip", "TooSoon"),
        **{each.id: ("rotate", "Due") for each in selected},
        unknown: ("unreadable", "NotFound"),
    }
    assert {posts_for(deployed, each) for each in (due, fresh, database, patient, *selected)} == {0}
    assert deployed.stack.depth("RotationRequestsUrl") == 0


@pytest.fixture(scope="module")
def private(deployed: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A second stack in the same account: Universal Auth, an Infisical with a private certificate, in a VPC."""
    authority = Authority()
    certificate = tmp_path_factory.mktemp("tls") / "infisical.pem"
    certificate.write_bytes(authority.server("127.0.0.1"))
    aws = deployed.stack.aws
    secret = aws.client("secretsmanager").create_secret(
        Name="infisical-machine-identity",
        # The line end is what pasting from a terminal leaves behind.
        SecretString=json.dumps(
            {"clientId": deployed.identity.client_id, "clientSecret": f"{deployed.identity.client_secret}\n"}
        ),
    )
    aws.client("ssm").put_parameter(Name="/private/ca", Value=authority.pem, Type="String")
    with serve(deployed.infisical, certificate) as url:
        stack = deploy(
            aws,
            stack="private",
            InfisicalUrl=f"{url}/api/",  # as many write it
            MachineIdentitySecretArn=secret["ARN"],
            RotationMapParameter="/private/map",
            CaCertificateParameter="/private/ca",
            VpcSubnetIds="subnet-1,subnet-2",
            VpcSecurityGroupIds="sg-1",
        )
        lead_to_iam(stack, deployed.iam_url)
        yield stack


def test_a_private_infisical_is_trusted_by_its_own_authority_with_universal_auth(
    deployed: Sandbox, private: Deployment, new_rotation: NewRotation
) -> None:
    rotation = new_rotation()
    private.put_map({"triggers": {"weekly": rotation.id}})

    private.send(scheduled())

    ends = wait_until(
        "the rotation", lambda: [end for end in private.outcomes() if end.get("rotation_id") == rotation.id]
    )
    assert [end["outcome"] for end in ends] == ["rotated"]
    assert rotation.last_rotated_at > LONG_AGO.timestamp()
    assert posts_for(deployed, rotation) == 1


def test_only_functions_in_a_vpc_may_join_one(deployed: Sandbox, private: Deployment) -> None:
    def may_join(stack: Deployment) -> set[bool]:
        roles = stack.resources("AWS::IAM::Role")
        return {
            any(statement["Sid"] == "JoinTheVpc" for _, statements in stack.policies(role) for statement in statements)
            for role in (roles["DispatchRole"], roles["RotateRole"])
        }

    assert may_join(private) == {True}
    assert may_join(deployed.stack) == {False}


def test_two_stacks_do_not_see_each_other(deployed: Sandbox, private: Deployment) -> None:
    for kind in ("AWS::Lambda::Function", "AWS::SQS::Queue", "AWS::IAM::Role", "AWS::Scheduler::Schedule"):
        ours, theirs = (set(stack.resources(kind).values()) for stack in (deployed.stack, private))
        assert ours
        assert not ours & theirs


def test_a_certificate_of_an_unknown_authority_is_refused(
    deployed: Sandbox, private: Deployment, new_rotation: NewRotation, tmp_path: Path
) -> None:
    rotation = new_rotation()
    (tmp_path / "stranger.pem").write_bytes(Authority().server("127.0.0.1"))
    private.put_map({"triggers": {"weekly": {"project": rotation.project_id}}})
    function = private.resources("AWS::Lambda::Function")["DispatchFunction"]
    environment = private.lambda_.get_function_configuration(FunctionName=function)["Environment"]["Variables"]

    with serve(deployed.infisical, tmp_path / "stranger.pem") as url:
        private.lambda_.update_function_configuration(
            FunctionName=function, Environment={"Variables": {**environment, "INFISICAL_URL": url}}
        )
        answer = private.invoke(scheduled())
        private.lambda_.update_function_configuration(FunctionName=function, Environment={"Variables": environment})

    assert "certificate verify failed" in answer["errorMessage"].lower()
