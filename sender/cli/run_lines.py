"""What became of a run, in a few lines for a person: its totals, its canary, what is unknown or not confirmed."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from sender.cli import console
from sender.core.canary import Canary, CanaryState
from sender.core.local_time import format_utc_and_local
from sender.core.outcomes import RANK
from sender.reports.canary_lines import canary_lines

if TYPE_CHECKING:  # a status that nobody refreshes asks no provider
    from sender.delivery.poll import RefreshResult
    from sender.reports.summary import Summary


def run_summary(summary: Summary) -> None:
    """Print the totals, and why messages were rejected or failed."""
    console.out.print(f"[bold]{escape(summary.totals_line())}[/]")
    if summary.errors:
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for name in ("messages", "reason", "code", "the provider says"):
            table.add_column(name, justify="right" if name == "messages" else "left", overflow="fold")
        for error in summary.errors:
            table.add_row(
                f"{error.count:,}",
                error.reason or "",
                escape(error.error_code or ""),
                escape(error.example or ""),
            )
        console.out.print(table)


def about_canary(canary: Canary | None) -> None:
    """Print where the run's canary is, and its evidence."""
    if canary is None:
        return
    first, *rest = canary_lines(canary)
    console.out.print(f"[{'bold red' if canary.state is CanaryState.STOPPED else 'bold'}]{escape(first)}[/]")
    for line in rest:
        console.out.print(f"  {escape(line)}")


def about_unknowns(
    n: int, run_id: str, *, decidable_at: datetime | None = None, failure: str | None = None, contested: int = 0
) -> None:
    """Print what is unknown, what that means, and which command settles it."""
    if not n:
        return
    wait = f" after {format_utc_and_local(decidable_at)}" if decidable_at else ""
    them, they = ("it", "it is") if n == 1 else ("them", "they are")
    why = f" (the provider's log could not be read: {failure})" if failure else ""
    if contested:
        why += f" ({contested:,} of them may be entries of its log that cannot be attributed)"
    console.out.print(
        f"[bold yellow]{console.many(n, 'message')} unknown:[/] the provider may have accepted {them}, so {they} not"
        f" sent again{escape(why)}. `sender reconcile {run_id}`{wait} looks {them} up in its log. What the log"
        " cannot settle is sent again only on request: `sender send ... --resend-unknown`."
    )


def about_delivery(refreshed: RefreshResult | None, summary: Summary, run_id: str) -> None:
    """Print the delivery statuses after a wait for them, what is still open, and how to go on."""
    if refreshed is None:
        return
    delivery = {status: count for status, count in summary.statuses.items() if status in RANK}
    if delivery:
        console.out.print(f"delivery: {console.counted(delivery)}")
    if not refreshed.delivering:
        return
    why = f" (the provider's log could not be read: {refreshed.failure})" if refreshed.failure else ""
    console.out.print(
        f"{console.many(refreshed.delivering, 'message')} accepted, delivery not confirmed yet{escape(why)}:"
        f" `sender status {run_id} --refresh` asks again"
    )


def about_refresh(refreshed: RefreshResult) -> None:
    """Print what the provider's log has changed."""
    unconfirmed = f", {refreshed.unconfirmed:,} marked as unconfirmed" if refreshed.unconfirmed else ""
    console.out.print(
        f"read the provider's log: {console.many(refreshed.updated, 'message')} updated{unconfirmed},"
        f" {refreshed.delivering:,} not confirmed yet"
    )
    if refreshed.failure:
        console.out.print(f"  the log could not be read to its end: {escape(refreshed.failure)}")
