"""Holds back, right after they are claimed, messages to people who have had as many as `limits.per_person` allows,
or the rules of where they may be.

The plan was checked when it was made; since then other runs may have sent to the same people, and may be sending now.
A claim is on disk before it is checked, here and in every other process, so of two runs that claim a person's last
message at the same time at least one sees the other. The one that claimed first sends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl

from sender.core.frequency import FrequencyCap, parse_cap
from sender.core.outcomes import Canceled, CancelReason
from sender.plan.plan import Plan
from sender.planning.sending_times import SendingTimes
from sender.providers.base import Message
from sender.state.contacts import SENT_TO_SCHEMA, AskedPeople, find_sent, may_have_sent_since
from sender.state.ledger import Claim, Run, RunKind
from sender.state.state import State

_NAMED = 3  # messages, in the sentence for one that is held back
_HASHED = {**SENT_TO_SCHEMA, "hash": pl.UInt64()}


@dataclass(frozen=True, slots=True)
class _Sent:
    """A message to a person. `accepted` says that the provider has it; else it may be under way."""

    campaign: str
    run_id: str
    seq: int
    at_ms: int
    accepted: bool

    def counts_for(self, claim: Claim, run_id: str, at_ms: int, since_ms: int) -> bool:
        """Whether it counts for a message that `run_id` claimed at `at_ms`: not itself, nor one claimed later."""
        if self.at_ms <= since_ms or (self.run_id, self.seq) == (run_id, claim.seq):
            return False
        return self.accepted or (self.at_ms, self.run_id, self.seq) < (at_ms, run_id, claim.seq)


@dataclass(frozen=True, slots=True, eq=False)
class AppliedCap:
    """A cap, and which of the run's messages it applies to: a byte for each `seq`, 1 or 0; None: all of them."""

    cap: FrequencyCap
    messages: bytes | None = None

    def applies_to(self, seq: int) -> bool:
        return self.messages is None or self.messages[seq] == 1


class LiveCaps:
    """The caps of one run, asked about each batch of claims. A `ClaimCheck`, for the ledger's thread."""

    def __init__(self, state: State, run: Run, messages: pl.DataFrame, caps: Sequence[AppliedCap]) -> None:
        """`messages` (`seq`, `to`) are those of the run to which any of the caps applies.

        Raises PlanError where the plan of another run that may have sent lately is missing.
        """
        self._state = state
        self._run = run
        self._caps = caps
        self._kind = RunKind.SANDBOX if run.kind is RunKind.SANDBOX else RunKind.LIVE
        self._window_ms = 1000 * max(applied.cap.window_s for applied in caps)
        people = messages["to"].drop_nulls().unique()
        self._people = AskedPeople.of(people)
        self._own_counts = people.len() < messages.height and run.kind is self._kind  # some have several rows
        self._messages: dict[str, pl.DataFrame] = {}  # by run: `hash` (sorted), `seq`, `to` of those to these people
        self._settled: dict[str, pl.DataFrame] = {}  # of runs that are over: what they have sent, as _HASHED
        self._refused: dict[Claim, Canceled] = {}
        self._look_at_runs(state.ledger.now_ms())

    def check(self, claims: Sequence[tuple[Claim, Message]], *, lease_ms: int) -> None:
        """Look at claims that have just been committed with that lease. Raises StateError and PlanError."""
        claims = [(claim, message) for claim, message in claims if self._caps_on(claim)]
        if not claims:
            return
        now_ms = self._state.ledger.now_ms()
        runs = self._look_at_runs(now_ms)
        hashes = pl.Series([message.to for _, message in claims], dtype=pl.String).unique().hash()
        sent: dict[str, list[_Sent]] = {}
        for run in runs:
            for to, *fields in self._find_sent(run, hashes, since_ms=now_ms - self._window_ms).iter_rows():
                sent.setdefault(to, []).append(_Sent(*fields))
        for claim, message in claims:
            for cap in self._caps_on(claim):
                at_ms = claim.deadline_ms - lease_ms
                since_ms = at_ms - 1000 * cap.window_s
                counted = [
                    each
                    for each in sent.get(message.to, ())
                    if each.counts_for(claim, self._run.run_id, at_ms, since_ms)
                ]
                if len(counted) >= cap.messages:
                    self._refused[claim] = Canceled(CancelReason.FREQUENCY_CAP, _sentence(cap, counted))
                    break

    def refusal(self, claim: Claim) -> Canceled | None:
        """The outcome of a claim that must not leave; None when it may."""
        return self._refused.pop(claim, None)

    def _caps_on(self, claim: Claim) -> list[FrequencyCap]:
        return [applied.cap for applied in self._caps if applied.applies_to(claim.seq)]

    def _look_at_runs(self, now_ms: int) -> list[Run]:
        """The runs whose messages may count, with new ones read."""
        runs = [
            run
            for run in self._state.ledger.runs()
            if run.kind is self._kind
            and may_have_sent_since(run, now_ms - self._window_ms)
            and (run.run_id != self._run.run_id or self._own_counts)
        ]
        for run in runs:
            if run.run_id not in self._messages:
                found = self._people.find_in(self._state, run)
                self._messages[run.run_id] = found.with_columns(hash=pl.col("to").hash()).sort("hash")
        return [run for run in runs if self._messages[run.run_id].height]

    def _find_sent(self, run: Run, hashes: pl.Series, *, since_ms: int) -> pl.DataFrame:
        """What the run has sent to the people with these hashes, as SENT_TO_SCHEMA; read once if the run is over."""
        if run.finished_at_ms is None:
            self._settled.pop(run.run_id, None)
            return find_sent(self._state, run, _of_people(self._messages[run.run_id], hashes), since_ms=since_ms)
        if run.run_id not in self._settled:
            sent = find_sent(self._state, run, self._messages[run.run_id], since_ms=since_ms)
            self._settled[run.run_id] = sent.with_columns(hash=pl.col("to").hash()).sort("hash").select(*_HASHED)
        return _of_people(self._settled[run.run_id], hashes).select(*SENT_TO_SCHEMA)


def open_caps(state: State, run: Run, plan: Plan) -> LiveCaps | None:
    """The check of the run's caps, and of the rules' where its recipients may be; None where no cap applies.

    No cap holds back a test.
    """
    if run.kind is RunKind.TEST:
        return None
    own = [AppliedCap(parse_cap(text)) for text in plan.manifest.per_person]
    by_places = _caps_by_places(plan, datetime.fromtimestamp(state.ledger.now_ms() / 1000, UTC).date())
    if not own and not by_places:
        return None
    rows = plan.scan().filter(pl.col("seq").is_not_null())
    if not own:
        rows = rows.filter(pl.col("places").is_in([place for places in by_places.values() for place in places]))
    messages = rows.select("seq", "to", *(["places"] if by_places else [])).collect()
    rules = [AppliedCap(cap, _mark(messages, places, plan.manifest.messages)) for cap, places in by_places.items()]
    return LiveCaps(state, run, messages.select("seq", "to"), [*own, *rules])


def _caps_by_places(plan: Plan, today: date) -> dict[FrequencyCap, list[str]]:
    """The rules' caps, each with those `places` of the plan's messages in which it counts."""
    rule_set = SendingTimes(plan.manifest.window).rule_set
    if not rule_set.has_caps:
        return {}
    places = plan.scan().filter(pl.col("seq").is_not_null()).select(pl.col("places").drop_nulls().unique()).collect()
    found: dict[FrequencyCap, list[str]] = {}
    for place in places["places"].sort():
        for cap in rule_set.caps_for(place, today):
            found.setdefault(cap, []).append(place)
    return found


def _mark(messages: pl.DataFrame, places: Sequence[str], count: int) -> bytes:
    """A byte for each of the plan's messages: 1 for those with one of these `places`."""
    marks = bytearray(count)
    for seq in messages.filter(pl.col("places").is_in(list(places)))["seq"]:
        marks[seq] = 1
    return bytes(marks)


def _of_people(messages: pl.DataFrame, hashes: pl.Series) -> pl.DataFrame:
    """The rows of `messages`, which are sorted by `hash`, that have one of `hashes`."""
    column = messages["hash"]
    starts, ends = column.search_sorted(hashes, side="left"), column.search_sorted(hashes, side="right")
    rows = [row for start, end in zip(starts, ends, strict=True) for row in range(start, end)]
    return messages[rows]


def _sentence(cap: FrequencyCap, sent: Sequence[_Sent]) -> str:
    newest = sorted(sent, key=lambda each: each.at_ms, reverse=True)
    named = [
        f"{each.campaign} on {datetime.fromtimestamp(each.at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC (run {each.run_id})"
        for each in newest[:_NAMED]
    ]
    more = f" and {len(sent) - _NAMED} more" if len(sent) > _NAMED else ""
    return f"not sent: {cap} is used up by {', '.join(named)}{more}"
