"""Exercises of permissions: each function uses all of its role; its answers and logs show what it was denied."""

import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from rotator.model import GuardOptions, MappedRotation, RotationOptions
from rotator.rotation.request import RotationRequest
from tests.e2e.assertions import outcomes_of, scheduled
from tests.sandbox.accounts import GUARD_ROLE, OTHER_ACCOUNT
from tests.sandbox.grants import denials
from tests.sandbox.maximal_template import GUARDED_USERS
from tests.sandbox.sandbox import LONG_AGO, Sandbox
from tests.sandbox.sqs_record import sqs_record
from tests.sandbox.standin.rotations import Rotation

PROJECT = "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f00aa"
UNKNOWN = "0b1f0f5e-3a52-4a5e-9b35-6f1f2f0f00fe"
EXERCISES_OF_THE_HOOK = 15  # each has mirrors of its own


class PermissionExercises:
    """Everything is there from the beginning, and in the map, so that functions need not start anew for each use.

    Some rotations are never rotated, so that they can be used again.
    """

    def __init__(self, stage: Sandbox) -> None:
        self._stage = stage
        self._numbers = itertools.count()
        self._in_use = self._rotation_whose_previous_key_is_in_use()
        self._silent = self._rotation_with_a_silent_previous_key()
        self._elsewhere = self._rotation_elsewhere_with_an_orphan()
        self._guard_role = stage.add_guard_role(f"{GUARD_ROLE}-uses")
        self._fresh = self._rotation(last_rotated_at=datetime.now(UTC), project_id=PROJECT)
        pairs = [(self._mirror(), self._mirror_elsewhere()) for _ in range(EXERCISES_OF_THE_HOOK)]
        in_use = [self._mirror_whose_previous_key_is_in_use() for _ in range(EXERCISES_OF_THE_HOOK)]
        self._mirrors_in_use = iter([arn for arn, _ in in_use])
        self._mirrors = iter([[arn for arn, _ in pair] for pair in pairs])
        guarded_elsewhere = {"id": self._elsewhere.id, "keyGuard": {"role": self._guard_role}}
        triggers = {"keys": [self._in_use.id, guarded_elsewhere], "weekly": {"project": PROJECT}}
        self._map = {"triggers": triggers, "mirrors": dict([*in_use, *itertools.chain(*pairs)])}
        self._map_in_step: dict[str, Any] = {"triggers": triggers, "mirrors": dict([self._mirror_in_step()])}
        stage.stack.put_map(self._map)

    def of(self, role: str) -> str:
        """Use the function of a role, by its logical id; return what is to be looked through."""
        use: dict[str, Callable[[], str]] = {
            "DispatchRole": self.dispatch,
            "RotateRole": self._rotate,
            "HookRole": self._hook,
            "AuditRole": self._audit,
            "RetireRole": self._retire,
        }
        return use[role]()

    def dispatch(self) -> str:
        """A dry run, which looks at keys, and where that is denied nothing, a trigger whose request ends at once."""
        previewed = json.dumps(self._stage.stack.invoke({"trigger": "keys", "dryRun": True}))
        if denials(previewed):
            return previewed
        dispatched = self._stage.stack.invoke(scheduled())
        if "requests" in dispatched:
            outcomes_of(self._stage, self._fresh)
        return json.dumps(dispatched)

    def _rotate(self) -> str:
        """Keys are looked at here and elsewhere, a request that came back is held, and one is for a person."""
        records = [
            self._record(MappedRotation(self._in_use.id)),
            self._record(
                MappedRotation(self._elsewhere.id, options=RotationOptions(guard=GuardOptions(self._guard_role)))
            ),
            self._record(MappedRotation(self._fresh.id), deliveries=2),
            self._record(MappedRotation(UNKNOWN)),
        ]
        return self._invoked("RotateFunction", {"Records": records}, self._stage.stack.rotate_logs)

    def _hook(self) -> str:
        """A secret without a key adopts the published one; in step, it asks the key guard, and gets another one.

        The last one gets none: CloudTrail is asked who still uses its previous key.
        """
        rotate = self._stage.hook.rotations.rotate
        for secret in next(self._mirrors):
            if error := rotate(secret).error or rotate(secret).error:
                return error
        return rotate(next(self._mirrors_in_use)).error or ""

    def _audit(self) -> str:
        """One mirror is enough, and in step: at those that lag the audit looks again a minute later."""
        self._stage.stack.put_map(self._map_in_step)
        self._stage.stack.restart("AuditFunction")
        said = self._invoked("AuditFunction", {}, self._stage.stack.audit_logs)
        self._stage.stack.put_map(self._map)
        return said

    def _retire(self) -> str:
        """Of two rotations, one has a previous key in use, and one has a previous key that nobody uses."""
        rotation, key = self._silent
        self._stage.iam.update_access_key(UserName=rotation.name, AccessKeyId=key, Status="Active")
        triggers = {"keys": [*self._map_in_step["triggers"]["keys"], rotation.id]}
        self._stage.stack.put_map({**self._map_in_step, "triggers": triggers})
        self._stage.stack.restart("RetireFunction")
        said = self._invoked("RetireFunction", {}, self._stage.stack.retire_logs)
        self._stage.stack.put_map(self._map)
        return said

    def _invoked(self, function: str, event: object, lines: Callable[[], list[dict[str, Any]]]) -> str:
        """What a function, by its logical id, answers and logs."""
        before = len(lines())
        name = self._stage.stack.resources("AWS::Lambda::Function")[function]
        answer = self._stage.stack.lambda_.invoke(FunctionName=name, Payload=json.dumps(event).encode())
        return answer["Payload"].read().decode() + json.dumps(lines()[before:])

    def _record(self, rotation: MappedRotation, deliveries: int = 1) -> dict[str, Any]:
        """A request as Lambda delivers it; no message waits for it to be worked."""
        now, number = datetime.now(UTC), str(next(self._numbers))
        body = RotationRequest(rotation, "weekly", now, correlation_id=number).to_message()
        return sqs_record(number, body, rotation.id, first_received_at=now.timestamp(), receive_count=deliveries)

    def _rotation(self, **fields: Any) -> Rotation:  # noqa: ANN401 - the sandbox's
        return self._stage.add_rotation(f"{GUARDED_USERS}{next(self._numbers)}", **fields)

    def _rotation_whose_previous_key_is_in_use(self) -> Rotation:
        rotation = self._rotation()
        previous = self._stage.iam.create_access_key(UserName=rotation.name)["AccessKey"]["AccessKeyId"]
        self._stage.iam_front.date(previous, LONG_AGO - timedelta(days=7))
        self._stage.use_key(previous, datetime.now(UTC))
        return rotation

    def _rotation_with_a_silent_previous_key(self) -> tuple[Rotation, str]:
        rotation = self._rotation()
        previous = self._stage.iam.create_access_key(UserName=rotation.name)["AccessKey"]["AccessKeyId"]
        self._stage.iam_front.date(previous, LONG_AGO - timedelta(days=7))
        return rotation, previous

    def _rotation_elsewhere_with_an_orphan(self) -> Rotation:
        rotation = self._rotation(account=OTHER_ACCOUNT)
        orphan, _ = self._stage.connections.create_access_key(rotation.name)
        self._stage.settle(rotation.name, orphan)
        return rotation

    def _mirror(self) -> tuple[str, object]:
        rotation = self._rotation()
        previous = self._stage.iam.create_access_key(UserName=rotation.name)["AccessKey"]["AccessKeyId"]
        self._stage.iam_front.date(previous, LONG_AGO - timedelta(days=7))
        return self._stage.hook.add_secret(rotation.name, {}), rotation.id

    def _mirror_whose_previous_key_is_in_use(self) -> tuple[str, object]:
        rotation = self._rotation_whose_previous_key_is_in_use()
        held = {name: rotation.published[name] for name in ("accessKeyId", "secretAccessKey")}
        return self._stage.hook.add_secret(rotation.name, held), rotation.id

    def _mirror_in_step(self) -> tuple[str, object]:
        rotation = self._rotation()
        held = {name: rotation.published[name] for name in ("accessKeyId", "secretAccessKey")}
        return self._stage.hook.add_secret(rotation.name, held), rotation.id

    def _mirror_elsewhere(self) -> tuple[str, object]:
        rotation = self._rotation(account=OTHER_ACCOUNT)
        entry = {"id": rotation.id, "keyGuard": {"role": self._guard_role}}
        return self._stage.hook.add_secret(rotation.name, {}), entry
