"""Whatever functions and emulators have printed by now, at the most talkative log level."""

import pytest

from tests.runtime.emulator import Emulator
from tests.runtime.world import World


@pytest.mark.last
def test_functions_print_no_secrets(world: World, dispatch: Emulator) -> None:
    assert dispatch.invoke({"trigger": "weekly", "dryRun": True}).error is None  # it has logged in, at the latest now
    of_the_functions = {world.credentials["AWS_SECRET_ACCESS_KEY"], world.credentials["AWS_SESSION_TOKEN"]}

    secrets, printed = world.infisical.secrets, world.printed()

    assert of_the_functions & secrets == {world.credentials["AWS_SESSION_TOKEN"]}  # it was shown to Infisical, signed
    assert "trigger previewed" in printed
    assert [secret for secret in secrets | of_the_functions if secret in printed] == []
