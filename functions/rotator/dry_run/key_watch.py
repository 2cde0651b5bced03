"""Reads the access keys behind rotations from IAM, for the audit: whether AWS accepts them, and how old they are."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from rotator.clock import Deadline
from rotator.model import GuardOptions, MappedRotation, RotationState
from rotator.rotation.key_guard import list_keys
from rotator.rotation.key_policy import UserKeys
from rotator.text import clip

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

    from rotator.clock import Clock

CONCURRENT_READS = 10

# The audit has 300 s. The rest is for the two looks at mirrors, with a minute between them.
READ_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class KeyLook:
    """The keys by rotation id, why IAM did not show the others, and how many users there was no time to look at."""

    keys: dict[str, UserKeys]
    hidden: dict[str, str]
    left_for_later: int


class KeyWatch:
    """Lists the keys of guarded rotations. `open_iam` is as in KeyGuard."""

    def __init__(self, open_iam: "Callable[[str | None, str | None], IAMClient]", clock: "Clock") -> None:
        self._open_iam = open_iam
        self._clock = clock

    def look(self, rotations: Iterable[tuple[MappedRotation, RotationState]]) -> KeyLook:
        """List the keys of guarded rotations, in another order each time.

        IAM allows an account only so many calls a second. Where time runs out, a later audit looks at the rest.
        """
        deadline = Deadline(self._clock.monotonic() + READ_SECONDS, self._clock)
        guarded = [
            (state.id, rotation.options.guard, state.user_name)
            for rotation, state in rotations
            if rotation.guarded and rotation.options.guard and state.user_name
        ]

        Random(int(self._clock.time())).shuffle(guarded)  # noqa: S311 - an order is no secret

        def read(of: tuple[str, GuardOptions, str]) -> UserKeys | str | None:
            _, guard, user_name = of
            if deadline.remaining_seconds() <= 0:
                return None
            try:
                return list_keys(self._open_iam(guard.role, guard.external_id), user_name)
            except (BotoCoreError, ClientError) as error:
                return f"IAM did not show the access keys of the user {user_name}: {clip(str(error))}"

        with ThreadPoolExecutor(CONCURRENT_READS) as pool:
            looks = {
                rotation_id: look for (rotation_id, *_), look in zip(guarded, pool.map(read, guarded), strict=True)
            }
        return KeyLook(
            keys={rotation_id: look for rotation_id, look in looks.items() if isinstance(look, UserKeys)},
            hidden={rotation_id: look for rotation_id, look in looks.items() if isinstance(look, str)},
            left_for_later=sum(look is None for look in looks.values()),
        )
