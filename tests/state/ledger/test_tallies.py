"""The totals that a ledger keeps of a run: whatever happens to its messages, they are what its rows say."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import apsw
import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sender.core.outcomes import (
    Accepted,
    Canceled,
    CancelReason,
    Deferred,
    DeliveryReport,
    Outcome,
    Reason,
    Rejected,
    Status,
    SubmissionState,
    Unknown,
)
from sender.plan.plan import Plan
from sender.reports.figures import JOURNAL_COLUMNS, SENTENCES, Figures, build_figures
from sender.reports.summary import Summary, summarise, summarise_kept
from sender.state.ledger import Claim, Ledger, LogFinding, ReceivedReport, Settlement
from sender.state.postgres.ledger import PostgresLedger
from sender.state.sqlite.ledger import SqliteLedger
from sender.state.tallies import PaceBin
from tests.profiles import examples
from tests.reports.runs import make_plan
from tests.state.ledger.steps import ACCEPTED, DEFERRED, REJECTED, RUN, UNKNOWN, claim, record

_ROWS = [{"segments": 1 + seq % 3} for seq in range(RUN.messages)]
OUTCOMES: tuple[Outcome | Canceled, ...] = (
    Accepted("SM", segments=2, price="-0.0150", currency="USD"),
    Accepted("SM", segments=1, price="-0.0075", currency="USD"),
    Accepted("SM"),
    Accepted("SM", Status.FAILED, reason=Reason.UNREACHABLE, error_code="30003", error_message="Unreachable."),
    Rejected(Reason.BLOCKED, "21610", "blocked"),
    Rejected(Reason.OTHER, None, None),
    Canceled(CancelReason.OPTED_OUT, "replied STOP"),
    Deferred(Reason.RATE_LIMITED, "20429", "too many requests"),
    Unknown("read timeout"),
)
REPORTS = (
    DeliveryReport("SM", Status.SENT, "sent", price="-0.0075", currency="USD"),
    DeliveryReport("SM", Status.DELIVERED, "delivered", segments=3),
    DeliveryReport("SM", Status.UNDELIVERED, "undelivered", reason=Reason.FILTERED, error_code="30007"),
    DeliveryReport("SM", Status.UNCONFIRMED),
    DeliveryReport("OTHER", Status.DELIVERED, "delivered"),
)


@cache
def plan() -> Plan:
    made = make_plan(_ROWS)
    return made.with_manifest(replace(made.manifest, segment_counts={"1": 4, "2": 3, "3": 3}))


FIELDS = [each.name for each in fields(Summary)]
seqs = st.integers(0, RUN.messages - 1)
spans = st.tuples(seqs, st.integers(1, 5))
steps = st.one_of(
    st.tuples(st.just("claim"), st.integers(1, 6)),
    st.tuples(st.just("record"), st.lists(st.tuples(st.integers(0, 60), st.sampled_from(OUTCOMES)), max_size=6)),
    st.tuples(st.just("report"), st.lists(st.tuples(seqs | st.none(), st.sampled_from(REPORTS)), max_size=4)),
    st.tuples(st.just("reconcile"), st.lists(st.tuples(seqs, st.sampled_from([*OUTCOMES[:4], None])), max_size=4)),
    st.tuples(st.just("release"), st.lists(st.integers(0, 60), max_size=4)),
    st.tuples(st.just("wait"), st.integers(1, 90_000)),
    st.tuples(st.just("hold"), spans),
    st.tuples(st.just("expire"), spans),
    st.tuples(st.just("cancel"), st.sets(seqs, max_size=3)),
    st.tuples(st.sampled_from(["orphans", "resend", "match", "forget", "prefetch"]), st.none()),
)


class Life:
    """A run to which anything happens, many messages at a time."""

    def __init__(self, store: Any) -> None:
        self.store, self.claims = store, [Claim(0, 1, 0, 1)]
        self.ledger: Ledger = store.open()
        self.ledger.create_run(RUN)

    def do(self, step: str, what: Any) -> None:
        ledger, run_id = self.ledger, RUN.run_id
        match step:
            case "claim":
                self.claims += claim(ledger, what)
            case "record":
                ledger.record(run_id, [Settlement(self.claim(number), outcome) for number, outcome in what])
            case "report":
                ledger.record_reports(
                    [ReceivedReport(report, run_id if seq is not None else None, seq) for seq, report in what]
                )
            case "reconcile":
                ledger.reconcile(run_id, [LogFinding(seq, outcome) for seq, outcome in what])
            case "release":
                ledger.release(run_id, [self.claim(number) for number in what])
            case "wait":
                self.store.clock.ms += what
            case "hold":
                until_ms = self.store.clock.ms + 1000
                ledger.hold(run_id, from_seq=what[0], below_seq=sum(what), until_ms=until_ms)
            case "expire":
                ledger.expire(run_id, from_seq=what[0], below_seq=sum(what), reason=CancelReason.EXPIRED)
            case "cancel":
                ledger.cancel(run_id, what, CancelReason.FORGOTTEN)
            case "orphans":
                ledger.orphans_to_unknown(run_id)
            case "resend":
                ledger.resend_unknown(run_id)
            case "match":
                ledger.match_reports()
            case "forget":
                ledger.erase_sentences(run_id)
            case "prefetch":
                ledger.prefetch(run_id, limit=2)

    def claim(self, number: int) -> Claim:
        return self.claims[-1 - number % len(self.claims)]


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(life=st.lists(steps, max_size=25), closes=st.booleans())
def test_whatever_happens_the_totals_are_what_the_rows_say(
    new_store: Callable[[], Any], life: list[tuple[str, Any]], closes: bool
) -> None:
    store = new_store()
    try:
        run = Life(store)
        for step, what in life:
            run.do(step, what)
            assert run.ledger.find_drift(RUN.run_id) == {}, step
        if closes:
            run.ledger.close_run(RUN.run_id, by="anna")
            for step, what in life[-3:]:
                run.do(step, what)
        assert kept(run.ledger) == comparable(summarise(plan(), run.ledger.journal(RUN.run_id)))
        assert report_of_totals(run.ledger) == report_of_rows(run.ledger)
        assert ended(run.ledger) == ended_by_rows(run.ledger)
    finally:
        store.close()


def kept(ledger: Ledger) -> dict[str, Any]:
    return comparable(summarise_now(ledger))


def summarise_now(ledger: Ledger) -> Summary:
    segments = dict(plan().messages.select("seq", "segments").iter_rows())
    return summarise_kept(
        plan().manifest,
        ledger.totals(RUN.run_id),
        under_way=Status.UNKNOWN,
        planned_segments=lambda: sum(segments[seq] for seq in ledger.without_segments(RUN.run_id)),
    )


def report_of_totals(ledger: Ledger) -> dict[str, Any]:
    """The figures of a report as `sender report` makes them: from the totals, and from some columns of the journal."""
    narrow = ledger.journal(RUN.run_id, columns=JOURNAL_COLUMNS)
    figures = build_figures(
        plan(),
        narrow,
        RUN,
        summary=summarise_now(ledger),
        read_sentences=lambda seqs: ledger.journal(RUN.run_id, seqs=seqs, columns=SENTENCES),
    )
    return comparable_figures(figures)


def report_of_rows(ledger: Ledger) -> dict[str, Any]:
    return comparable_figures(build_figures(plan(), ledger.journal(RUN.run_id), RUN))


def comparable_figures(figures: Figures) -> dict[str, Any]:
    """As `comparable` has the summary, which has the errors."""
    named = {each.name: getattr(figures, each.name) for each in fields(Figures) if each.name != "errors"}
    return named | {"summary": comparable(figures.summary)}


def comparable(summary: Summary) -> dict[str, Any]:
    """The summary without the sentences, of which any will do, and without what an earlier attempt has left."""
    errors = {
        (one.status, one.reason, one.error_code): one.count for one in summary.errors if one.status != Status.UNKNOWN
    }
    named = {name: getattr(summary, name) for name in FIELDS if name not in ("errors", "rows", "price")}
    return named | {"errors": errors, "price": {name: amount for name, amount in summary.price.items() if amount}}


def ended(ledger: Ledger) -> Counter[tuple[int, str]]:
    """How many messages were delivered, and failed, in each second."""
    counts: Counter[tuple[int, str]] = Counter()
    for one in ledger.pace(RUN.run_id):
        counts[one.at_s, "delivered"] = one.delivered
        counts[one.at_s, "failed"] = one.failed
    return +counts


def ended_by_rows(ledger: Ledger) -> Counter[tuple[int, str]]:
    final = ledger.journal(RUN.run_id).filter(pl.col("final_at").is_not_null())
    ways = {"delivered": "delivered", "undelivered": "failed", "failed": "failed"}
    rows = final.select(pl.col("final_at").dt.epoch("s"), "status").iter_rows()
    return Counter((at_s, ways[status]) for at_s, status in rows if status in ways)


def test_a_second_has_what_was_claimed_and_what_ended_in_it(store: Any) -> None:
    ledger = store.open()
    ledger.create_run(RUN)
    begun_s = store.clock.ms // 1000
    first, second, third = claim(ledger, 3)
    for seq, one in enumerate((first, second)):
        record(ledger, one, Accepted(f"SM{seq}"))
    store.clock.ms += 61_000
    claim(ledger, 2)
    record(ledger, third, REJECTED)
    ledger.record_reports(
        [
            ReceivedReport(DeliveryReport("SM0", Status.DELIVERED, "delivered"), RUN.run_id, 0),
            ReceivedReport(DeliveryReport("SM1", Status.FAILED, "failed"), RUN.run_id, 1),
        ]
    )
    assert ledger.pace(RUN.run_id) == [PaceBin(begun_s, 3, 0, 0), PaceBin(begun_s + 61, 2, 1, 1)]
    assert ledger.pace(RUN.run_id, since_s=begun_s + 1) == [PaceBin(begun_s + 61, 2, 1, 1)]
    hour = begun_s - begun_s % 3600
    assert ledger.pace(RUN.run_id, step_s=3600) == [PaceBin(hour, 5, 1, 1)]


def test_a_late_answer_to_a_claim_that_is_over_changes_no_total(ledger: Ledger) -> None:
    """It comes in one group with answers that count, of the same kind."""
    stale, other = claim(ledger, 2)
    ledger.release(RUN.run_id, [stale])
    (newer,) = ledger.claim_prefetched(RUN.run_id, [0], lease_ms=1000)
    assert ledger.record(RUN.run_id, [Settlement(stale, ACCEPTED), Settlement(other, ACCEPTED)]) == 1
    assert ledger.find_drift(RUN.run_id) == {}
    assert ledger.counts(RUN.run_id).intent == 1
    assert record(ledger, newer, UNKNOWN) == 1
    assert ledger.record(RUN.run_id, [Settlement(newer, ACCEPTED)]) == 1, "proof of an unknown one"
    assert ledger.find_drift(RUN.run_id) == {}
    assert (ledger.counts(RUN.run_id).accepted, ledger.counts(RUN.run_id).unknown) == (2, 0)


def test_an_example_is_a_sentence_that_is_still_there(ledger: Ledger) -> None:
    for sentence in ("first", "second"):
        record(ledger, claim(ledger)[0], Rejected(Reason.BLOCKED, "21610", sentence))
    record(ledger, claim(ledger)[0], DEFERRED)
    tallies = {one.state: one for one in ledger.totals(RUN.run_id).tallies}
    assert tallies[SubmissionState.REJECTED].example == "second"
    assert tallies[SubmissionState.PENDING].example == "too many requests"
    ledger.erase_sentences(RUN.run_id, seqs=[1])
    assert {one.example for one in ledger.totals(RUN.run_id).tallies if one.state == "rejected"} == {"first"}
    ledger.erase_sentences(RUN.run_id)
    assert {one.example for one in ledger.totals(RUN.run_id).tallies} == {None}


def test_the_example_is_of_the_newest_also_among_late_answers(ledger: Ledger) -> None:
    """A claim that is over comes in one group with answers that count, so that the group is counted row by row."""
    record(ledger, claim(ledger)[0], Rejected(Reason.BLOCKED, "21610", "first"))
    stale, second = claim(ledger, 2)
    ledger.release(RUN.run_id, [stale])
    late = [Settlement(stale, ACCEPTED), Settlement(second, Rejected(Reason.BLOCKED, "21610", "second"))]
    assert ledger.record(RUN.run_id, late) == 1
    (tally,) = ledger.totals(RUN.run_id).tallies
    assert (tally.messages, tally.example) == (2, "second")


def test_the_example_is_of_the_newest_report(ledger: Ledger) -> None:
    for seq in range(3):
        record(ledger, claim(ledger)[0], Accepted(f"SM{seq}"))
    for seq, sentence in ((0, "first"), (2, "second")):
        told = DeliveryReport(f"SM{seq}", Status.FAILED, reason=Reason.BLOCKED, error_code="1", error_message=sentence)
        ledger.record_reports([ReceivedReport(told, RUN.run_id, seq)])
    tallies = {one.status: one for one in ledger.totals(RUN.run_id).tallies}
    assert (tallies[Status.FAILED].messages, tallies[Status.FAILED].example) == (2, "second")


@pytest.mark.parametrize(
    "settle",
    [
        pytest.param(lambda ledger: ledger.reconcile(RUN.run_id, [LogFinding(1, ACCEPTED)]), id="found in the log"),
        pytest.param(
            lambda ledger: ledger.record_reports([ReceivedReport(DeliveryReport("SM", Status.SENT), RUN.run_id, 1)]),
            id="reported",
        ),
    ],
)
def test_the_example_stays_where_another_message_leaves(ledger: Ledger, settle: Callable[[Ledger], object]) -> None:
    for seq in range(3):
        record(ledger, claim(ledger)[0], Unknown(f"sentence {seq}"))
    settle(ledger)
    tallies = {one.state: one for one in ledger.totals(RUN.run_id).tallies}
    assert tallies[SubmissionState.ACCEPTED].messages == 1
    unknown = tallies[SubmissionState.UNKNOWN]
    assert (unknown.messages, unknown.example) == (2, "sentence 2")


@pytest.mark.parametrize(
    ("outcome", "reason", "code"),
    [
        pytest.param(Deferred(Reason.RATE_LIMITED, None, "busy"), "rate_limited", None, id="without a code"),
        pytest.param(DEFERRED, "rate_limited", "20429", id="with a code"),
    ],
)
def test_why_a_message_waits_is_in_the_totals(ledger: Ledger, outcome: Deferred, reason: str, code: str | None) -> None:
    record(ledger, claim(ledger)[0], outcome)
    (tally,) = ledger.totals(RUN.run_id).tallies
    assert (tally.state, tally.messages, tally.reason, tally.error_code) == ("pending", 1, reason, code)
    assert ledger.find_drift(RUN.run_id) == {}


def test_totals_that_are_wrong_are_counted_anew(
    ledger: Ledger, store_kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What the rows say is what counts: a damaged total stops nobody."""
    record(ledger, claim(ledger)[0], ACCEPTED)
    with caplog.at_level(logging.WARNING):
        ledger.check(RUN.run_id)
    assert not caplog.records
    statement = "UPDATE tally SET messages = messages + 5 WHERE state = 'accepted'"
    if isinstance(ledger, SqliteLedger):
        apsw.Connection(str(ledger._path)).execute(statement)
    else:
        assert isinstance(ledger, PostgresLedger), store_kind
        with psycopg.connect(ledger._url.text, autocommit=True) as db:
            db.execute(statement)
    (drift,) = ledger.find_drift(RUN.run_id).items()
    assert (drift[0].state, drift[1]) == ("accepted", (6, 1))
    with caplog.at_level(logging.WARNING):
        ledger.check(RUN.run_id)
    assert "the totals kept of run run-1 differed" in caplog.text
    assert ledger.find_drift(RUN.run_id) == {}
    assert ledger.counts(RUN.run_id).accepted == 1


def test_a_ledger_of_an_older_version_is_counted_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    source = Path(__file__).parent / "data" / "version_1.sql"
    apsw.Connection(str(path)).execute(source.read_text(encoding="utf-8"))
    ledger = SqliteLedger.open(path)
    for run in ledger.runs():
        assert ledger.find_drift(run.run_id) == {}
        journal = ledger.journal(run.run_id)
        states = Counter(journal["state"].to_list())
        counts = ledger.counts(run.run_id)
        assert (counts.accepted, counts.rejected) == (states["accepted"], states["rejected"])
        assert sum(one.claimed for one in ledger.pace(run.run_id)) == journal.filter(pl.col("attempts") > 0).height
        begun = journal["intent_at"].min()
        assert isinstance(begun, datetime)
        assert ledger.pace(run.run_id)[0].at_s <= begun.astimezone(UTC).timestamp()
    ledger.close()
