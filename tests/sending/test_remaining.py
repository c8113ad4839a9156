"""What a start would do, without starting: what it sends of an unfinished run, and what it would be refused for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sender
from sender.core.errors import ApprovalMissing, InputError, InputsChanged, RunComplete
from sender.sending.foresee_start import find_refusal, foresee_stops
from sender.sending.options import SendOptions
from sender.sending.remaining import Remaining, find_remaining
from sender.state.ledger import RunKind
from tests.state.run_history import (
    ACCEPTED,
    ADA,
    GRACE,
    INTENT,
    JEAN,
    MARY,
    PENDING,
    REJECTED,
    RunHistory,
    plan_for,
)

ENV = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "x" * 32}


def options(folder: Path, **changed: Any) -> SendOptions:
    return SendOptions(state_dir=folder, env=ENV, **changed)


def changed(plan: sender.Plan, **values: Any) -> sender.Plan:
    """The same messages, with other values in the manifest."""
    return plan.with_manifest(replace(plan.manifest, **values))


def rest_of(history: RunHistory, plan: sender.Plan, **ways: Any) -> Remaining:
    found = find_remaining(plan, options(history.folder, **ways))
    assert found is not None
    return found


class TestRemaining:
    def test_the_rest_of_the_run_with_its_own_plan(self, history: RunHistory) -> None:
        run = history.add({ADA: ACCEPTED, GRACE: PENDING, JEAN: REJECTED})
        rest = rest_of(history, plan_for(ADA, GRACE, JEAN))
        assert (rest.run, rest.changes) == (run, ())
        assert (rest.counts.accepted, rest.counts.rejected, rest.counts.pending) == (1, 1, 1)
        assert rest.began_with.recipients().sort().to_list() == [ADA, GRACE, JEAN]
        assert rest.plan.recipients().to_list() == [GRACE]

    def test_what_has_changed_since(self, history: RunHistory) -> None:
        history.add({ADA: ACCEPTED, GRACE: PENDING})
        rest = rest_of(history, plan_for(ADA, JEAN, MARY), resume=True)
        assert rest.began_with.recipients().sort().to_list() == [ADA, GRACE]
        assert rest.plan.recipients().to_list() == [GRACE]
        assert rest.changes == ("recipients (inline rows) changed", "2 messages became 3")

    def test_a_newer_version_of_a_table_is_no_change_of_what_is_sent(self, history: RunHistory) -> None:
        history.add({ADA: ACCEPTED, GRACE: PENDING})
        plan = plan_for(ADA, GRACE)
        newer = changed(plan, versions=dict.fromkeys(plan.manifest.versions, "newer"))
        assert rest_of(history, newer).changes == ()

    @pytest.mark.parametrize("rehearse", [False, True], ids=["live", "rehearsal"])
    def test_only_a_run_of_the_same_kind_goes_on(self, history: RunHistory, rehearse: bool) -> None:
        live = history.add({ADA: PENDING})
        rehearsal = history.add({ADA: PENDING}, kind=RunKind.REHEARSAL)
        rest = rest_of(history, plan_for(ADA), rehearse=rehearse)
        assert rest.run.run_id == (rehearsal if rehearse else live).run_id

    def test_a_new_run_has_nothing_remaining(self, history: RunHistory) -> None:
        assert find_remaining(plan_for(ADA), options(history.folder)) is None

    def test_it_is_refused_as_the_start_would_be(self, history: RunHistory) -> None:
        history.add({ADA: ACCEPTED, GRACE: PENDING})
        with pytest.raises(InputsChanged):
            find_remaining(plan_for(ADA, JEAN), options(history.folder))

    def test_without_a_state_there_is_nothing_and_none_is_made(self, tmp_path: Path) -> None:
        folder = tmp_path / "none"
        assert find_remaining(plan_for(ADA), options(folder)) is None
        with pytest.raises(InputError, match="no run of spring is unfinished"):
            find_remaining(plan_for(ADA), options(folder, resume=True))
        assert not folder.exists()


class TestRefusals:
    @pytest.mark.parametrize(
        ("fates", "people", "ways", "refusal"),
        [
            pytest.param({JEAN: ACCEPTED}, (ADA,), {}, type(None), id="new people"),
            pytest.param({ADA: ACCEPTED}, (ADA,), {}, RunComplete, id="sent"),
            pytest.param({ADA: ACCEPTED}, (ADA,), {"again": True}, type(None), id="sent again"),
            pytest.param({ADA: ACCEPTED}, (ADA,), {"rehearse": True}, type(None), id="sent, and now rehearsed"),
            pytest.param({ADA: ACCEPTED, GRACE: INTENT}, (JEAN,), {}, InputsChanged, id="changed"),
            pytest.param({ADA: ACCEPTED}, (ADA,), {"resume": True}, InputError, id="nothing to resume"),
        ],
    )
    def test_what_a_start_would_be_refused_for(
        self, history: RunHistory, fates: Any, people: tuple[str, ...], ways: dict[str, Any], refusal: type
    ) -> None:
        history.add(fates)
        assert isinstance(find_refusal(plan_for(*people), options(history.folder, **ways)), refusal)

    @pytest.mark.parametrize("has_state", [False, True], ids=["no state", "a state"])
    def test_a_plan_that_nobody_has_approved(self, history: RunHistory, has_state: bool) -> None:
        folder = history.folder if has_state else history.folder / "none"
        asks = changed(plan_for(ADA), approval={"approvals": 1, "signers": "allowed_signers", "revoked": None})
        assert isinstance(find_refusal(asks, options(folder)), ApprovalMissing)
        assert find_refusal(asks, options(folder, rehearse=True)) is None
        assert find_refusal(plan_for(ADA), options(folder)) is None
        assert has_state or not folder.exists(), "nothing is made by looking"


class TestLimits:
    def stops(self, folder: Path, plan: sender.Plan, **ways: Any) -> list[str]:
        return [stop.limit for stop in foresee_stops(plan, options(folder, **ways))]

    @pytest.mark.parametrize(("most", "expected"), [(1, ["max_messages"]), (2, [])])
    def test_a_first_start(self, tmp_path: Path, most: int, expected: list[str]) -> None:
        plan = changed(plan_for(ADA, GRACE), limits={"max_messages": most})
        assert self.stops(tmp_path / "none", plan) == expected
        assert not (tmp_path / "none").exists()
        assert self.stops(tmp_path, plan) == expected, "of a campaign that this state does not know"

    @pytest.mark.parametrize(
        ("kind", "most", "expected"),
        [(RunKind.LIVE, 2, ["max_messages"]), (RunKind.LIVE, 3, []), (RunKind.REHEARSAL, 2, ["max_messages"])],
    )
    def test_a_run_that_goes_on_is_measured_by_its_own_messages(
        self, history: RunHistory, kind: RunKind, most: int, expected: list[str]
    ) -> None:
        """The limit is today's, and what it is held against is what the run sends."""
        history.add({ADA: ACCEPTED, GRACE: PENDING, JEAN: PENDING}, kind=kind)
        today = changed(plan_for(ADA), limits={"max_messages": most})
        rehearse = kind is RunKind.REHEARSAL
        assert self.stops(history.folder, today, resume=True, rehearse=rehearse) == expected
        assert self.stops(history.folder, today, resume=True, rehearse=not rehearse) == [], "of the other kind"

    def test_a_start_that_is_refused_is_measured_by_its_plan(self, history: RunHistory) -> None:
        history.add({ADA: ACCEPTED})
        assert self.stops(history.folder, changed(plan_for(ADA), limits={"max_messages": 0})) == ["max_messages"]

    @pytest.mark.parametrize(("limit", "expected"), [(None, ["max_messages_per_day"]), (1, [])])
    def test_only_what_is_sent_now_counts_for_the_day(
        self, history: RunHistory, limit: int | None, expected: list[str]
    ) -> None:
        plan = changed(plan_for(ADA, GRACE), limits={"max_messages_per_day": 1})
        assert self.stops(history.folder, plan, limit=limit) == expected
