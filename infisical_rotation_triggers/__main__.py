"""The command `infisical-rotation`. Each subcommand imports what it needs: a check of a map starts without boto3."""

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

DISTRIBUTION = "infisical-rotation-triggers"

stack_option = click.option("--stack", required=True, metavar="NAME", help="The deployed CloudFormation stack.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def _version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "of a clone"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(_version(), prog_name="infisical-rotation")
def cli() -> None:
    """Tools for a deployed stack of infisical-rotation-triggers.

    AWS credentials and the region are found as the AWS CLI finds them: AWS_PROFILE, AWS_REGION and so on.
    """
    # The AWS CLI reads it, and boto3 does not: https://docs.aws.amazon.com/sdkref/latest/guide/feature-region.html
    if region := os.environ.get("AWS_REGION"):
        os.environ["AWS_DEFAULT_REGION"] = region


@cli.command()
@stack_option
@click.option("--test-alarm", is_flag=True, help="Also publish a test message to the topic of the alarms.")
@json_option
def preflight(stack: str, *, test_alarm: bool, as_json: bool) -> None:
    """Check that every rotation of the map will work. It rotates nothing.

    It asks the deployed functions for dry runs, and lists each problem with its next step.

    Exit status: 0 without problems, 1 with problems, 2 if it cannot run.
    """
    from infisical_rotation_triggers.preflight.run import run  # noqa: PLC0415 - see above

    sys.exit(run(stack, test_alarm=test_alarm, as_json=as_json))


@cli.command()
@stack_option
@click.option("--dry-run", is_flag=True, help="Only show the triggers, and why they were kept.")
@json_option
def redrive(stack: str, *, dry_run: bool, as_json: bool) -> None:
    """Replay the triggers in the queue UndeliveredTriggers.

    Run it once the cause is fixed. A replay means the original occurrence, so running it twice rotates nothing twice.

    Exit status: 0 if every trigger was replayed, 1 if some are left, 2 if it cannot run.
    """
    from infisical_rotation_triggers.redrive import run  # noqa: PLC0415 - see above

    sys.exit(run(stack, dry_run=dry_run, as_json=as_json))


@cli.command(name="map")
@click.argument("maps", nargs=-1, required=True, metavar="MAP...", type=click.Path(path_type=Path))
@click.option("--stack", metavar="NAME", help="Compare the map with this stack's, ask, and put it.")
@click.option("--yes", is_flag=True, help="Put the map without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document. It never asks.")
def map_(maps: tuple[Path, ...], stack: str | None, *, yes: bool, as_json: bool) -> None:
    """Check rotation maps offline, as the functions read them.

    With --stack, show which rotations one map adds, removes and changes, ask, and put it.

    Exit status: 0 if the map is valid and, with --stack, is what the stack has; 1 if it is refused; 2 if the tool
    cannot run; 3 if it differs from the stack's map and was not put.
    """
    from infisical_rotation_triggers.map.run import run  # noqa: PLC0415 - see above

    if stack and len(maps) > 1:
        raise click.UsageError("A stack has one map: name one file.")
    sys.exit(run(maps, stack, yes=yes, as_json=as_json))


@cli.command()
@stack_option
@click.option("--key", required=True, metavar="AKIA…", help="The id of the access key.")
def reactivate(key: str, stack: str) -> None:
    """Let AWS accept an access key again that retire, or a person, deactivated.

    An active key stays active.

    Exit status: 0 if the key is active, 1 if not.
    """
    from infisical_rotation_triggers.reactivate import run  # noqa: PLC0415 - see above

    sys.exit(run(key, stack))


@cli.command()
@stack_option
@click.option("--key", required=True, metavar="AKIA…", help="The id of the access key that leaked.")
@click.option("--yes", is_flag=True, help="Rotate, even if that deletes a previous key that is in use.")
@click.option("--now", metavar="USER", help="Deactivate the key of this IAM user now, even if consumers stop.")
def leaked(key: str, stack: str, *, yes: bool, now: str | None) -> None:
    """Deactivate a leaked access key, with as little harm to consumers as possible.

    A previous key, and one that Infisical does not know, are deactivated. A published key is rotated first, and
    deactivated once consumers have the new one. In a terminal it asks before consumers stop; elsewhere it never asks.

    Run it again after any interruption: it goes on from where it was, and never rotates twice.

    Exit status: 0 if the key is inactive and nothing is left to do; 1 if it is not a key of this stack, and nothing
    was done; 2 if it cannot run; 3 if something is left to do, which its last lines say.
    """
    from infisical_rotation_triggers.leaked.run import run  # noqa: PLC0415 - see above

    sys.exit(run(key, stack, yes=yes, now=now))


if __name__ == "__main__":
    cli(prog_name="infisical-rotation")
