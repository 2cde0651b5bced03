"""The states of many rotations, read concurrently. One that cannot be read stops no other."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from rotator.infisical.client import Infisical
from rotator.infisical.errors import InfisicalError
from rotator.model import RotationState
from rotator.triggers.selection import Selected

CONCURRENT_READS = 10


def read_states(infisical: Infisical, selected: Sequence[Selected]) -> list[RotationState | InfisicalError]:
    """Read the states that the look-up of a selector has not brought along; the error where one cannot be read."""

    def read(each: Selected) -> RotationState | InfisicalError:
        try:
            return each.state or infisical.state(each.rotation)
        except InfisicalError as error:
            return error

    with ThreadPoolExecutor(CONCURRENT_READS) as pool:
        return list(pool.map(read, selected))
