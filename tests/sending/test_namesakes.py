"""A campaign's name: which earlier runs of another file a start under the same name is refused for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sender.core.errors import OtherCampaign
from sender.core.outcomes import SkipReason
from sender.sending.namesakes import find_namesake
from sender.sending.open_run import open_run
from sender.sending.options import SendOptions
from sender.state.ledger import RunKind
from sender.state.runs import resolve_path
from tests.state.run_history import ACCEPTED, ADA, GRACE, JEAN, MARY, RunHistory, plan_for

SPRING, SUMMER = "spring/campaign.yaml", "summer/campaign.yaml"


def sent(history: RunHistory, source: str | None, *people: str, **keys: Any) -> str:
    """The id of a run of `source` that has reached these people."""
    path = None if source is None else resolve_path(history.folder / source)
    return history.add(dict.fromkeys(people, ACCEPTED), source=path, **keys).run_id


def namesake(history: RunHistory, source: str | None, *people: str, kind: RunKind = RunKind.LIVE) -> str | None:
    """The id of the run for which a start of `source` to these people is refused."""
    run = find_namesake(history.state, plan_for(*people), kind, None if source is None else history.folder / source)
    return None if run is None else run.run_id


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        pytest.param([], None, id="nothing was sent"),
        pytest.param([(SPRING, ADA)], 0, id="another file to other people"),
        pytest.param([(SPRING, ADA), ("autumn.yaml", GRACE)], 1, id="the newest of two"),
        pytest.param([(SUMMER, ADA)], None, id="the same file"),
        pytest.param([(SPRING, ADA), (SUMMER, GRACE)], None, id="the same file, which was confirmed once"),
        pytest.param([(SPRING, ADA, JEAN)], None, id="somebody in common"),
        pytest.param([(SPRING, ADA, JEAN), ("autumn.yaml", GRACE)], None, id="somebody in common with an older run"),
        pytest.param([(None, ADA)], None, id="a run without a file"),
        pytest.param([("plans/spring", ADA)], None, id="a written plan"),
    ],
)
def test_a_start_is_refused_for_the_newest_run_of_another_file_with_nobody_in_common(
    history: RunHistory, before: list[tuple[Any, ...]], expected: int | None
) -> None:
    runs = [sent(history, *run) for run in before]
    assert namesake(history, SUMMER, JEAN, MARY) == (None if expected is None else runs[expected])


def test_a_retry_belongs_to_the_campaign_of_the_run_that_it_repeats(history: RunHistory) -> None:
    """The refusal names that run, not the retry, and there is none where that run is not of a file."""
    first = sent(history, SPRING, ADA, GRACE)
    sent(history, SPRING, GRACE, retry_of=first)
    assert namesake(history, SUMMER, JEAN) == first
    library = sent(history, None, ADA, campaign="autumn")
    sent(history, SPRING, ADA, campaign="autumn", retry_of=library)
    assert find_namesake(history.state, plan_for(JEAN, campaign="autumn"), RunKind.LIVE, SUMMER) is None


def test_a_start_that_takes_no_name_is_not_refused(history: RunHistory) -> None:
    sent(history, SPRING, ADA)
    assert namesake(history, SUMMER, JEAN) == "run-0"
    assert namesake(history, None, JEAN) is None
    assert namesake(history, "plans/summer", JEAN) is None
    for kind in (RunKind.REHEARSAL, RunKind.SANDBOX, RunKind.TEST):
        assert namesake(history, SUMMER, JEAN, kind=kind) is None
    plan = plan_for(JEAN)
    for known in ({"retry_of": "run-0"}, {"skipped": {SkipReason.ALREADY_SENT: 1}}):
        changed = plan.with_manifest(replace(plan.manifest, **known))
        assert find_namesake(history.state, changed, RunKind.LIVE, history.folder / SUMMER) is None, known


def test_nobody_is_accused_by_a_run_whose_people_are_not_known_any_more(history: RunHistory) -> None:
    sent(history, SPRING, ADA)
    history.lose_plan(history.runs[0])
    assert namesake(history, SUMMER, JEAN) is None


def test_the_refusal_names_the_other_campaign_and_is_lifted_by_saying_so(history: RunHistory) -> None:
    sent(history, SPRING, ADA)
    ways: dict[str, Any] = {"state_dir": history.folder, "source": Path(history.folder / SUMMER), "env": {}}
    with pytest.raises(OtherCampaign) as refused, open_run(plan_for(JEAN), SendOptions(**ways)):
        pass
    assert f"run run-0 sent {resolve_path(history.folder / SPRING)} to other people" in refused.value.what
    with open_run(plan_for(JEAN), SendOptions(same_campaign=True, **ways)) as session:
        assert not session.resumed
    sent(history, SUMMER, JEAN)
    with open_run(plan_for(MARY), SendOptions(**ways)) as session:
        assert not session.resumed, "it is remembered"
