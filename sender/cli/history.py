"""`sender history`: what a person was sent, when, by which run, what became of it, and the opt-outs known."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from sender.cli import console
from sender.cli.shared_options import region_option, state_options
from sender.core.local_time import format_utc_and_local
from sender.core.outcomes import Status
from sender.reports.history import History, HistoryEntry
from sender.reports.history import history as read_history
from sender.state.open import open_state
from sender.suppression.entries import SuppressionEntry


@click.command(
    help="Show what a person was sent: when, by which run, the status, the text, and the person's opt-outs.\n\n"
    "NUMBER in any form: +12025550100, 12025550100, or '(202) 555-0100' with --region US."
)
@click.argument("number")
@region_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@state_options
def history(number: str, region: str | None, as_json: bool, debug: bool, state_dir: Path | str) -> int:
    console.set_up_logs(debug=debug)
    with open_state(state_dir, read_only=True) as state:
        found = read_history(state, number, region=region)
    if as_json:
        console.print_json(_to_dict(found))
    else:
        _print_history(found)
    return 0


def _print_history(found: History) -> None:
    messages = [entry for entry in found.messages if entry.status != Status.SKIPPED]
    skipped = len(found.messages) - len(messages)
    statuses = f" ({console.counted(Counter(entry.status for entry in messages))})" if messages else ""
    left_out = f", skipped {console.many(skipped, 'time')}" if skipped else ""
    opt_outs = console.many(sum(entry.active for entry in found.entries), "entry", "entries")
    console.out.print(
        f"[bold]{found.number}[/]: {console.many(len(messages), 'message')}{escape(statuses)}{left_out};"
        f" {opt_outs} on the suppression list"
    )
    for entry in found.messages:
        console.out.print(f"  {escape(_message_line(entry))}")
        if entry.text:
            console.out.print(f"    {escape(repr(entry.text))}")
        for url in entry.media:
            console.out.print(f"    {escape(url)}")
    for suppressed in found.entries:
        since = "" if suppressed.active else "[dim], removed since[/]"
        console.out.print(f"  {suppressed.reason.value}{since}: {escape(suppressed.sentence())}")
    if found.unread:
        runs = ", ".join(found.unread)
        console.out.print(f"  [yellow]note:[/] not known for runs whose plan is missing or damaged: {runs}")


def _message_line(entry: HistoryEntry) -> str:
    kind = "" if entry.kind == "live" else f" ({entry.kind})"
    edition = f", edition {entry.edition}" if entry.edition else ""
    about = f"{entry.campaign}{kind}{edition}, run {entry.run_id}, row {entry.row_number}"
    why = "; ".join(part for part in (entry.reason, entry.error_message) if part)
    became = f"{entry.status}: {why}" if why else entry.status
    if entry.status == Status.SKIPPED:
        return f"{about}: {became}"
    when = format_utc_and_local(entry.at) if entry.at else "not sent"
    sender = f" from {entry.from_number}" if entry.from_number else ""
    return f"{when} {about}, through {entry.provider}{sender}: {became}"


def _to_dict(found: History) -> dict[str, Any]:
    return {
        "number": found.number,
        "messages": [{name: _plain(value) for name, value in asdict(entry).items()} for entry in found.messages],
        "suppressions": [_suppression_to_dict(entry) for entry in found.entries],
        "unread_runs": list(found.unread),
    }


def _suppression_to_dict(entry: SuppressionEntry) -> dict[str, Any]:
    return {
        "reason": entry.reason.value,
        "scope": entry.scope,
        "source": entry.source.value,
        "via": entry.via,
        "at": _plain(entry.at),
        "note": entry.note,
        "active": entry.active,
    }


def _plain(value: Any) -> Any:
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value
