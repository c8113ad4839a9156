"""A run in numbers, with the totals that must add up: every input row is counted exactly once.

From the plan and the journal's frame, or from the totals that a ledger keeps; opens no ledger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation

from sender.core.lazy_modules import pl
from sender.core.outcomes import Status, SubmissionState
from sender.plan.manifest import Manifest
from sender.plan.plan import Plan
from sender.state.message_status import join_journal, status_of
from sender.state.tallies import Tally, Totals

_BAD = (Status.REJECTED, Status.FAILED, Status.UNDELIVERED)


@dataclass(frozen=True, slots=True)
class ErrorCount:
    """The number of messages of one `status` with the same reason and code; `example` is one of their sentences."""

    status: str
    reason: str | None
    error_code: str | None
    example: str | None
    count: int


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in numbers. `rows` is from the plan's manifest, every other count from the rows themselves.

    `skipped` and `statuses` are counts by reason and by `status`, largest first; so are `errors`. `segments` counts
    accepted messages. `price` is what accepted messages cost so far, by currency ("" where none was named).
    """

    rows: int
    skipped: Mapping[str, int]
    accepted: int
    rejected: int
    canceled: int
    unknown: int
    pending: int
    statuses: Mapping[str, int]
    errors: tuple[ErrorCount, ...]
    segments: int
    price: Mapping[str, Decimal]

    @property
    def holds(self) -> bool:
        """Whether every input row is accounted for exactly once."""
        messages = self.accepted + self.rejected + self.canceled + self.unknown + self.pending
        return self.rows == sum(self.skipped.values()) + messages

    def totals_line(self) -> str:
        """The totals, which must add up: `47 rows = 5 skipped + 42 accepted + 0 rejected + ...`; `≠` if they do not."""
        parts = (
            f"{sum(self.skipped.values())} skipped",
            f"{self.accepted} accepted",
            f"{self.rejected} rejected",
            f"{self.canceled} canceled",
            f"{self.unknown} unknown",
            f"{self.pending} pending",
        )
        return f"{self.rows} row{'' if self.rows == 1 else 's'} {'=' if self.holds else '≠'} {' + '.join(parts)}"

    @property
    def exit_code(self) -> int:
        """4 when something is unknown, else 1 when something was rejected, canceled, failed or undelivered, else 0.

        What was taken back at the provider on request does not matter. Pending messages do not matter either: only the
        caller knows whether it asked for a part.
        """
        if self.unknown:
            return 4
        return 1 if self.canceled or any(self.statuses.get(status) for status in _BAD) else 0


def summarise(plan: Plan, journal: pl.DataFrame) -> Summary:
    """Return the run's Summary. States are counted in the journal itself, so the totals show a stray row."""
    rows = plan.scan().select("seq", "reason", "segments").collect()
    skipped = rows.filter(pl.col("seq").is_null())
    messages = rows.filter(pl.col("seq").is_not_null()).select("seq", "segments")
    states = _count_values(journal["state"])
    never_claimed = messages.join(journal, on="seq", how="anti").height
    outcomes = join_journal(messages, journal).with_columns(status=status_of())
    accepted = outcomes.filter(pl.col("_state") == SubmissionState.ACCEPTED)
    statuses = _count_values(outcomes["status"]) | ({Status.SKIPPED.value: skipped.height} if skipped.height else {})
    return Summary(
        rows=plan.manifest.rows,
        skipped=_count_values(skipped["reason"]),
        accepted=states.get(SubmissionState.ACCEPTED, 0),
        rejected=states.get(SubmissionState.REJECTED, 0),
        canceled=states.get(SubmissionState.CANCELED, 0),
        unknown=states.get(SubmissionState.UNKNOWN, 0) + states.get(SubmissionState.INTENT, 0),
        pending=states.get(SubmissionState.PENDING, 0) + never_claimed,
        statuses=dict(sorted(statuses.items(), key=lambda item: -item[1])),
        errors=_count_errors(outcomes),
        segments=int(accepted.select(pl.coalesce("_segments", "segments").sum()).item()),
        price=_sum_prices(accepted),
    )


def summarise_kept(
    manifest: Manifest, kept: Totals, *, under_way: Status, planned_segments: Callable[[], int]
) -> Summary:
    """Return the run's Summary from the totals that its ledger keeps. No row of the plan or the ledger is read.

    `under_way` is the status of a message under way: PENDING while a process sends the run, else UNKNOWN.
    `planned_segments` returns the planned segments of accepted messages of which the provider has said none; it is
    asked only where the plan's messages differ.
    """
    statuses: Counter[Status] = Counter()
    errors: dict[tuple[str, str | None, str | None], ErrorCount] = {}
    price: dict[str, Decimal] = {}
    for tally in kept.tallies:
        status = _status_of(tally, under_way)
        statuses[status] += tally.messages
        if tally.state is SubmissionState.ACCEPTED:
            _add_price(price, tally.currency, tally.price, tally.messages)
        if tally.reason or tally.error_code or tally.example:
            key = (status.value, tally.reason, tally.error_code)
            known = errors.get(key, ErrorCount(*key, None, 0))
            errors[key] = replace(known, example=known.example or tally.example, count=known.count + tally.messages)
    by_state: Counter[SubmissionState] = Counter()
    for tally in kept.tallies:
        by_state[tally.state] += tally.messages
    settled = sum(by_state[state] for state in SubmissionState if state is not SubmissionState.PENDING)
    statuses[Status.PENDING] += manifest.messages - settled - by_state[SubmissionState.PENDING]
    statuses[Status.SKIPPED] = sum(manifest.skipped.values())
    return Summary(
        rows=manifest.rows,
        skipped=_largest_first(manifest.skipped),
        accepted=by_state[SubmissionState.ACCEPTED],
        rejected=by_state[SubmissionState.REJECTED],
        canceled=by_state[SubmissionState.CANCELED],
        unknown=statuses[Status.UNKNOWN],
        pending=statuses[Status.PENDING],
        statuses=_largest_first({status.value: number for status, number in statuses.items() if number}),
        errors=tuple(sorted(errors.values(), key=lambda error: -error.count)),
        segments=_sum_segments(manifest, kept, planned_segments),
        price=dict(sorted(price.items())),
    )


def _sum_segments(manifest: Manifest, kept: Totals, planned_segments: Callable[[], int]) -> int:
    accepted = [tally for tally in kept.tallies if tally.state is SubmissionState.ACCEPTED]
    reported = sum(tally.segments for tally in accepted)
    unreported = sum(tally.messages - tally.reported for tally in accepted)
    if unreported and len(manifest.segment_counts) == 1:
        return reported + unreported * int(next(iter(manifest.segment_counts)))
    return reported + (planned_segments() if unreported else 0)


def _status_of(tally: Tally, under_way: Status) -> Status:
    match tally.state:
        case SubmissionState.ACCEPTED:
            return tally.status or Status.QUEUED
        case SubmissionState.INTENT:
            return under_way
    return Status(tally.state.value)


def _largest_first(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _count_errors(outcomes: pl.DataFrame) -> tuple[ErrorCount, ...]:
    """Messages with a reason, a code or a sentence, counted by status, reason and code."""
    counts = (
        outcomes.filter(pl.any_horizontal(pl.col("_reason", "_error_code", "_error_message").is_not_null()))
        .group_by("status", "_reason", "_error_code", maintain_order=True)
        .agg(pl.col("_error_message").drop_nulls().first(), pl.len())
        .sort("len", descending=True, maintain_order=True)
    )
    return tuple(ErrorCount(*row) for row in counts.iter_rows())


def _sum_prices(accepted: pl.DataFrame) -> dict[str, Decimal]:
    """The exact sum of absolute amounts by currency: Twilio writes a charge as a negative amount, others do not."""
    totals: dict[str, Decimal] = {}
    for currency, price, count in accepted.group_by("_currency", "_price").len().sort(pl.all()).iter_rows():
        _add_price(totals, currency, price, count)
    return totals


def _add_price(totals: dict[str, Decimal], currency: str | None, price: str | None, messages: int) -> None:
    try:
        amount = abs(Decimal(price or ""))
    except InvalidOperation:  # none yet, or one we cannot read; the row itself keeps it
        return
    if amount.is_finite():
        totals[currency or ""] = totals.get(currency or "", Decimal()) + amount * messages


def _count_values(column: pl.Series) -> dict[str, int]:
    """The number of times each value occurs in `column`, largest first."""
    counts = column.value_counts(name="n").sort("n", column.name, descending=[True, False])
    return {str(value): int(count) for value, count in counts.iter_rows()}
