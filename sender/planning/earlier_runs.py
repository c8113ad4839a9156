"""Whom earlier runs hold back: people who have had the campaign, and people who have had as many messages as they may.

Asked once for the whole list, before its messages are composed. Reads the state, writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from sender.core.clock import wall_clock_ms
from sender.core.errors import InputError, UnknownRun
from sender.core.frequency import FrequencyCap
from sender.core.outcomes import SkipReason
from sender.planning.audience import skip_already_sent, skip_rows
from sender.planning.compiled import CompiledCampaign
from sender.planning.sending_times import SendingTimes
from sender.rules.rule_sets import RuleSet
from sender.state.contacts import (
    CONTACTS_SCHEMA,
    RECENT_SCHEMA,
    Edition,
    find_reached,
    find_recent,
    may_have_sent_since,
)
from sender.state.ledger import RunKind
from sender.state.open import open_state

_NAMED = 3  # messages, in the sentence for a skipped row
_EVERYWHERE = pl.lit(True)
_IS_LIVE = pl.col("reason").is_null() & pl.col("to").is_not_null()
_PLANNED_SCHEMA = {"to": pl.String(), "_planned": pl.UInt32()}


class EarlierRuns:
    """What the runs of a state mean for the rows of a plan, given block after block by `mark_rows`."""

    def __init__(
        self,
        contacts: pl.DataFrame,
        caps: _PlannedCaps | None,
        rule_caps: _RuleCaps | None,
        planned: _PlannedMessages | None,
    ) -> None:
        """`contacts` are the people to skip as `already_sent` (CONTACTS_SCHEMA).

        `planned` is None where a person has one row at most, or no cap counts.
        """
        self._contacts = contacts
        self._caps = caps
        self._rule_caps = rule_caps
        self._planned = planned

    def mark_rows(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame with the rows skipped that earlier runs hold back. Call it with each block once, in order."""
        frame = skip_already_sent(frame, self._contacts)
        frame = frame if self._caps is None else self._caps.skip(frame, self._planned)
        frame = frame if self._rule_caps is None else self._rule_caps.skip(frame, self._planned)
        if self._planned is not None:
            self._planned.add(frame)
        return frame


def has_caps(compiled: CompiledCampaign) -> bool:
    """Whether the campaign or a rule bounds how many messages a person gets."""
    return bool(compiled.per_person or SendingTimes(compiled.window).rule_set.has_caps)


def find_earlier_runs(
    compiled: CompiledCampaign,
    people: Callable[[], pl.Series],
    state_dir: str | Path | None,
    *,
    only_new: bool,
    rehearse: bool,
) -> EarlierRuns | None:
    """What earlier runs in `state_dir` mean for the people of the list; None where nothing has to be asked.

    `people` returns their numbers (String, distinct); it is called where there are runs that may have reached them.

    With `only_new`, those whom the campaign has reached in this edition are skipped; `rehearse` asks its rehearsals.
    Caps, the campaign's and those of the rules that apply to it, count what the sandbox has sent for a sandbox
    campaign, and what live runs have sent for any other, rehearsed or not. Raises InputError without a state directory
    for `only_new`, and PlanError where a plan is missing.
    """
    if only_new and state_dir is None:
        raise InputError("only_new needs to know who has been reached", fix="name the state directory: state_dir=...")
    if not only_new and not has_caps(compiled):
        return None
    contacts, recent = pl.DataFrame(schema=CONTACTS_SCHEMA), pl.DataFrame(schema=RECENT_SCHEMA)
    caps, now_ms = compiled.per_person, wall_clock_ms()()
    rule_set = SendingTimes(compiled.window).rule_set
    windows_s = [cap.window_s for cap in (*caps, *rule_set.caps())]
    try:
        if state_dir is not None:
            with open_state(state_dir, read_only=True) as state:
                if only_new:
                    kind = RunKind.of(compiled.provider, rehearse=rehearse)
                    dialect = None if kind is RunKind.LIVE else compiled.dialect
                    contacts = find_reached(state, Edition(compiled.name, kind, compiled.edition, dialect), people())
                if windows_s:
                    kind = RunKind.of(compiled.provider, rehearse=False)
                    now_ms = state.ledger.now_ms()
                    since_ms = now_ms - 1000 * max(windows_s)
                    if any(run.kind is kind and may_have_sent_since(run, since_ms) for run in state.ledger.runs()):
                        recent = find_recent(state, kind, people(), since_ms=since_ms)
    except UnknownRun:  # nothing has been sent from here
        pass
    sent = _SentLately(recent, now_ms, repeated_rows=compiled.numbers.dedupe == "none")
    return EarlierRuns(
        contacts,
        _PlannedCaps(caps, sent) if caps else None,
        _RuleCaps(rule_set, sent) if rule_set.has_caps else None,
        _PlannedMessages() if sent.repeated_rows and windows_s else None,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _SentLately:
    """What people have had, as of `now_ms`: `recent` (RECENT_SCHEMA). `repeated_rows`: a person may have several."""

    recent: pl.DataFrame
    now_ms: int
    repeated_rows: bool

    @property
    def today(self) -> date:
        return datetime.fromtimestamp(self.now_ms / 1000, UTC).date()


class _PlannedMessages:
    """How many messages each person gets by the rows of the plan so far, whatever caps count for them."""

    def __init__(self) -> None:
        self.frame = pl.DataFrame(schema=_PLANNED_SCHEMA)

    def add(self, rows: pl.DataFrame) -> None:
        """Count those of the rows that get a message."""
        kept = rows.filter(_IS_LIVE).select("to", _planned=pl.lit(1, pl.UInt32))
        self.frame = pl.concat([self.frame, kept]).group_by("to").agg(pl.col("_planned").sum())


class _RuleCaps:
    """The caps of the rules, each for the rows whose recipient may be where it counts (`places`)."""

    def __init__(self, rule_set: RuleSet, sent: _SentLately) -> None:
        self._rule_set = rule_set
        self._sent = sent
        self._caps: dict[FrequencyCap, _PlannedCaps] = {}

    def skip(self, frame: pl.DataFrame, planned: _PlannedMessages | None) -> pl.DataFrame:
        """Skip, as `frequency_cap`, the rows for which a person has no message left where they may be."""
        where: dict[FrequencyCap, list[str]] = {}
        for places in frame["places"].drop_nulls().unique().sort():
            for cap in self._rule_set.caps_for(places, self._sent.today):
                where.setdefault(cap, []).append(places)
        for cap, places_with_it in where.items():
            if cap not in self._caps:
                self._caps[cap] = _PlannedCaps((cap,), self._sent)
            frame = self._caps[cap].skip(frame, planned, pl.col("places").is_in(places_with_it))
        return frame


class _PlannedCaps:
    """The caps on what a person gets, as far as they are used up now, and by earlier rows of the plan."""

    def __init__(self, caps: tuple[FrequencyCap, ...], sent: _SentLately) -> None:
        self._strictest = min(caps, key=lambda cap: cap.messages)  # for a person who has had nothing
        used = pl.concat([_used(cap, sent) for cap in caps])
        people = used.sort("_left", maintain_order=True).unique("to", keep="first", maintain_order=True)
        unused = pl.col("_left") > self._strictest.messages  # a cap in whose window they have had nothing holds sooner
        self._people = people.with_columns(
            _left=pl.when(unused).then(self._strictest.messages).otherwise("_left"),
            _cap=pl.when(~unused).then("_cap"),
            _messages=pl.when(~unused).then("_messages"),
        )

    def skip(self, frame: pl.DataFrame, planned: _PlannedMessages | None, where: pl.Expr = _EVERYWHERE) -> pl.DataFrame:
        """Skip, as `frequency_cap`, those of the rows `where` the caps count for which a person has no message left."""
        if self._people.is_empty() and planned is None:
            return frame
        joined = frame.join(self._people, on="to", how="left", maintain_order="left")
        left = pl.col("_left").fill_null(self._strictest.messages)
        nth = pl.lit(1)
        if planned is not None:
            joined = joined.join(planned.frame, on="to", how="left", maintain_order="left")
            nth = _IS_LIVE.cast(pl.UInt32).cum_sum().over("to") + pl.col("_planned").fill_null(0)
        rows = pl.when(left > 0).then(pl.lit("earlier rows with this number"))
        detail = pl.format(
            "{} is used up by {}",
            pl.coalesce("_cap", pl.lit(self._strictest.text)),
            pl.concat_str("_messages", rows, separator=", ", ignore_nulls=True),
        )
        return skip_rows(joined, where & (nth > left), SkipReason.FREQUENCY_CAP, detail).select(frame.columns)


def _used(cap: FrequencyCap, sent: _SentLately) -> pl.DataFrame:
    """What people have used of the cap: `to`, `_left` (messages), `_cap`, `_messages` (their names).

    Where a person has one row at most, people who have a message left are left out: the cap holds nothing of theirs.
    """
    counted = sent.recent.filter(pl.col("at_ms") > sent.now_ms - 1000 * cap.window_s).sort("at_ms", descending=True)
    if not sent.repeated_rows:
        used_up = counted.group_by("to").len().filter(pl.col("len") >= cap.messages)
        counted = counted.join(used_up, on="to", how="semi", maintain_order="left")
    at = pl.from_epoch("at_ms", time_unit="ms").dt.strftime("%Y-%m-%d %H:%M UTC")
    named = counted.select("to", name=pl.format("{} on {} (run {})", "campaign", at, "run_id"))
    more = pl.when(pl.len() > _NAMED).then(pl.format(" and {} more", pl.len().cast(pl.Int64) - _NAMED))
    return named.group_by("to", maintain_order=True).agg(
        _left=(cap.messages - pl.len().cast(pl.Int64)).clip(lower_bound=0),
        _cap=pl.lit(cap.text),
        _messages=pl.concat_str(pl.col("name").head(_NAMED).str.join(", "), more.fill_null("")),
    )
