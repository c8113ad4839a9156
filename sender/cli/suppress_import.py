"""What `sender suppress import` reads: files of numbers, exported lists, other states, a provider's opt-outs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich.markup import escape

from sender import providers
from sender.cli import console
from sender.core.errors import InputError
from sender.core.outcomes import SkipReason
from sender.core.safe_tables import EXPORTED
from sender.delivery.provider_optouts import import_opt_outs as read_opt_outs
from sender.recipients.readers.read import read_tables
from sender.recipients.readers.source import FileSource
from sender.state.find_state import is_state
from sender.state.state_dir import DEFAULT_STATE_DIR
from sender.suppression.entries import SANDBOX, EntrySource, SuppressionEntry
from sender.suppression.export import entries_from_frame
from sender.suppression.number_list import ListRules, no_numbers, read_number_list
from sender.suppression.suppression_list import SuppressionList
from sender.transport.httpx_transport import HttpxTransport

_SHOWN = 20


def import_opt_outs(
    suppressions: SuppressionList, provider: str, env: Mapping[str, str], *, scope: str, **options: Any
) -> None:
    """Take over the opt-outs that the provider keeps. Raises SenderError."""
    adapter = providers.adapter(provider, env)
    seen, new = asyncio.run(_read_opt_outs(suppressions, adapter, scope=scope, **options))
    console.out.print(f"{console.many(seen, 'opt-out')} at {provider}, {new:,} new")


async def _read_opt_outs(suppressions: SuppressionList, adapter: object, **options: Any) -> tuple[int, int]:
    async with contextlib.aclosing(HttpxTransport(concurrency=1)) as transport:
        return await read_opt_outs(suppressions, adapter, transport, **options)


def import_state(suppressions: SuppressionList, folder: Path, own: Path | None) -> None:
    """Take over what another state knows, but for what its sandbox refused. Raises InputError where there is none."""
    other = next((state for state in (folder, folder / DEFAULT_STATE_DIR) if is_state(state)), None)
    if other is None:
        raise InputError("there is no state directory here", where=str(folder), fix="name a state directory, or files")
    if own is not None and other.resolve() == own.resolve():
        raise InputError("this is the state itself", where=str(folder), fix="name another one")
    with SuppressionList.open(other, read_only=True) as others:
        entries = [entry for entry in others.entries() if entry.scope != SANDBOX]
    _take_over(suppressions, entries, str(other))


def _take_over(suppressions: SuppressionList, entries: Sequence[SuppressionEntry], name: str) -> None:
    """Enter another list's entries, and say what of them can be recognised by that state alone."""
    new = suppressions.restore(entries)
    erased = sum(entry.is_erased for entry in entries)
    console.out.print(f"{escape(name)}: {console.many(len(entries) - erased, 'entry', 'entries')}, {new:,} new")
    if erased:
        console.out.print(f"  [yellow]note:[/] {not_carried(erased)}")


def not_carried(erased: int) -> str:
    """The sentence about entries of people who were erased."""
    return (
        f"{console.many(erased, 'entry', 'entries')} of people who were erased cannot be copied: only the state"
        " that erased them can recognise them, so keep it while these people may still be on a list"
    )


def import_file(suppressions: SuppressionList, file: Path, rules: ListRules, *, scope: str, reason: SkipReason) -> bool:
    """Put the numbers of a file on the list; return whether none of its rows was left out that may not be."""
    name = escape(file.name)
    exported = _read_exported(file)
    if exported is not None:
        _take_over(suppressions, entries_from_frame(exported), file.name)
        return True
    listed = read_number_list(file, rules)
    numbers = listed.numbers
    if listed.rows and numbers.is_empty() and listed.unreadable.is_empty():
        raise no_numbers(str(file))
    new = suppressions.add(numbers, scope=scope, reason=reason, source=EntrySource.FILE, via=file.name)
    console.out.print(f"{name}: {console.many(numbers.len(), 'number')}, {new:,} new")
    if len(listed.columns) > 1:
        counts = ", ".join(f"`{column.name}` {column.numbers.len():,}" for column in listed.columns)
        console.out.print(f"  cells with numbers by column: {escape(counts)}")
    if listed.blank_rows:
        console.out.print(f"  {console.many(listed.blank_rows, 'row')} without a number")
    if not listed.unreadable_rows:
        return True
    allowed = listed.unreadable_rows <= rules.unreadable
    mark = "[yellow]note:[/]" if allowed else "[red]not on the list:[/]"
    console.out.print(f"  {mark} {console.many(listed.unreadable_rows, 'row')} with a number that cannot be read")
    for cell in listed.list_unreadable(_SHOWN):
        console.out.print(f"    {escape(cell)}")
    if listed.unreadable.height > _SHOWN:
        console.out.print(f"    and {listed.unreadable.height - _SHOWN:,} more")
    if not allowed:
        console.out.print(
            f"  correct them and import the file again, or allow them with --unreadable {listed.unreadable_rows}"
            + ("" if rules.regions else "; numbers without a country code need --default-region US")
        )
    return allowed


def _read_exported(file: Path) -> pl.DataFrame | None:
    """Return the table in `file` if `export` has written it; None for any other file. Raises RecipientsError."""
    tables = read_tables(FileSource(file.read_bytes(), where=str(file)), where=str(file))
    table = tables.get(None)
    return table.cells if table is not None and set(EXPORTED) <= set(table.headers) else None
