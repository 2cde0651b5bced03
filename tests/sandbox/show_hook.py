"""`make hook`: let Secrets Manager rotate a secret that mirrors a key, on this machine, and show what it did."""

import sys
from collections.abc import Mapping
from contextlib import ExitStack

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.sandbox.deployment import build
from tests.sandbox.embedded_aws import forget_own_accounts
from tests.sandbox.sandbox import Sandbox, sandbox
from tests.sandbox.screen import screen, step, tell
from tests.sandbox.secret_rotation import Labels, RotationResult

USER = "payments-deployer"


def main() -> int:
    """Return the exit status: 0 where the secret got a fresh key, and the previous one still works."""
    forget_own_accounts()
    console = screen()
    try:
        problems = _run(console)
    except (RuntimeError, TimeoutError) as error:
        problems = [str(error)]
    for problem in problems:
        tell(console, problem)
    return 1 if problems else 0


def _run(console: Console) -> list[str]:
    with step(console, "Building the application"):
        build()
    with ExitStack() as running:
        with step(console, "Starting an AWS and an Infisical on this machine, deploying template.yaml"):
            here = running.enter_context(sandbox())
            rotation = here.add_rotation(USER)
            value = {
                "accessKeyId": rotation.published["accessKeyId"],
                "secretAccessKey": rotation.published["secretAccessKey"],
                "region": "eu-west-1",
            }
            secret = here.hook.add_secret(USER, value)
            here.stack.put_map({"triggers": {}, "mirrors": {secret: rotation.id}})
        with step(console, f"Rotating the secret mirror/{USER}"):
            result = here.hook.rotations.rotate(secret)
        _show(console, here, result)
        after = here.hook.value(secret)
        console.print(
            f"Secret   region {after['region']}, access key {value['accessKeyId']} → {after['accessKeyId']}\n"
        )
        problems = [] if result.error is None else [f"{result.failed_step} failed: {result.error}"]
        if here.valid_keys(USER) != {value["accessKeyId"], after["accessKeyId"]}:
            problems.append("the secret's key is not fresh, or the previous one is no longer valid")
    if not problems:
        console.print("[bold green]✓[/] One rotation; AWS accepts the new key, and the previous one is still valid.")
    return problems


def _show(console: Console, here: Sandbox, result: RotationResult) -> None:
    table = Table("Step", "Staging labels before", "after", "", box=SIMPLE)
    for each in result.steps:
        mark = "[green]✓[/]" if each.error is None else f"[red]{escape(each.error)}[/]"
        table.add_row(each.step, _labels(each.before), _labels(each.after), mark)
    console.print(table)
    names: Mapping[str, float] = here.stack.metrics()
    console.print(
        "Metrics  " + "  ".join(f"{name} {names[name]:.0f}" for name in sorted(names) if "Duration" not in name)
    )


def _labels(labels: Labels) -> str:
    return "\n".join(f"{version[:8]}… {', '.join(sorted(names))}" for version, names in labels.items() if names)


if __name__ == "__main__":
    sys.exit(main())
