"""`sender numbers …`: which numbers no text can arrive at."""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from sender import providers
from sender.cli import console
from sender.cli.number_arguments import parse_numbers
from sender.cli.shared_options import env_file_option, environment, region_option, state_options
from sender.core.errors import InputError
from sender.delivery.deactivated_numbers import LIST_MAX_BYTES, fetch_deactivations
from sender.providers.base import Adapter
from sender.suppression.dead_numbers import add_deactivated, dead_entries, revive
from sender.suppression.number_list import ListRules, NumberList, no_numbers, read_number_list
from sender.suppression.suppression_list import SuppressionList
from sender.transport.httpx_transport import HttpxTransport

_SHOWN = 20
_TWILIO = "twilio"
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_US = ListRules(("US",))  # carriers of the United States alone are listed


@click.group()
def numbers() -> None:
    """Manage dead numbers, which cannot receive texts. `skip_dead` (--skip-dead) skips them.

    Runs add numbers to them when a provider refuses or reports them as dead.
    """


@numbers.command(
    "import-deactivations",
    help="Import the US numbers that carriers took out of service on one day.\n\n"
    "SOURCE is a day (2026-11-28, yesterday), whose list comes from Twilio for free, or a file of numbers.",
)
@click.argument("source")
@click.option("--date", "day", metavar="DAY", help="With a file: its day. Default: the day in its name, or today.")
@env_file_option()
@state_options
def import_deactivations(
    source: str, day: str | None, env_file: Path | None, debug: bool, state_dir: Path | str
) -> int:
    console.set_up_logs(debug=debug)
    file = Path(source)
    if file.is_file():
        found = _DAY.search(file.name)
        at = _read_day(day, "--date") if day else _read_day(found[0], source) if found else _today()
        listed, via = read_number_list(file, _US), file.name
    elif day is not None:
        raise InputError("--date is the day of a file's list", fix="leave it out, or name a file")
    else:
        at = _read_day(source, "SOURCE")
        listed, via = _fetch(at, env_file), _TWILIO
    if listed.rows and listed.numbers.is_empty():
        raise no_numbers(source)
    with SuppressionList.open(state_dir) as suppressions:
        new = add_deactivated(suppressions, listed.numbers, via=via, at=datetime(at.year, at.month, at.day, tzinfo=UTC))
    many = console.many(listed.numbers.len(), "deactivated number")
    console.out.print(f"{escape(via)}, {at.isoformat()}: {many}, {new:,} new")
    unread = listed.unreadable
    if unread.is_empty():
        return 0
    console.out.print(f"  [red]not imported:[/] {console.many(unread.height, 'line')} that cannot be read")
    for row, detail in unread.select("row", "detail").head(_SHOWN).iter_rows():
        console.out.print(f"    {escape(f'line {row:,}: {detail}')}")
    return 1


def _fetch(day: date, env_file: Path | None) -> NumberList:
    if day > _today():
        raise InputError(f"{day.isoformat()} is in the future", fix="name a day that is over, such as `yesterday`")
    adapter = providers.adapter(_TWILIO, environment(env_file))
    content = asyncio.run(_download(adapter, day))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"deactivations-{day.isoformat()}.txt"
        file.write_bytes(content)
        return read_number_list(file, _US, name=file.name)


async def _download(adapter: Adapter, day: date) -> bytes:
    transport = HttpxTransport(concurrency=1, most_bytes=LIST_MAX_BYTES)
    async with contextlib.aclosing(transport):
        return await fetch_deactivations(adapter, transport, day)


def _read_day(text: str, where: str) -> date:
    named = {"today": _today(), "yesterday": _today() - timedelta(days=1)}
    if text.strip().lower() in named:
        return named[text.strip().lower()]
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise InputError(
            f"`{text}` is neither a day nor a file", where=where, fix="write a day as 2026-11-28, or name a file"
        ) from None


def _today() -> date:
    return datetime.now(UTC).date()


@numbers.command("list", help="Show how many numbers are dead and why, and the newest of them.")
@click.option("--limit", type=click.IntRange(0), default=_SHOWN, show_default=True, help="Entries shown, newest first.")
@click.option("--json", "as_json", is_flag=True, help="Print all of them as JSON.")
@state_options
def list_(limit: int, as_json: bool, debug: bool, state_dir: Path | str) -> int:
    console.set_up_logs(debug=debug)
    with SuppressionList.open(state_dir, read_only=True) as suppressions:
        entries = dead_entries(suppressions)
    if as_json:
        console.print_json(
            [
                {"number": each.number, "reason": each.reason.value, "at": each.at.isoformat(), "why": each.sentence()}
                for each in entries
            ]
        )
        return 0
    counts = Counter(entry.reason.value for entry in entries)
    by_reason = f" ({console.counted(counts)})" if counts else ""
    console.out.print(f"[bold]{console.many(len({each.number for each in entries}), 'dead number')}[/]{by_reason}")
    if entries and limit:
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for column in ("number", "reason", "because"):
            table.add_column(column, overflow="fold")
        for entry in entries[:limit]:
            table.add_row(entry.number, entry.reason.value, escape(entry.sentence()))
        console.out.print(table)
    if limit and len(entries) > limit:
        console.out.print(f"  [dim]and {len(entries) - limit:,} more: `sender numbers list --json` has all of them[/]")
    return 0


@numbers.command("remove", help="Remove numbers from the dead ones. A later refusal or list counts again.")
@click.argument("some", metavar="NUMBERS...", nargs=-1, required=True)
@region_option
@state_options
def remove(some: tuple[str, ...], region: str | None, debug: bool, state_dir: Path | str) -> int:
    console.set_up_logs(debug=debug)
    wanted = parse_numbers(some, region)
    with SuppressionList.open(state_dir, read_only=True) as known:
        dead = {entry.number for entry in dead_entries(known)} & {*wanted}
    if not dead:
        console.out.print(f"0 numbers removed, {len(wanted):,} not on the list")
        return 0
    with SuppressionList.open(state_dir) as suppressions:
        done = revive(suppressions, wanted)
    console.out.print(f"{console.many(len(done.removed), 'number')} removed, {len(done.unknown):,} not on the list")
    for entry in done.held:
        console.out.print(f"  [yellow]kept:[/] {escape(entry.number)} is {escape(entry.sentence())}")
    if done.held:
        console.out.print("  `sender suppress remove` removes all entries of a number")
    return 1 if done.held else 0
