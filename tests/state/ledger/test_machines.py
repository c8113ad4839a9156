"""Long lives of a ledger, drawn at random: beside a dict that obeys the protocol's words, and beside a provider."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sender.core.outcomes import (
    Accepted,
    Canceled,
    CancelReason,
    Deferred,
    DeliveryReport,
    Outcome,
    Rejected,
    Status,
    Unknown,
)
from sender.state.ledger import Claim, Ledger, LogFinding, ReceivedReport, Settlement
from tests.state.ledger.steps import DEFERRED, LEASE_MS, OUTCOMES, RUN, UNKNOWN, claim, record

pytestmark = pytest.mark.timeout(1200)  # 200 lives of 50 steps take more than a minute where nothing else runs

# The model: a dict that obeys the protocol's words


@dataclass
class ModelMessage:
    state: str = "pending"
    attempts: int = 0
    fence: int = 0
    not_before: int = 0
    message_id: str | None = None
    resent: int = 0
    deferred: bool = False  # by the provider's word, which gives a reason
    intent_at: int = 0
    sender: str | None = None
    claims: list[Claim] = field(default_factory=list)


SMALL = replace(RUN, rows=8, messages=8, skipped=0)
spans = st.tuples(st.integers(0, 9), st.integers(0, 10))  # the end may be before the beginning
outcomes = st.sampled_from([None, *OUTCOMES.values()])


class LedgerMachine(RuleBasedStateMachine):
    """A ledger and a dict go through the same life and must tell the same story at every step."""

    new_store: Callable[[], Any]

    @initialize()
    def start(self) -> None:
        self.store = self.new_store()
        self.ledger: Ledger = self.store.open()
        self.ledger.create_run(SMALL)
        self.rows: dict[int, ModelMessage] = {}
        self.closed = self.paused = False

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()

    def claims(self) -> list[Claim]:
        return [one for message in self.rows.values() for one in message.claims]

    def due(self, bound: int) -> list[int]:
        """What waits for nothing any more, the longest due first; nothing in a closed or paused run."""
        if self.closed or self.paused:
            return []
        waiting = sorted(
            (message.not_before, seq)
            for seq, message in self.rows.items()
            if message.state == "pending" and message.not_before <= self.store.clock.ms and seq < bound
        )
        return [seq for _, seq in waiting]

    def fresh(self, limit: int, bound: int) -> range:
        held = self.closed or self.paused
        return range(len(self.rows), min(bound, SMALL.messages))[: 0 if held else max(0, limit)]

    @rule(limit=st.integers(0, 5), below_seq=st.none() | st.integers(0, 10))
    def claim(self, limit: int, below_seq: int | None) -> None:
        bound = SMALL.messages if below_seq is None else below_seq
        again = sorted(self.due(bound)[:limit])
        fresh = self.fresh(limit - len(again), bound)
        claims = self.ledger.claim(RUN.run_id, limit=limit, lease_ms=LEASE_MS, below_seq=below_seq)
        assert [one.seq for one in claims] == [*again, *fresh]
        self.claimed(claims)

    def claimed(self, claims: list[Claim]) -> None:
        now = self.store.clock.ms
        for one in claims:
            message = self.rows.setdefault(one.seq, ModelMessage())
            message.state, message.attempts, message.fence = "intent", message.attempts + 1, message.fence + 1
            message.sender, message.intent_at = None, now
            assert one == Claim(one.seq, message.attempts, now + LEASE_MS, message.fence)
            message.claims.append(one)

    @rule(limit=st.integers(0, 5), below_seq=st.none() | st.integers(0, 10), exclude=st.sets(st.integers(0, 9)))
    def prefetch(self, limit: int, below_seq: int | None, exclude: set[int]) -> None:
        bound = SMALL.messages if below_seq is None else below_seq
        again = [seq for seq in self.due(bound) if seq not in exclude][:limit]
        fresh = self.fresh(limit - len(again), bound)
        told = self.ledger.prefetch(RUN.run_id, limit=limit, below_seq=below_seq, exclude=exclude)
        assert told == [*again, *fresh]
        self.rows |= {seq: ModelMessage() for seq in fresh}

    @rule(seqs=st.sets(st.integers(0, 9)))
    def claim_prefetched(self, seqs: set[int]) -> None:
        claims = self.ledger.claim_prefetched(RUN.run_id, seqs, lease_ms=LEASE_MS)
        assert [one.seq for one in claims] == sorted(seqs.intersection(self.due(SMALL.messages)))
        self.claimed(claims)

    @rule(data=st.data(), number=st.sampled_from(["+12025550101", "+12025550102"]))
    def use_sender(self, data: st.DataObject, number: str) -> None:
        given = self.claims()
        if not given:
            return
        one = data.draw(st.sampled_from(given))
        held = self.holds(one)
        assert self.ledger.use_senders(RUN.run_id, [(one, number)]) == int(held)
        if held:
            self.rows[one.seq].sender = number

    def holds(self, one: Claim) -> bool:
        message = self.rows[one.seq]
        return message.state == "intent" and one == message.claims[-1]

    @rule(data=st.data(), not_before=st.none() | st.integers(0, 50))
    def record(self, data: st.DataObject, not_before: int | None) -> None:
        given = self.claims()
        if not given:
            return
        one = data.draw(st.sampled_from(given))
        outcome = data.draw(st.sampled_from(list(OUTCOMES.values())))
        now = self.store.clock.ms
        due = None if not_before is None else now + not_before
        assert record(self.ledger, one, outcome, due) == int(self.settle(one, outcome, now if due is None else due))

    def settle(self, one: Claim, outcome: Outcome | Canceled, due: int) -> bool:
        if not self.holds(one) and not (self.fits(one) and isinstance(outcome, Accepted | Rejected)):
            return False
        self.become(self.rows[one.seq], outcome, due)
        return True

    def fits(self, one: Claim) -> bool:
        """Whether it is the claim over which the message is in doubt: then its answer, however late, is proof."""
        message = self.rows[one.seq]
        return message.state == "unknown" and one == message.claims[-1] and one.attempt == message.attempts

    def become(self, message: ModelMessage, outcome: Outcome | Canceled | None, due: int) -> None:
        match outcome:
            case Accepted():
                message.state, message.message_id = "accepted", outcome.message_id
            case Rejected():
                message.state = "rejected"
            case Canceled():
                self.cancel(message)
                message.attempts -= 1
            case Unknown():
                message.state = "unknown"
            case Deferred() if self.closed:
                self.cancel(message)
            case None if self.closed:
                message.state = "canceled"  # whatever a person said: it is proved
            case Deferred() | None:
                message.state, message.not_before, message.deferred = "pending", due, outcome is not None

    def reach(self, span: tuple[int, int]) -> list[ModelMessage]:
        """What is pending of a range, which is entered where all before it is."""
        first, stop = span[0], min(span[1], SMALL.messages)
        if first <= len(self.rows) < stop and not self.closed:
            self.rows |= {seq: ModelMessage() for seq in range(len(self.rows), stop)}
        return [self.rows[seq] for seq in range(first, stop) if seq in self.rows and self.rows[seq].state == "pending"]

    @rule(span=spans, ms=st.integers(-5, 60))
    def hold(self, span: tuple[int, int], ms: int) -> None:
        until = self.store.clock.ms + ms
        frontier = self.ledger.hold(RUN.run_id, from_seq=span[0], below_seq=span[1], until_ms=until)
        for message in self.reach(span):
            message.not_before = max(message.not_before, until) if message.deferred else until
        assert frontier == len(self.rows)

    @rule(span=spans)
    def lift(self, span: tuple[int, int]) -> None:
        now = self.store.clock.ms
        held = [
            message
            for seq, message in self.rows.items()
            if span[0] <= seq < span[1] and message.state == "pending" and message.not_before > now
            and not message.deferred
        ]  # fmt: skip
        assert self.ledger.lift(RUN.run_id, from_seq=span[0], below_seq=span[1]) == len(held)
        for message in held:
            message.not_before = now

    @rule(span=spans, rarely=st.integers(0, 4))
    def expire(self, span: tuple[int, int], rarely: int) -> None:
        if rarely:
            return
        frontier = self.ledger.expire(RUN.run_id, from_seq=span[0], below_seq=span[1], reason=CancelReason.EXPIRED)
        for message in self.reach(span):
            self.cancel(message)
        assert frontier == len(self.rows)

    @rule(seqs=st.sets(st.integers(0, 9)), rarely=st.integers(0, 4))
    def forget(self, seqs: set[int], rarely: int) -> None:
        if rarely:
            return
        known = {seq for seq in seqs if seq < SMALL.messages}
        pending = [seq for seq in known if seq >= len(self.rows) or self.rows[seq].state == "pending"]
        canceled = [seq for seq in pending if seq not in self.rows or not self.rows[seq].resent]
        assert self.ledger.cancel(RUN.run_id, seqs, CancelReason.FORGOTTEN) == len(canceled)
        if known:
            self.rows |= {seq: ModelMessage() for seq in range(len(self.rows), max(known) + 1)}
        for seq in pending:
            self.cancel(self.rows[seq])

    def cancel(self, message: ModelMessage) -> bool:
        """Whether that is what it becomes: what was sent again may have left the first time."""
        message.state = "unknown" if message.resent else "canceled"
        return not message.resent

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        given = self.claims()
        if not given:
            return
        one = data.draw(st.sampled_from(given))
        message, held = self.rows[one.seq], self.holds(one)
        assert self.ledger.release(RUN.run_id, [one]) == int(held)
        if held:
            if self.closed:
                self.cancel(message)
            else:
                message.state = "pending"
            message.not_before, message.sender, message.attempts = 0, None, message.attempts - 1

    @rule(seq=st.integers(0, 9), outcome=outcomes, attempt=st.none() | st.integers(1, 3))
    def reconcile(self, seq: int, outcome: Outcome | Canceled | None, attempt: int | None) -> None:
        message = self.rows.get(seq, ModelMessage())
        if isinstance(outcome, Canceled):
            return  # a log proves no decision of ours
        proved = not isinstance(outcome, Unknown) and attempt in (None, message.attempts)
        changes = proved and message.state == "unknown"
        assert self.ledger.reconcile(RUN.run_id, [LogFinding(seq, outcome, attempt)]) == int(changes)
        if changes:
            self.become(message, outcome, self.store.clock.ms)

    @rule()
    def resend(self) -> None:
        unknown = [message for message in self.rows.values() if message.state == "unknown"]
        assert self.ledger.resend_unknown(RUN.run_id) == (0 if self.closed else len(unknown))
        for message in [] if self.closed else unknown:
            message.state, message.not_before = "pending", self.store.clock.ms
            message.resent += 1

    @precondition(lambda self: self.rows)
    @rule(rarely=st.integers(0, 9))
    def close(self, rarely: int) -> None:
        if rarely:  # or most lives would be over after a few steps
            return
        waiting = [message for message in self.rows.values() if message.state == "pending"]
        fresh = range(len(self.rows), SMALL.messages)
        doubted = [message for message in waiting if message.resent]
        canceled = 0 if self.closed else len(waiting) - len(doubted) + len(fresh)
        assert self.ledger.close_run(RUN.run_id, by="a person") == canceled
        if not self.closed:
            self.rows |= {seq: ModelMessage() for seq in fresh}
            for message in (*waiting, *(self.rows[seq] for seq in fresh)):
                self.cancel(message)
        self.closed, self.paused = True, False

    @rule()
    def pause(self) -> None:
        assert self.ledger.pause_run(RUN.run_id, by="a person") is (not self.closed and not self.paused)
        self.paused = not self.closed

    @rule()
    def resume(self) -> None:
        assert self.ledger.resume_run(RUN.run_id) is self.paused
        self.paused = False

    @rule()
    def crash(self) -> None:
        """A process that dies closes nothing; its claims are still known to whoever finds them."""
        self.ledger = self.store.open()
        self.ledger.check(RUN.run_id)

    @rule()
    def orphans(self) -> None:
        left = [message for message in self.rows.values() if message.state == "intent"]
        assert self.ledger.orphans_to_unknown(RUN.run_id) == len(left)
        for message in left:
            message.state = "unknown"

    @rule(ms=st.integers(1, 60))
    def time_passes(self, ms: int) -> None:
        self.store.clock.ms += ms

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = self.store.open()

    @rule()
    def finish(self) -> None:
        states = {message.state for message in self.rows.values()}
        done = len(self.rows) == SMALL.messages and not states & {"pending", "intent"}
        assert self.ledger.finish_run(RUN.run_id) is done
        assert (self.ledger.run(RUN.run_id).finished_at_ms is not None) is done

    @invariant()
    def same_story(self) -> None:
        journal = self.ledger.journal(RUN.run_id)
        columns = ("seq", "state", "attempts", "message_id", "resent", "sender")
        assert list(journal.select(columns).iter_rows()) == [
            (
                seq,
                message.state,
                message.attempts,
                message.message_id if message.state == "accepted" else None,
                message.resent,
                message.sender,
            )
            for seq, message in sorted(self.rows.items())
        ]
        changed = dict(self.ledger.last_changed(RUN.run_id, limit=100))
        assert changed.keys() == {seq for seq, message in self.rows.items() if message.attempts}
        assert all(self.rows[seq].intent_at <= at_ms <= self.store.clock.ms for seq, at_ms in changed.items())
        pending = [seq for seq, message in sorted(self.rows.items()) if message.state == "pending"]
        assert self.ledger.pending_from(RUN.run_id) == (len(self.rows), pending)

    @invariant()
    def counts_add_up(self) -> None:
        counts = self.ledger.counts(RUN.run_id)
        total = counts.pending + counts.intent + counts.accepted + counts.rejected + counts.canceled + counts.unknown
        assert total == SMALL.messages
        states = [message.state for message in self.rows.values()]
        for state in ("intent", "accepted", "rejected", "canceled", "unknown"):
            assert getattr(counts, state) == states.count(state)

    @invariant()
    def kept_totals_are_what_the_rows_say(self) -> None:
        assert self.ledger.find_drift(RUN.run_id) == {}
        assert self.ledger.totals(RUN.run_id).resent == sum(bool(message.resent) for message in self.rows.values())

    @invariant()
    def next_due(self) -> None:
        waiting = [message.not_before for message in self.rows.values() if message.state == "pending"]
        assert self.ledger.next_due_ms(RUN.run_id) == (None if self.paused else min(waiting, default=None))

    @invariant()
    def nothing_waits_in_a_closed_run(self) -> None:
        run = self.ledger.run(RUN.run_id)
        assert (run.closed_at_ms is not None, run.paused_at_ms is not None) == (self.closed, self.paused)
        assert run.is_held == (self.closed or self.paused)
        if self.closed:
            assert self.ledger.counts(RUN.run_id).pending == 0


def lived(machine: type[Any], new_store: Callable[[], Any], steps: tuple[int, int]) -> None:
    """Runs a machine through `steps`: lives, and steps in each."""

    class Machine(machine):
        pass

    Machine.new_store = staticmethod(new_store)
    lives, each = steps
    if new_store.__name__ == "make_in_database":  # each step takes a round trip or four
        lives = max(5, lives // 4)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=lives,
            stateful_step_count=each,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
            phases=set(Phase) - {Phase.explain},  # it traces every line of every life, and doubles their time
        ),
    )


def test_the_ledger_tells_the_same_story_as_a_dict(new_store: Callable[[], Any], ledger_lives: tuple[int, int]) -> None:
    lived(LedgerMachine, new_store, ledger_lives)


class GuaranteeMachine(RuleBasedStateMachine):
    """Processes that send, stand still, stop and die over one ledger, beside a provider that knows what it accepted.

    The rules are those of the send loop: it sends what it has claimed, records what it learned, gives back what it did
    not send. Whoever takes over makes unknown what the last one left. The law: nobody gets a message more often than
    once, and once more for each time that a person said so.
    """

    new_store: Callable[[], Any]

    @initialize()
    def start(self) -> None:
        self.store = self.new_store()
        self.ledger: Ledger = self.store.open()
        self.ledger.create_run(SMALL)
        self.claimed: dict[int, Claim] = {}  # not sent yet
        self.sent: dict[int, tuple[Claim, bool]] = {}  # sent, answer not recorded; whether it was accepted
        self.accepted: dict[int, int] = {}  # the provider's truth
        self.early: set[int] = set()  # reported while under way: the report waits for the outcome

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.finish()
            self.store.close()

    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        self.claimed |= {one.seq: one for one in claim(self.ledger, limit)}

    @rule(what=st.sampled_from(["pause", "resume", "close"]), rarely=st.integers(0, 4))
    def a_person_holds_it(self, what: str, rarely: int) -> None:
        """From another terminal, while messages are under way."""
        if what == "pause":
            self.ledger.pause_run(RUN.run_id, by="a person")
        elif what == "resume":
            self.ledger.resume_run(RUN.run_id)
        elif not rarely:
            self.ledger.close_run(RUN.run_id, by="a person")

    @rule(limit=st.integers(1, 4), data=st.data())
    def claim_in_another_order(self, limit: int, data: st.DataObject) -> None:
        """As where numbers have limits of their own: messages are set aside, and claimed as their numbers are due."""
        aside = self.ledger.prefetch(RUN.run_id, limit=limit)
        chosen = [seq for seq in aside if data.draw(st.booleans())]
        claims = self.ledger.claim_prefetched(RUN.run_id, chosen, lease_ms=LEASE_MS)
        assert [one.seq for one in claims] == sorted(chosen)
        assert not (claims and self.ledger.run(RUN.run_id).is_held)
        self.claimed |= {one.seq: one for one in claims}

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), accepts=st.booleans())
    def send(self, data: st.DataObject, accepts: bool) -> None:
        one = self.claimed.pop(data.draw(st.sampled_from(sorted(self.claimed))))
        self.sent[one.seq] = (one, accepts)
        if accepts:
            self.accepted[one.seq] = self.accepted.get(one.seq, 0) + 1

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), answer=st.sampled_from(["told", "lost"]))
    def record(self, data: st.DataObject, answer: str) -> None:
        one, accepted = self.sent.pop(data.draw(st.sampled_from(sorted(self.sent))))
        known = Accepted(f"SM{one.seq}") if accepted else DEFERRED
        assert record(self.ledger, one, UNKNOWN if answer == "lost" else known) == 1
        self.early.discard(one.seq)

    @precondition(lambda self: self.accepted)
    @rule(data=st.data(), status=st.sampled_from([Status.SENT, Status.DELIVERED]))
    def report(self, data: st.DataObject, status: Status) -> None:
        """The provider's word about a message it has: at any time, in any order, again and again."""
        seq = data.draw(st.sampled_from(sorted(self.accepted)))
        told = ReceivedReport(DeliveryReport(f"SM{seq}", status), RUN.run_id, seq)
        kept = self.ledger.record_reports([told]).kept
        under_way = seq in self.claimed or seq in self.sent
        if under_way:
            self.early.add(seq)
        assert kept == int(under_way)
        if not under_way:
            state = self.ledger.journal(RUN.run_id).filter(pl.col("seq") == seq)["state"].item()
            assert state == "accepted", "a report with our ref settles what was unknown or pending"

    @precondition(lambda self: self.claimed)
    @rule()
    def stop(self) -> None:
        """Ctrl-C, a pause, or a lease that ran out: what has not left is given back."""
        assert self.ledger.release(RUN.run_id, self.claimed.values()) == len(self.claimed)
        self.early -= self.claimed.keys()
        self.claimed = {}

    @rule()
    def die(self) -> None:
        left = {**self.claimed, **{seq: one for seq, (one, _) in self.sent.items()}}
        answers = {seq: accepted for seq, (_, accepted) in self.sent.items() if seq not in self.early}
        before = self.ledger
        self.ledger = self.store.open()
        self.ledger.check(RUN.run_id)
        assert self.ledger.orphans_to_unknown(RUN.run_id) == len(left.keys() - self.early)
        self.early = set()
        if left:  # a process that was thought dead and wakes up can only say what was accepted
            late = [Settlement(left[seq], Accepted(f"SM{seq}") if answers[seq] else DEFERRED) for seq in answers]
            assert before.record(RUN.run_id, late) == sum(answers.values())
            assert before.release(RUN.run_id, left.values()) == 0
        self.claimed, self.sent = {}, {}

    @rule()
    def reconcile(self) -> None:
        journal = self.ledger.journal(RUN.run_id).filter(pl.col("state") == "unknown")
        found = [
            LogFinding(seq, Accepted(f"SM{seq}") if self.accepted.get(seq) else None, attempts)
            for seq, attempts in journal.select("seq", "attempts").iter_rows()
        ]
        assert self.ledger.reconcile(RUN.run_id, found) == len(found)

    @rule()
    def a_person_resends(self) -> None:
        self.ledger.resend_unknown(RUN.run_id)

    @rule(ms=st.integers(1, 100_000))
    def time_passes(self, ms: int) -> None:
        self.store.clock.ms += ms

    @invariant()
    def nobody_twice(self) -> None:
        resent = dict(self.ledger.journal(RUN.run_id).select("seq", "resent").iter_rows())
        for seq, times in self.accepted.items():
            assert times <= 1 + resent[seq]

    def finish(self) -> None:
        """A last process that meets no trouble: everybody has it, or nobody any more, and the ledger says so."""
        self.ledger.resume_run(RUN.run_id)
        self.die()
        self.reconcile()
        self.store.clock.ms += 1_000_000
        while claims := claim(self.ledger, SMALL.messages):
            for one in claims:
                self.accepted[one.seq] = self.accepted.get(one.seq, 0) + 1
            self.ledger.record(RUN.run_id, [Settlement(one, Accepted(f"SM{one.seq}")) for one in claims])
        self.nobody_twice()
        assert self.ledger.finish_run(RUN.run_id)
        counts = self.ledger.counts(RUN.run_id)
        assert counts.accepted == len(self.accepted)
        if self.ledger.run(RUN.run_id).closed_at_ms is None:
            assert sorted(self.accepted) == list(range(SMALL.messages))
        assert counts.accepted + counts.canceled == SMALL.messages


def test_nobody_is_sent_a_message_twice_whatever_dies_when(
    new_store: Callable[[], Any], ledger_lives: tuple[int, int]
) -> None:
    lived(GuaranteeMachine, new_store, ledger_lives)
