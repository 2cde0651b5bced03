"""Every fault of Infisical on the deployed stack: what the operator sees, and where the request ends."""

from collections import Counter

import pytest

from rotator.rotation.reporting import METRICS
from rotator.telemetry import Metric
from tests.e2e.assertions import delta, outcomes_of, posts_for, scheduled
from tests.e2e.faults import AGAIN, BACK, CASES, FAILED, Run
from tests.sandbox.sandbox import Sandbox


@pytest.mark.parametrize("name", CASES)
def test_the_operator_sees(run: Run, name: str) -> None:
    end = run.ends[name]

    assert (end["outcome"], end["reason"]) == CASES[name].end
    assert end["explanation"] or end["reason"] == "Rotated"
    assert end["correlation_id"]


@pytest.mark.parametrize("name", CASES)
def test_the_request_ends(run: Run, name: str) -> None:
    rotation_id = run.rotations[name].id

    if CASES[name].place == FAILED:
        assert run.failed[rotation_id]["explanation"] == run.ends[name]["explanation"]
    else:
        assert rotation_id not in run.failed


@pytest.mark.parametrize("name", CASES)
def test_rotate_secrets_is_not_repeated(deployed: Sandbox, run: Run, name: str) -> None:
    assert posts_for(deployed, run.rotations[name]) == CASES[name].posts


def test_a_returned_message_is_invisible_for_the_full_time(run: Run) -> None:
    back = [name for name, case in CASES.items() if case.place == BACK]

    assert [name for name in CASES if run.ends[name]["comes_back"] and CASES[name].place != AGAIN] == back
    assert (run.in_flight, run.waiting) == (len(back), 0)


@pytest.mark.parametrize("metric", sorted(set(METRICS.values())))
def test_each_outcome_is_counted(run: Run, metric: Metric) -> None:
    expected = Counter(METRICS[result] for result in METRICS for case in CASES.values() if case.end[0] == result)
    expected[Metric.ROTATION_SUCCEEDED] += 1 + sum(case.place == AGAIN for case in CASES.values())  # and the busy one

    assert delta(run.before, run.after, metric) == expected[metric]


def test_published_keys_live_where_nothing_was_lost_without_a_trace(deployed: Sandbox, run: Run) -> None:
    """The exceptions are why the key guard is needed: an attempt that deleted or created, and could not tell."""
    unlucky = {name for name in CASES if "after the" in name and name != "500 after the commit"}

    for name in CASES.keys() - unlucky:
        rotation = run.rotations[name]
        assert deployed.published_key(rotation) in deployed.valid_keys(rotation.name), name


def test_an_orphan_of_a_silently_dead_attempt_refuses_the_next_trigger(deployed: Sandbox, run: Run) -> None:
    died = {point: run.rotations[f"died {point}"] for point in ("before", "after the delete", "after the create")}
    deployed.stack.put_map({"triggers": {"weekly": [rotation.id for rotation in died.values()]}})
    published = {rotation.name: deployed.published_key(rotation) for rotation in died.values()}

    left = died["after the create"]
    (orphan,) = deployed.valid_keys(left.name) - {deployed.published_key(left)}
    deployed.settle(left.name, orphan)
    deployed.stack.send(scheduled())
    outcomes_of(deployed, *died.values(), count=2)

    ends = {point: outcomes_of(deployed, rotation, count=2)[-1] for point, rotation in died.items()}
    assert ends["before"]["outcome"] == ends["after the delete"]["outcome"] == "rotated"
    assert ends["after the create"]["reason"] == "OrphanKey"
    for user, key_id in published.items():
        assert key_id in deployed.valid_keys(user)
    deployed.stack.take("FailedRotationsUrl")
