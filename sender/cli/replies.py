"""`sender replies`: what people have replied, and the replies that a person has to decide about."""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from sender.cli import console, terminal
from sender.cli.duration import parse_duration_s
from sender.cli.outputs import force_option
from sender.cli.shared_options import region_option, state_options
from sender.core.errors import InputError
from sender.core.lazy_modules import pl
from sender.core.local_time import format_utc_and_local
from sender.core.output_files import Protected
from sender.reports.reply_table import replies as read_replies
from sender.reports.reply_table import write_replies
from sender.reports.table_files import FORMATS, dump_csv, dump_json_lines
from sender.state.open import folder_of, open_state

_SHOWN = 20
_MEANINGS = {"stop": "opted out", "start": "opted in", "review": "held for review"}


@click.command(
    help="Show the replies that `sender listen --keep-replies` has kept, each with the message that it probably"
    " answers (an estimate).\n\n"
    "--review shows the replies that may be an opt-out in other words (`leave me alone`). Their numbers get nothing"
    " until somebody decides. On a terminal it asks about each reply."
)
@click.option("--review", is_flag=True, help="List the replies that wait for a decision.")
@click.option("--opt-out", multiple=True, metavar="NUMBER", help="With --review: it is an opt-out; may be repeated.")
@click.option("--keep", multiple=True, metavar="NUMBER", help="With --review: it is not an opt-out; may be repeated.")
@click.option("--campaign", metavar="NAME", help="Only replies that probably answer this campaign.")
@click.option("--number", metavar="NUMBER", help="Only replies of this number.")
@click.option("--since", metavar="TIME", help="Only replies received since then: 7d, 48h, 2026-11-01.")
@region_option
@click.option("--limit", type=click.IntRange(0), default=_SHOWN, show_default=True, help="Replies shown, newest last.")
@click.option("--json", "as_json", is_flag=True, help="Print all of them as JSON.")
@click.option("--format", "form", type=click.Choice(FORMATS), help="Write a table: csv and jsonl to standard output.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write all of them to FILE (.csv, .jsonl, .parquet, .xlsx).",
)
@force_option
@state_options
def replies(
    review: bool,
    opt_out: tuple[str, ...],
    keep: tuple[str, ...],
    campaign: str | None,
    number: str | None,
    since: str | None,
    region: str | None,
    limit: int,
    as_json: bool,
    form: str | None,
    output: Path | None,
    force: bool,
    debug: bool,
    state_dir: Path | str,
) -> int:
    console.set_up_logs(debug=debug)
    if review:
        from sender.cli.review import review_replies

        if any((campaign, number, since, form, output)):
            raise InputError("--review lists all replies that wait", fix="leave out the other options")
        with open_state(state_dir, create=False) as state:
            review_replies(state, opt_out=opt_out, keep=keep, region=region, as_json=as_json)
        return 0
    if opt_out or keep:
        raise InputError("a decision is about a reply that is held for review", fix="add --review")
    heard_since = None if since is None else _parse_since(since, datetime.now(UTC))
    with open_state(state_dir, read_only=True) as state:
        frame = read_replies(state, number=number, campaign=campaign, since=heard_since, region=region)
    if output is not None:
        write_replies(frame, _with_suffix(output, form), Protected(state_dir=folder_of(state_dir)), force=force)
        console.err.print(f"wrote {console.many(frame.height, 'reply', 'replies')} to {escape(str(output))}")
    elif form is not None:
        terminal.write_data(_dump(frame, form))
    elif as_json:
        console.print_json([_to_dict(row) for row in frame.iter_rows(named=True)])
    else:
        _print_replies(frame, limit)
    return 0


def _parse_since(text: str, now: datetime) -> datetime:
    """Return the moment that `7d`, a date or an ISO time names (UTC without an offset). Raises InputError."""
    try:
        if len(text) == len("2026-11-01"):
            return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        if "T" in text.upper() or ":" in text:
            moment = datetime.fromisoformat(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError:
        raise InputError(f"--since {text!r} is not a time", fix="write 7d, 48h or 2026-11-01") from None
    if text.strip().isdigit():
        raise InputError(f"--since {text} has no unit", fix="write one: 7d or 48h")
    try:
        return now - timedelta(seconds=parse_duration_s(text, "--since"))
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC, year=1970)


def _with_suffix(output: Path, form: str | None) -> Path:
    """Return the file to write. Raises InputError where its suffix says another format than --format."""
    if form is not None and output.suffix.lower() != f".{form}":
        raise InputError(f"--format {form} does not fit the name {output.name}", fix=f"name it {output.stem}.{form}")
    return output


def _dump(frame: pl.DataFrame, form: str) -> bytes:
    buffer = io.BytesIO()
    match form:
        case "csv":
            dump_csv(frame, buffer)
        case "jsonl":
            dump_json_lines(frame, buffer)
        case _:
            raise InputError(f"{form} cannot be written to standard output", fix=f"add --output replies.{form}")
    return buffer.getvalue()


def _print_replies(frame: pl.DataFrame, limit: int) -> None:
    console.out.print(f"[bold]{console.many(frame.height, 'reply', 'replies')}[/]")
    if frame.height > limit:
        console.out.print(f"  [dim]the newest {limit:,}; --output writes all of them, --limit shows more[/]")
    for row in frame.tail(limit).iter_rows(named=True):
        console.out.print(escape(f"  {_head(row)}"))
        for line in (row["text"] or "").splitlines() or [""]:
            console.out.print(escape(f"    {line}"))
        for url in (row["media"] or "").split():
            console.out.print(escape(f"    {url}"))


def _head(row: Mapping[str, Any]) -> str:
    """Return `2026-11-21 14:03:00 UTC +12025550147 to +12025550100, probably about offer, row 12; opted out`."""
    about = "about no known message"
    if row["likely_run_id"] is not None:
        about = f"probably about {row['likely_campaign']}, row {row['likely_row_number']}, run {row['likely_run_id']}"
    notes = [_MEANINGS.get(row["meaning"] or "")]
    notes += ["not forwarded" if row["forwarded"] == "failed" else None, "simulated" if row["simulated"] else None]
    shown = "".join(f"; {note}" for note in notes if note)
    who = row["number"] or "somebody who was erased"
    return f"{format_utc_and_local(row['heard_at'])} {who} to {row['our_number'] or 'us'}, {about}{shown}"


def _to_dict(row: Mapping[str, Any]) -> dict[str, Any]:
    plain = {
        name: value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value
        for name, value in row.items()
    }
    return {**plain, "media": (row["media"] or "").split()}
