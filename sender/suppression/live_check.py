"""Whom the suppression list holds back: when a plan is made, and again before each message leaves.

A STOP that comes during a run counts from the next message on. Sends nothing and teaches the list nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sender.core.lazy_modules import pl
from sender.core.outcomes import Canceled, CancelReason, SkipReason
from sender.plan.plan import Plan
from sender.state.ledger import Run
from sender.suppression.entries import DEAD, ERASED, REASONS, SuppressionEntry
from sender.suppression.number_files import FileWatch
from sender.suppression.suppression_list import SuppressionList

_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class SendContext:
    """What is being sent, as far as scopes depend on it. `service` is the sender of rows without a number."""

    campaign: str
    provider: str
    service: str | None = None
    simulated: bool = False
    skip_dead: bool = False

    def covers(self, entry: SuppressionEntry, from_number: str | None, service: str | None = None) -> bool:
        """Whether `entry` holds back a message from `from_number`, or through `service` (None: the campaign's own)."""
        if entry.reason in DEAD and not self.skip_dead:
            return False
        kind, _, name = entry.scope.partition(":")
        match kind:
            case "campaign":
                return name == self.campaign
            case "account":
                return name == self.provider
            case "sender":
                return name in (from_number, service or self.service)
            case "sandbox":
                return self.simulated
        return True


def apply_suppression(
    frame: pl.DataFrame, suppressions: SuppressionList, context: SendContext, *, own_service: pl.Expr | None = None
) -> pl.DataFrame:
    """`frame` with `reason` and `detail` set on the rows whose number is on the list; the other rows as they are.

    `frame` holds `to, from_number, reason, detail` (String); a row that has a reason already keeps it. `own_service` is
    the row's own service; where it is null, the campaign's is used.
    """
    open_rows = pl.col("reason").is_null() & pl.col("to").is_not_null()
    entries = suppressions.matching(frame.filter(open_rows)["to"])
    entries.sort(key=lambda entry: (REASONS.index(entry.reason), entry.at))
    rows = []
    for entry in entries:
        kind, _, name = entry.scope.partition(":")
        sender = name if kind == "sender" else None
        if context.covers(entry, sender):
            rows.append((entry.number, sender, entry.reason.value, entry.sentence()))
    if not rows:
        return frame
    schema = {"to": pl.String(), "_from": pl.String(), "_reason": pl.String(), "_detail": pl.String()}
    listed = pl.DataFrame(rows, schema=schema, orient="row").unique(["to", "_from"], keep="first", maintain_order=True)
    general = listed.filter(pl.col("_from").is_null()).drop("_from")
    own = listed.filter(pl.col("_from").is_not_null()).rename({"_reason": "_own_reason", "_detail": "_own_detail"})
    services = [*([] if own_service is None else [own_service]), pl.lit(context.service, pl.String)]
    joined = (
        frame.with_columns(_service=pl.coalesce(services))
        .join(general, on="to", how="left", maintain_order="left")
        .join(own, left_on=["to", "from_number"], right_on=["to", "_from"], how="left", maintain_order="left")
        .join(own, left_on=["to", "_service"], right_on=["to", "_from"], how="left", maintain_order="left", suffix="_2")
    )
    reasons, details = ([name, f"_own{name}", f"_own{name}_2"] for name in ("_reason", "_detail"))
    return joined.with_columns(
        reason=pl.when(open_rows).then(pl.coalesce(reasons)).otherwise("reason"),
        detail=pl.when(open_rows).then(pl.coalesce([*details, "detail"])).otherwise("detail"),
    ).select(frame.columns)


class LiveSuppression:
    """The list and the campaign's files as a send loop sees them: `refuses` is called right before a message leaves.

    A change of the list by any process counts within `_POLL_S`, one of a file as soon as the watch has read it. Holds
    only numbers that have an entry.
    """

    def __init__(
        self,
        suppressions: SuppressionList,
        context: SendContext,
        *,
        since: str | None,
        numbers: Callable[[], pl.Series],
        files: FileWatch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`since` is the list's mark when the plan was checked; `numbers` reads the plan's recipients if it has to."""
        self._files = files
        self._list = suppressions
        self._context = context
        self._numbers = numbers
        self._clock = clock
        self._held: dict[str, list[SuppressionEntry]] = {}
        self._version = suppressions.version()
        self._mark = since
        self._read()
        self._look_at = clock() + _POLL_S

    def refuses(self, to: str, from_number: str | None, service: str | None = None) -> Canceled | None:
        """The outcome of a message that must not leave; None when it may. Raises StateError.

        `service` is the message's own service that picks the number (None: the campaign's).
        """
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + _POLL_S
            version = self._list.version()
            if version != self._version:
                self._version = version
                self._read()
        held = self._held.get(to, ())
        if self._erased and (name := self._list.name_of_erased(to)) is not None:
            held = [*held, *self._held.get(name, ())]
        unclear: SuppressionEntry | None = None
        for entry in held:
            if self._context.covers(entry, from_number, service):
                if entry.reason != SkipReason.UNDER_REVIEW:
                    return Canceled(CancelReason.OPTED_OUT, f"not sent: {entry.sentence()}")
                unclear = entry
        if self._files is not None and (sentence := self._files.held.get(to)) is not None:
            return Canceled(CancelReason.OPTED_OUT, f"not sent: {sentence}")
        return None if unclear is None else Canceled(CancelReason.UNDER_REVIEW, f"not sent: {unclear.sentence()}")

    def is_paused(self) -> bool:
        """Whether nothing may be sent, because the list or a suppression file cannot be read."""
        return not self._list.is_current() or (self._files is not None and self._files.is_paused)

    def _read(self) -> None:
        mark = self._list.mark()
        changed = self._list.changed_since(self._mark)
        asked = self._numbers() if changed is None else pl.Series(changed, dtype=pl.String)
        held: dict[str, list[SuppressionEntry]] = {}
        for entry in self._list.matching(asked) if asked.len() else ():
            held.setdefault(entry.number, []).append(entry)
        if changed is None:
            self._held = held
        else:
            for number in changed:
                self._held.pop(number, None)
            self._held |= held
        self._mark = mark
        self._erased = any(number.startswith(ERASED) for number in self._held)  # by the hash of their number


def watch_suppressions(
    run: Run, plan: Plan, suppressions: SuppressionList, files: FileWatch | None = None
) -> LiveSuppression:
    """Return the check that holds back whoever joins the list, or one of `files`, after the plan was made."""
    manifest = plan.manifest
    checked = manifest.suppression or {}
    context = SendContext(
        campaign=manifest.campaign,
        provider=manifest.provider,
        service=manifest.service,
        simulated=run.simulated,
        skip_dead=bool(checked.get("skip_dead")),
    )
    return LiveSuppression(suppressions, context, since=checked.get("mark"), numbers=plan.recipients, files=files)
