"""Starts the embedded AWS in its own environment, corrects it in four places, and ends it with its caller.

- It takes the log of an invocation for complete after 5 ms of silence. On a busy machine the last lines came later:
  with the function's next invocation, or never.
- For the session of a role, its aws:PrincipalArn is the ARN of the session. In AWS it is the ARN of the role:
  https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalarn
- It checks calls about an ECS service against the ARN of the cluster. In AWS it is the ARN of the service:
  https://docs.aws.amazon.com/service-authorization/latest/reference/list_ecs.html
- It knows no events:source. In AWS that is the source of the events that PutEvents puts:
  https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-conditions.html
"""

import json
import os
import signal
import sys
import threading
import time
from contextvars import ContextVar
from functools import partialmethod

from ministack.app import main
from ministack.core import iam_actions, iam_evaluator
from ministack.core.lambda_runtime import Worker
from ministack.services.iam import _roles as roles

LOOK_SECONDS = 1


def end_with(caller: int) -> None:
    """End this process, and those of the functions, once nobody is there who could."""
    while os.getppid() == caller:
        time.sleep(LOOK_SECONDS)
    os.killpg(0, signal.SIGKILL)


_read_log = "_drain_stderr_bounded"  # its own, with no setting for it
_patient = partialmethod(getattr(Worker, _read_log), first_line_wait=0.5, idle_confirm=0.03, hard_cap=2.0)
setattr(Worker, _read_log, _patient)

sources: ContextVar[tuple[str, ...]] = ContextVar("sources", default=())  # of the events that a request puts

_condition_key = iam_evaluator._resolve_condition_key  # noqa: SLF001 - its own, with no setting for it


def condition_key(key: str, request: iam_evaluator.EvalContext) -> object:
    """Return the value of a condition key for a request."""
    if key.lower() == "events:source":
        return sources.get()[0] if len(sources.get()) == 1 else list(sources.get())
    arn = request.principal_arn
    if key.lower() == "aws:principalarn" and ":assumed-role/" in arn:
        role = arn.split("/")[1]
        return roles.get_scoped(request.principal_account, None, role)["Arn"]
    return _condition_key(key, request)


iam_evaluator._resolve_condition_key = condition_key  # noqa: SLF001 - as above

_resource_arn = iam_actions.extract_resource_arn


def resource_arn(service: str, method: str, path: str, headers: object, body: bytes, *where: object) -> str:
    """Return the ARN of the resource that a request is about."""
    arn: str = _resource_arn(service, method, path, headers, body, *where)
    if service == "events":
        entries = json.loads(body or b"{}").get("Entries", [])
        sources.set(tuple({entry.get("Source", "") for entry in entries}))
    if service == "ecs" and ":cluster/" in arn:
        request = json.loads(body)
        services = [*request.get("services", []), *filter(None, [request.get("service")])]
        if len(services) == 1:
            return f"{arn.replace(':cluster/', ':service/')}/{services[0]}"
    return arn


iam_actions.extract_resource_arn = resource_arn

threading.Thread(target=end_with, args=(int(sys.argv.pop()),), daemon=True).start()
main()
