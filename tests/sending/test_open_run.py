"""Which run a start is about: a new one, an unfinished one, or none. By what earlier runs did and what is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import sender
from sender.core.errors import InputError, InputsChanged, RunComplete, RunLocked, RunPaused, StateError
from sender.planning.retry import retry_plan
from sender.recipients.input_file import InputFile
from sender.sending.choose_run import describe_changes, format_utc, has_same_messages
from sender.sending.open_run import open_run
from sender.sending.options import SendOptions
from sender.state.ledger import Run, RunKind
from tests.state.run_history import (
    ACCEPTED,
    ADA,
    GRACE,
    INTENT,
    JEAN,
    MARY,
    NOON_MS,
    PENDING,
    REJECTED,
    UNKNOWN,
    Fate,
    RunHistory,
    plan_for,
)

LIST, OTHER_LIST = (InputFile("recipients", "people.csv", 9, sha256) for sha256 in ("a", "b"))
TEXT, BLOCKED = InputFile("template", "offer.txt", 9, "c"), InputFile("suppress", "blocked.csv", 9, "d")
Fates = Mapping[str, Fate]
ENV = {"TWILIO_ACCOUNT_SID": "AC" + "0" * 32, "TWILIO_AUTH_TOKEN": "x" * 32}


@dataclass
class Opened:
    """What a start was given."""

    run: Run
    resumed: bool
    repeated: int
    messages: int


def start(history: RunHistory, plan: sender.Plan, **options: Any) -> Opened:
    with open_run(plan, SendOptions(init_state=True, state_dir=history.folder, env=ENV, **options)) as session:
        return Opened(session.run, session.resumed, session.repeated, session.plan.manifest.messages)


def outcome(history: RunHistory, plan: sender.Plan, **options: Any) -> str:
    """The run that is resumed, `new`, or the class of the refusal."""
    try:
        opened = start(history, plan, **options)
    except (InputError, InputsChanged, RunComplete) as error:
        return type(error).__name__
    return opened.run.run_id if opened.resumed else "new"


PLAIN: dict[str, Any] = {}
RESUME, AGAIN, NEW = {"resume": True}, {"again": True}, {"new_run": True}

# What earlier runs of the campaign did, one after the other; whom the plan is for; and, for each way to start, what
# comes of it: plain, --resume, --again, --new-run.
STARTS = [
    pytest.param([], (ADA,), ("new", "InputError", "new", "new"), id="nothing was sent"),
    pytest.param([{ADA: ACCEPTED}], (ADA,), ("RunComplete", "InputError", "new", "new"), id="sent"),
    pytest.param([{ADA: UNKNOWN}], (ADA,), ("run-0", "InputError", "new", "new"), id="something is to be settled"),
    pytest.param([{ADA: ACCEPTED, GRACE: UNKNOWN}], (ADA, GRACE), ("run-0", "InputError", "new", "new"), id="of two"),
    pytest.param([{ADA: PENDING}], (ADA,), ("run-0", "run-0", "InputsChanged", "new"), id="begun"),
    pytest.param([{ADA: INTENT}], (ADA,), ("run-0", "run-0", "InputsChanged", "new"), id="killed"),
    pytest.param(
        [{ADA: ACCEPTED, GRACE: PENDING}], (ADA, GRACE), ("run-0", "run-0", "InputsChanged", "new"), id="half sent"
    ),
    pytest.param(
        [{ADA: ACCEPTED, GRACE: PENDING}], (ADA, JEAN), ("InputsChanged", "run-0", "InputsChanged", "new"), id="changed"
    ),
    pytest.param(
        [{ADA: UNKNOWN, GRACE: PENDING}], (JEAN,), ("InputsChanged", "run-0", "InputsChanged", "new"), id="in doubt"
    ),
    pytest.param(
        [{ADA: INTENT, GRACE: PENDING}], (JEAN,), ("InputsChanged", "run-0", "InputsChanged", "new"), id="in flight"
    ),
    pytest.param(
        [{ADA: PENDING}], (JEAN,), ("new", "run-0", "InputsChanged", "new"), id="changed before anybody was reached"
    ),
    pytest.param(
        [{ADA: REJECTED, GRACE: PENDING}], (JEAN,), ("new", "run-0", "InputsChanged", "new"), id="only refused so far"
    ),
    pytest.param([{ADA: ACCEPTED}], (ADA, GRACE), ("RunComplete", "InputError", "new", "new"), id="a longer list"),
    pytest.param([{ADA: ACCEPTED}], (GRACE,), ("new", "InputError", "new", "new"), id="other people"),
    pytest.param(
        [{ADA: ACCEPTED}, {GRACE: ACCEPTED}], (ADA,), ("RunComplete", "InputError", "new", "new"), id="the first"
    ),
    pytest.param(
        [{ADA: ACCEPTED}, {GRACE: PENDING}],
        (ADA,),
        ("RunComplete", "run-1", "InputsChanged", "new"),
        id="another is begun",
    ),
    pytest.param(
        [{ADA: PENDING}, {ADA: PENDING}], (ADA,), ("run-1", "run-1", "InputsChanged", "new"), id="the newest of two"
    ),
]


@pytest.mark.parametrize(("runs", "people", "expected"), STARTS)
@pytest.mark.parametrize("way", range(4), ids=["plain", "resume", "again", "new run"])
def test_which_run_a_start_is_about(
    history: RunHistory, runs: list[Fates], people: tuple[str, ...], expected: tuple[str, ...], way: int
) -> None:
    for fates in runs:
        history.add(fates)
    assert outcome(history, plan_for(*people), **(PLAIN, RESUME, AGAIN, NEW)[way]) == expected[way]


@pytest.mark.parametrize("ways", [{**RESUME, **AGAIN}, {**RESUME, **NEW}, {**AGAIN, **NEW}, {**RESUME, **AGAIN, **NEW}])
def test_only_one_way_can_be_asked_for(history: RunHistory, ways: dict[str, bool]) -> None:
    with pytest.raises(InputError, match="only one of"):
        start(history, plan_for(ADA), **ways)


class TestKinds:
    """A rehearsal is never a run that reaches people, nor the other way round."""

    @pytest.mark.parametrize("fate", [ACCEPTED, UNKNOWN, PENDING, INTENT], ids=str)
    @pytest.mark.parametrize(("earlier", "rehearse"), [(RunKind.LIVE, True), (RunKind.REHEARSAL, False)])
    def test_a_run_of_another_kind_does_not_count(
        self, history: RunHistory, fate: Fate, earlier: RunKind, rehearse: bool
    ) -> None:
        history.add({ADA: fate}, kind=earlier)
        for way in (PLAIN, AGAIN, NEW):
            assert outcome(history, plan_for(ADA), rehearse=rehearse, **way) == "new"
        assert outcome(history, plan_for(ADA), rehearse=rehearse, **RESUME) == "InputError"

    @pytest.mark.parametrize(
        ("provider", "rehearse", "kind", "simulated"),
        [
            ("twilio", False, RunKind.LIVE, False),
            ("twilio", True, RunKind.REHEARSAL, True),
            ("sandbox", False, RunKind.SANDBOX, True),
        ],
    )
    def test_what_a_new_run_is(
        self, history: RunHistory, provider: str, rehearse: bool, kind: RunKind, simulated: bool
    ) -> None:
        run = start(history, plan_for(ADA, provider=provider), rehearse=rehearse).run
        assert (run.kind, run.simulated, run.provider) == (kind, simulated, provider)

    def test_a_test_is_always_a_run_of_its_own(self, history: RunHistory) -> None:
        campaign = sender.load_campaign(
            name="spring", provider="twilio", from_="+12025550199", message="Hi", recipients=[{"phone": ADA}]
        )
        test = sender.build_plan(campaign, test_to=GRACE)
        history.add({ADA: PENDING})
        opened = start(history, test)
        assert (opened.resumed, opened.run.kind) == (False, RunKind.TEST)

    def test_a_run_that_is_recorded_as_both_is_not_sent(self, history: RunHistory) -> None:
        run = history.add({ADA: PENDING})
        history.state.ledger.create_run(replace(run, run_id="odd", simulated=True, created_at_ms=history.now_ms + 1))
        history.state.plans.save(replace(run, run_id="odd"), plan_for(ADA))
        with pytest.raises(StateError, match="is recorded as live, and this start is live"):
            start(history, plan_for(ADA))


class TestNewRun:
    def test_it_holds_what_the_plan_is(self, history: RunHistory, tmp_path: Path) -> None:
        source = tmp_path / "spring.yaml"
        plan = plan_for(ADA, GRACE)
        run = start(history, plan, source=source).run
        assert (run.campaign, run.plan_hash, run.rows, run.messages, run.skipped) == ("spring", plan.hash, 2, 2, 0)
        assert run.source == str(source)
        assert (run.retry_of, run.kind) == (None, RunKind.LIVE)

    def test_its_id_is_its_time_and_chance(self, history: RunHistory) -> None:
        history.now_ms = NOON_MS
        ids = {start(history, plan_for(ADA)).run.run_id for _ in range(3)}
        assert len(ids) == 3, "nothing was begun, so each start would be another run"
        assert {run_id[:16] for run_id in ids} == {"20260101-120000-"}
        assert {len(run_id) for run_id in ids} == {24}

    @pytest.mark.parametrize(
        ("fates", "repeated"),
        [({ADA: ACCEPTED, GRACE: UNKNOWN}, 2), ({ADA: ACCEPTED, GRACE: REJECTED}, 1), ({JEAN: ACCEPTED}, 0)],
    )
    def test_it_says_how_many_get_it_once_more(self, history: RunHistory, fates: Fates, repeated: int) -> None:
        history.add(fates)
        assert start(history, plan_for(ADA, GRACE), again=True).repeated == repeated

    def test_nobody_to_send_to(self, history: RunHistory) -> None:
        campaign = sender.load_campaign(
            name="spring", provider="twilio", from_="+12025550199", message="Hi", recipients=[{"phone": "12"}]
        )
        with pytest.raises(InputError, match="there is nobody to send to: every row is skipped"):
            start(history, sender.build_plan(campaign))


class TestRefusals:
    def test_a_sent_plan_is_named_with_its_run(self, history: RunHistory) -> None:
        history.add({ADA: ACCEPTED, GRACE: ACCEPTED})
        with pytest.raises(RunComplete) as caught:
            start(history, plan_for(ADA, GRACE))
        assert caught.value.what == "this plan of spring has been sent: run run-0 of 2026-01-01 12:00 UTC"
        assert "sender results run-0" in str(caught.value.fix)
        assert "--only-new" not in str(caught.value.fix)

    @pytest.mark.parametrize(
        ("fates", "people"),
        [
            ({ADA: ACCEPTED, GRACE: REJECTED}, "1 person who has"),
            ({ADA: ACCEPTED, GRACE: REJECTED, JEAN: REJECTED}, "2 people who have"),
        ],
    )
    def test_who_has_not_had_it_all_the_same(self, history: RunHistory, fates: Fates, people: str) -> None:
        history.add(fates)
        with pytest.raises(RunComplete) as caught:
            start(history, plan_for(*fates))
        assert f"--only-new sends to the {people} not had it" in str(caught.value.fix)

    def test_what_has_changed_is_said(self, history: RunHistory) -> None:
        history.add({ADA: ACCEPTED, GRACE: PENDING})
        with pytest.raises(InputsChanged) as caught:
            start(history, plan_for(ADA, JEAN, MARY))
        assert "run run-0 of spring is unfinished (1 of 2 accepted)" in caught.value.what
        assert "2 messages became 3" in caught.value.what
        assert "--resume" in str(caught.value.fix)

    @pytest.mark.parametrize(
        ("before", "after", "phrases"),
        [
            pytest.param({}, {}, [], id="nothing"),
            pytest.param(
                {"inputs": (LIST,)},
                {"inputs": (TEXT,)},
                ["recipients people.csv is no longer used", "template offer.txt is new"],
                id="files",
            ),
            pytest.param(
                {"inputs": (LIST,)}, {"inputs": (OTHER_LIST,)}, ["recipients people.csv changed"], id="a file"
            ),
            pytest.param({"inputs": (BLOCKED,)}, {"inputs": ()}, [], id="a suppression file, read at each start"),
            pytest.param({"edition": "week 1"}, {}, ["edition: week 1 became none"], id="no edition"),
            pytest.param({}, {"edition": "week 1"}, ["edition: none became week 1"], id="an edition"),
            pytest.param({}, {"provider": "telnyx"}, ["provider: twilio became telnyx"], id="provider"),
            pytest.param({}, {"dialect": "telnyx"}, ["dialect: twilio became telnyx"], id="dialect"),
            pytest.param({"senders": ("1", "2")}, {"senders": ()}, ["from: 1, 2 became none"], id="no sender"),
            pytest.param({"senders": ()}, {"senders": ("3",)}, ["from: none became 3"], id="a sender"),
            pytest.param(
                {}, {"pool": {"match": 1}}, ["from: the weights or the `match` of the pool changed"], id="pool"
            ),
            pytest.param({"fields": {"a": 1}}, {"fields": {"a": 2}}, ["a: 1 became 2"], id="a field"),
            pytest.param({"fields": {"a": 1}}, {}, ["a: 1 became not set"], id="a field is left out"),
            pytest.param({}, {"templates": {"body": "Hi"}}, ["body: not set became Hi"], id="a text is new"),
            pytest.param(
                {"versions": {"x": "1"}}, {"versions": {"x": "2", "y": "1"}}, ["x 1 became 2"], id="a package"
            ),
            pytest.param({"messages": 1}, {"messages": 2}, ["1 message became 2"], id="more messages"),
            pytest.param({"messages": 2}, {"messages": 1}, ["2 messages became 1"], id="fewer messages"),
        ],
    )
    def test_each_change_is_a_phrase(self, before: dict[str, Any], after: dict[str, Any], phrases: list[str]) -> None:
        manifest = plan_for(ADA).manifest
        assert list(describe_changes(replace(manifest, **before), replace(manifest, **after))) == phrases

    @pytest.mark.parametrize("way", [PLAIN, RESUME], ids=["plain", "resume"])
    def test_a_paused_run_does_not_go_on_by_itself(
        self, history: RunHistory, local_zone: None, way: dict[str, bool]
    ) -> None:
        run = history.add({ADA: ACCEPTED, GRACE: PENDING})
        history.state.ledger.pause_run(run.run_id, by="anna")
        with pytest.raises(RunPaused) as caught:
            start(history, plan_for(ADA, GRACE), **way)
        moment = "2026-01-01 12:00 UTC (17:45 +0545)"
        assert caught.value.what == f"run run-0 of spring was paused on {moment} by anna"
        assert "`sender resume run-0` lifts the pause" in str(caught.value.fix)

    def test_a_closed_run_is_not_finished(self, history: RunHistory, local_zone: None) -> None:
        history.add({ADA: ACCEPTED, GRACE: PENDING})
        history.state.ledger.close_run("run-0", by="anna")
        with pytest.raises(RunComplete) as caught:
            start(history, plan_for(ADA, GRACE), resume=True)
        assert caught.value.what == "run run-0 of spring was closed on 2026-01-01 12:00 UTC (17:45 +0545) by anna"
        assert "`sender retry run-0 --status canceled` sends what was canceled" in str(caught.value.fix)
        with pytest.raises(RunComplete, match=r"run run-0 of 2026-01-01 12:00 UTC \(17:45 \+0545\), closed by anna"):
            start(history, plan_for(ADA, GRACE))

    def test_a_moment_is_said_in_utc_wherever_the_machine_is(self, local_zone: None) -> None:
        assert format_utc(NOON_MS) == "2026-01-01 12:00 UTC"

    @pytest.mark.parametrize(("pending", "says"), [(1, "1 message is pending"), (2, "2 messages are pending")])
    def test_again_says_what_is_pending(self, history: RunHistory, pending: int, says: str) -> None:
        history.add({ADA: ACCEPTED, **dict.fromkeys((GRACE, JEAN)[:pending], PENDING)})
        with pytest.raises(InputsChanged, match=f"run run-0 of spring is unfinished: {says}"):
            start(history, plan_for(ADA), again=True)

    def test_another_start_of_the_campaign_waits_for_nobody(self, history: RunHistory) -> None:
        options = SendOptions(init_state=True, state_dir=history.folder, env=ENV)
        with open_run(plan_for(ADA), options), pytest.raises(RunLocked), open_run(plan_for(ADA), options):
            pass
        with open_run(plan_for(ADA), options), open_run(plan_for(ADA, campaign="summer"), options):
            pass
        with open_run(plan_for(ADA), options), open_run(plan_for(ADA), replace(options, rehearse=True)):
            pass

    def test_a_retry_that_was_planned_before_another_is_not_begun(self, history: RunHistory) -> None:
        """Whoever the other one has reached would get it twice."""
        run = history.add({ADA: ACCEPTED, GRACE: REJECTED})
        ledger = history.state.ledger
        ledger.finish_run(run.run_id)
        plan = retry_plan(history.state, run, statuses=["rejected"], reasons=["blocked"])
        assert outcome(history, plan) == "new"
        sizes: Any = {"rows": 1, "messages": 1, "created_at_ms": history.now_ms + 1}
        other = replace(run, run_id="other", retry_of=run.run_id, plan_hash=plan.hash, **sizes)
        history.state.plans.save(other, plan)
        ledger.create_run(other)
        assert outcome(history, plan) == "other", "it is that one, as long as that is not over"
        ledger.close_run(other.run_id, by="anna")
        with pytest.raises(RunComplete, match="run-0 has been retried since this plan was made: run other"):
            start(history, plan)


class TestResumed:
    def test_it_goes_on_with_the_plan_it_began_with(self, history: RunHistory) -> None:
        history.add({ADA: ACCEPTED, GRACE: PENDING})
        opened = start(history, plan_for(ADA, JEAN, MARY), resume=True)
        assert (opened.run.run_id, opened.resumed, opened.messages) == ("run-0", True, 2)

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            pytest.param({}, "run-0", id="the same"),
            pytest.param({"campaign": "summer"}, "new", id="another campaign"),
            pytest.param({"provider": "telnyx"}, "new", id="another provider, nobody reached"),
        ],
    )
    def test_what_makes_it_another(self, history: RunHistory, settings: dict[str, str], expected: str) -> None:
        history.add({ADA: PENDING})
        assert outcome(history, plan_for(ADA, **settings)) == expected

    def test_a_plan_with_other_rows_that_nobody_gets_is_the_same(self, history: RunHistory) -> None:
        """Its hash is another one: somebody was left out who had opted out, for example."""
        history.add({ADA: ACCEPTED, GRACE: PENDING})
        plan = plan_for(ADA, GRACE)
        other = plan.with_manifest(replace(plan.manifest, plan_hash="0" * 64))
        assert outcome(history, other) == "run-0"

    @pytest.mark.parametrize(
        ("account", "base_url", "is_same"),
        [
            pytest.param(None, None, True, id="not known"),
            pytest.param(ENV["TWILIO_ACCOUNT_SID"], "https://api.twilio.com", True, id="the same"),
            pytest.param("AC" + "1" * 32, "https://api.twilio.com", False, id="another account"),
            pytest.param(ENV["TWILIO_ACCOUNT_SID"], "https://proxy.example", False, id="another address"),
        ],
    )
    @pytest.mark.parametrize("kind", [RunKind.LIVE, RunKind.REHEARSAL])
    def test_for_new_people_alone_another_account_begins_anew(
        self, history: RunHistory, kind: RunKind, account: str | None, base_url: str | None, is_same: bool
    ) -> None:
        """But for what reaches nobody: each rehearsal may have an address of its own."""
        plan, rehearse = plan_for(ADA, GRACE), kind is RunKind.REHEARSAL
        run = replace(history.add({JEAN: PENDING}, kind=kind), run_id="begun", plan_hash=plan.hash, rows=2, messages=2)
        run = replace(run, account=account, base_url=base_url, simulated=rehearse, created_at_ms=history.now_ms + 1)
        history.state.ledger.create_run(run, closes=["run-0"])
        history.state.plans.save(run, plan)
        only_new = plan.with_manifest(replace(plan.manifest, only_new=True))
        assert outcome(history, only_new, rehearse=rehearse) == ("begun" if is_same or rehearse else "new")

    @pytest.mark.parametrize(
        ("people", "keys", "expected"),
        [
            pytest.param((ADA, GRACE), {}, True, id="the same messages"),
            pytest.param((ADA, JEAN), {}, False, id="other people"),
            pytest.param((ADA, GRACE), {"provider": "telnyx"}, False, id="another provider"),
        ],
    )
    def test_what_the_same_messages_are(
        self, history: RunHistory, people: tuple[str, ...], keys: dict[str, str], expected: bool
    ) -> None:
        plan = plan_for(*people, **keys)
        run = history.add({ADA: ACCEPTED, GRACE: PENDING})
        other = plan.with_manifest(replace(plan.manifest, plan_hash="0" * 64))
        assert has_same_messages(history.state, run, plan) is expected
        assert has_same_messages(history.state, run, other) is expected
        history.lose_plan(run)
        assert has_same_messages(history.state, run, plan) is expected, "the hash says so"
        assert not has_same_messages(history.state, run, other), "nothing is known of its messages"

    def test_people_who_had_it_since_are_not_texted_by_a_run_that_was_left(self, history: RunHistory) -> None:
        history.add({ADA: PENDING, GRACE: PENDING})
        history.add({ADA: ACCEPTED})
        assert outcome(history, plan_for(ADA, GRACE), resume=True) != "run-0"
        assert outcome(history, plan_for(ADA, GRACE)) == "RunComplete"
