"""Which old runs `prune` removes, what it says of each, and what stays of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sender.core.errors import InputError, PlanError
from sender.state.prune import KeptRun, PrunedRun, prune
from tests.state.run_history import (
    ACCEPTED,
    ADA,
    GRACE,
    JEAN,
    MINUTE_MS,
    PENDING,
    REJECTED,
    UNKNOWN,
    RunHistory,
    plan_for,
    run_history,
)
from tests.state.test_number_store import fact
from tests.state.test_reply_store import reply


@pytest.fixture
def history(tmp_path: Path) -> Iterator[RunHistory]:
    with run_history(tmp_path / "state") as runs:
        yield runs


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry run", "for good"])
def test_what_is_removed_is_told_of_each_run(history: RunHistory, dry_run: bool) -> None:
    spring = history.add({ADA: ACCEPTED, GRACE: REJECTED, JEAN: ACCEPTED})
    summer = history.add({GRACE: ACCEPTED}, campaign="summer")
    for run in (spring, summer):
        history.state.ledger.finish_run(run.run_id)
    history.now_ms += MINUTE_MS
    sizes = [history.state.plans.size(run) for run in (spring, summer)]
    assert all(sizes)
    told = prune(history.state, older_than_s=0, dry_run=dry_run)
    assert told.runs == (
        PrunedRun(spring.run_id, "spring", 2, sizes[0]),
        PrunedRun(summer.run_id, "summer", 1, sizes[1]),
    )
    assert (told.freed, told.kept, told.dry_run) == (sum(sizes), (), dry_run)
    left = [history.state.plans.size(run) for run in (spring, summer)]
    assert left == (sizes if dry_run else [0, 0])
    assert history.state.plans.erased(spring)["seq"].to_list() == ([] if dry_run else [0, 2])
    again = prune(history.state, older_than_s=0)
    assert bool(again.runs) is dry_run, "what is gone is not told again"


def test_a_run_is_old_enough_by_when_it_ended(history: RunHistory) -> None:
    run = history.add({ADA: ACCEPTED})
    history.now_ms += 5 * MINUTE_MS
    history.state.ledger.finish_run(run.run_id)
    history.now_ms += 5 * MINUTE_MS
    young = prune(history.state, older_than_s=10 * 60)
    assert (young.runs, young.kept) == ((), ()), "it began ten minutes ago, and not longer"
    ended_late = prune(history.state, older_than_s=5 * 60)
    assert (ended_late.runs, [each.run_id for each in ended_late.kept]) == ((), [run.run_id])
    assert history.state.plans.size(run)
    gone = prune(history.state, older_than_s=5 * 60 - 0.001)
    assert [each.run_id for each in gone.runs] == [run.run_id]
    with pytest.raises(PlanError, match="was pruned on"):
        history.state.plans.open(run)


@pytest.mark.parametrize(
    ("fate", "why"),
    [
        pytest.param(PENDING, "unfinished: 1 pending", id="unfinished"),
        pytest.param(UNKNOWN, "1 unknown", id="of messages nobody knows about"),
    ],
)
def test_a_run_that_may_still_be_needed_stays_and_says_why(history: RunHistory, fate: object, why: str) -> None:
    run = history.add({ADA: ACCEPTED, GRACE: fate})  # type: ignore[dict-item]
    history.now_ms += MINUTE_MS
    (kept,) = prune(history.state, older_than_s=0).kept
    assert (kept.run_id, kept.campaign) == (run.run_id, "spring")
    assert kept.why.startswith(why)
    assert set(history.state.plans.open(run).recipients()) == {ADA, GRACE}


def test_a_run_that_is_being_sent_and_one_whose_plan_is_damaged_stay(history: RunHistory) -> None:
    sent, damaged = history.add({ADA: ACCEPTED}), history.add({GRACE: ACCEPTED}, campaign="summer")
    (history.state.plans.folder(damaged) / "plan" / "manifest.json").write_text("{")
    history.now_ms += MINUTE_MS
    with history.state.locks.hold_campaign(sent.campaign, sent.kind):
        told = prune(history.state, older_than_s=0)
    assert told.runs == ()
    assert [(each.run_id, each.campaign, bool(each.why)) for each in told.kept] == [
        (sent.run_id, "spring", True),
        (damaged.run_id, "summer", True),
    ]
    assert all(isinstance(each, KeptRun) for each in told.kept)


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry run", "for good"])
def test_written_plans_that_are_older_go_too(history: RunHistory, dry_run: bool) -> None:
    folder = history.folder / "plans" / "p"
    plan_for(ADA).write(folder)
    history.now_ms = folder.joinpath("manifest.json").stat().st_mtime_ns // 1_000_000 + MINUTE_MS
    assert prune(history.state, older_than_s=120).plans == ()
    assert prune(history.state, older_than_s=30, dry_run=dry_run).plans == (folder,)
    assert folder.exists() is dry_run


@pytest.mark.parametrize("dry_run", [True, False], ids=["dry run", "for good"])
def test_replies_and_facts_that_are_older_go_too(history: RunHistory, dry_run: bool) -> None:
    """Those of more than a minute ago; then their bytes are nowhere either."""
    heard = {"SM0": history.now_ms - 1, "SM1": history.now_ms, "SM2": history.now_ms + 1}
    with closing(history.state.open_replies(create=True)) as replies:
        for message_id, at in heard.items():
            replies.add(reply(message_id, JEAN, at=at), keep=True, forward=False)
    with closing(history.state.open_numbers()) as numbers:
        numbers.put([fact(ADA, at=heard["SM0"]), fact(GRACE, at=heard["SM1"]), fact(JEAN, at=heard["SM2"])])
    history.now_ms += MINUTE_MS
    told = prune(history.state, older_than_s=60, dry_run=dry_run)
    assert (told.replies, told.facts) == (1, 1)
    with closing(history.state.open_replies()) as replies:
        left = [stored.reply.message_id for stored in replies.kept()]
    with closing(history.state.open_numbers()) as numbers:
        known = [each.number for each in numbers.everything()]
    assert left == (["SM0", "SM1", "SM2"] if dry_run else ["SM1", "SM2"])
    assert sorted(known) == ([ADA, GRACE, JEAN] if dry_run else [GRACE, JEAN])
    content = b"".join(file.read_bytes() for file in history.folder.iterdir() if file.is_file())
    assert [gone in content for gone in (b"SM0", ADA.encode())] == [dry_run] * 2


def test_a_state_without_replies_and_facts_gets_no_files_for_them(history: RunHistory) -> None:
    before = {file.name for file in history.folder.iterdir()}
    told = prune(history.state, older_than_s=0)
    assert (told.replies, told.facts) == (0, 0)
    assert {file.name for file in history.folder.iterdir()} == before


def test_an_age_is_not_negative(history: RunHistory) -> None:
    with pytest.raises(InputError, match="older_than_s is negative"):
        prune(history.state, older_than_s=-0.1)
