"""What outcomes and findings make of messages' rows, for every ledger. Performs no I/O and knows no SQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from operator import itemgetter
from typing import Any

from sender.core.outcomes import Canceled, CancelReason, Deferred, Outcome, Unknown
from sender.state.ledger import LogFinding, Settlement
from sender.state.rows import SettledFields, settled

# The outcomes of a group are written by few statements: one for all outcomes that differ in these columns alone.
VARYING = ("message_id", "segments", "created_at", "line_type", "carrier")
COMMON = tuple(name for name in SettledFields._fields if name not in VARYING)
common = itemgetter(*map(SettledFields._fields.index, COMMON))
varying = itemgetter(*map(SettledFields._fields.index, VARYING))

SEGMENTS = 3 + VARYING.index("segments")  # in a row of `group_alike`

ORPHAN_MESSAGE = "the sender stopped before the outcome was recorded: the message may have been sent"


def settle_closed(outcome: Outcome | Canceled | None, closed: CancelReason | None) -> Outcome | Canceled | None:
    """What the outcome (None: proved absent) means in a run that is closed for this reason (None: open)."""
    if closed is not None and (outcome is None or isinstance(outcome, Deferred)):
        return Canceled(closed, None if outcome is None else outcome.error_message)
    return outcome


def group_alike(
    settlements: Iterable[Settlement], closed: CancelReason | None, now_ms: int
) -> dict[tuple[Any, ...], list[tuple[Any, ...]]]:
    """The outcomes of claims by what they have in common: whether no request was made (bool), and the COMMON columns.

    Each has the claim's seq, attempt and fence, and the VARYING columns. Of two outcomes for one claim the first
    counts.
    """
    alike: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    claims: set[tuple[int, int, int]] = set()
    for claim, outcome, due_ms, *_ in settlements:
        key_of_claim = (claim.seq, claim.attempt, claim.fence)
        if key_of_claim in claims:
            continue
        claims.add(key_of_claim)
        due_at = now_ms if due_ms is None else due_ms
        row = settled(settle_closed(outcome, closed), due_ms=due_at, now_ms=now_ms)
        uncounted = isinstance(outcome, Canceled)  # no request was made
        alike.setdefault((uncounted, *common(row)), []).append((*key_of_claim, *varying(row)))
    return alike


def common_fields(values: Sequence[Any]) -> SettledFields:
    """The row that these values of the COMMON columns make, without what varies."""
    return SettledFields(**dict(zip(COMMON, values, strict=True)))


def found_rows(
    findings: Iterable[LogFinding], closed: CancelReason | None, taken_over: Collection[int], now_ms: int
) -> list[tuple[SettledFields, LogFinding]]:
    """The new rows of unknown messages that the provider's log decides; `taken_over` are those that a retry sends."""
    rows = []
    for finding in findings:
        if not isinstance(finding.outcome, Unknown):  # which proves nothing new
            ends = CancelReason.SUPERSEDED if finding.seq in taken_over else closed
            rows.append((settled(settle_closed(finding.outcome, ends), due_ms=now_ms, now_ms=now_ms), finding))
    return rows


def find_damage(check: Sequence[int], messages: int, run_id: str) -> str | None:
    """What is wrong with the rows of a run; None where they are sound.

    `check` counts its rows, the `seq` after the highest, the sum of all `seq`, and the rows in a possible state.
    """
    rows, top, total, sound = check
    if rows != top or total != rows * (rows - 1) // 2 or rows > messages:
        return f"run {run_id} has {rows} rows of messages, and {top} were claimed"
    if sound == rows:
        return None
    broken = rows - sound
    subject = f"1 message of run {run_id} is" if broken == 1 else f"{broken} messages of run {run_id} are"
    return f"{subject} in an impossible state"
