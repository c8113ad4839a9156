"""The cells that a campaign uses: read as they are shown or as they are stored, and held where a workbook has none.

What a workbook shows is what its author expects in a text. What a template computes with (a date to be written in
words, an amount to be compared) is what the workbook stores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from sender.campaign.model import Campaign
from sender.core.errors import HiddenRows, RecipientsError, setting
from sender.core.outcomes import SkipReason
from sender.planning.audience import skip_rows
from sender.planning.compiled import CompiledCampaign
from sender.recipients.columns import Recipients, load_recipients
from sender.templating.blanks import row_key
from sender.templating.cell_uses import find_cell_uses
from sender.templating.nested_values import find_example

_ROWS_NAMED = 5


def read_recipients(campaign: Campaign, compiled: CompiledCampaign) -> Recipients:
    """Return the recipients of `campaign`, the cells that it computes with as they are stored.

    Raises RecipientsError as `load_recipients` does, and for a column that the campaign uses and that cannot be read.
    """
    recipients = load_recipients(campaign)
    unreadable = recipients.table.unreadable
    names = {**dict(zip(unreadable, unreadable, strict=True)), **recipients.names}
    headers = (*recipients.headers, *unreadable)
    uses = [find_cell_uses(template, names, headers) for template in compiled.templates]
    used = frozenset[str]().union(*(use.shown | use.computed for use in uses))
    for header in sorted(used & unreadable.keys()):
        raise RecipientsError(
            f"the column `{header}` is of the type {unreadable[header]}, which has no text",
            where=recipients.inputs[0].path,
            fix="write the column as text, or leave it out of the message",
        )
    return recipients.with_stored(frozenset[str]().union(*(use.computed for use in uses)))


def used_headers(compiled: CompiledCampaign, recipients: Recipients) -> frozenset[str]:
    """Return the headers of the cells that make a message."""
    uses = [find_cell_uses(template, recipients.names, recipients.headers) for template in compiled.templates]
    used = {header for use in uses for header in use.shown | use.computed}
    if compiled.body is None and recipients.body is not None:
        used.add(recipients.body)
    if not compiled.media and recipients.media is not None:
        used.add(recipients.media)
    if not compiled.senders and compiled.sender is None and recipients.sender is not None:
        used.add(recipients.sender)
    return frozenset(used)


def needed_headers(compiled: CompiledCampaign, recipients: Recipients) -> frozenset[str]:
    """Return the headers of the cells that make a message, or say who gets one."""
    where = compiled.numbers.where
    filtered = () if where is None else where.find_columns(recipients.names, recipients.headers)
    return used_headers(compiled, recipients).union(filtered)


def read_headers(compiled: CompiledCampaign, recipients: Recipients) -> frozenset[str]:
    """Return the headers of the cells that are read while messages are composed: all where a template has `row`."""
    if any("row" in template.uses for template in compiled.templates):
        return frozenset(recipients.headers)
    return used_headers(compiled, recipients).union(recipients.places.values(), recipients.phones[:1])


def skip_broken(frame: pl.DataFrame, recipients: Recipients, needed: frozenset[str]) -> pl.DataFrame:
    """Skip, as `missing_data`, rows in which a cell under one of the headers `needed` has no value in the workbook.

    Rows whose number has none are invalid already; their `detail` then says so.
    """
    broken = recipients.table.broken
    if broken.is_empty():
        return frame
    frame = _add_sentence(frame, broken.filter(pl.col("header").is_in(list(recipients.phones))))
    unread = pl.col("to").is_null() & pl.col("_broken").is_not_null()
    frame = frame.with_columns(detail=pl.when(unread).then("_broken").otherwise("detail")).drop("_broken")
    frame = _add_sentence(frame, broken.filter(pl.col("header").is_in(list(needed))))
    why = pl.col("_broken")
    return skip_rows(frame, why.is_not_null(), SkipReason.MISSING_DATA, why).drop("_broken")


def _add_sentence(frame: pl.DataFrame, broken: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` with `_broken`: what is wrong with the first of the cells `broken` in the row, or null."""
    error = pl.format("the cell `{}` is an error in the workbook: {}", "header", "error")
    formula = pl.format(
        "the cell `{}` is a formula that has never been calculated: open the workbook in a spreadsheet program and"
        " save it",
        "header",
    )
    first = broken.unique("row_number", keep="first", maintain_order=True)
    sentences = first.select("row_number", _broken=pl.when(pl.col("error").is_null()).then(formula).otherwise(error))
    return frame.join(sentences, on="row_number", how="left", maintain_order="left")


def find_printed_mappings(compiled: CompiledCampaign, recipients: Recipients) -> dict[str, str]:
    """Return for each column of mappings that a text has as a whole how a template writes the first value in one."""
    nested = recipients.nested_cells
    names, headers = recipients.names, recipients.headers
    uses = [find_cell_uses(template, names, headers) for template in compiled.templates] if nested.width else []
    printed = frozenset[str]().union(*(use.printed for use in uses))
    mappings = {
        header: nested[header].filter(nested[header].str.starts_with('{"')).head(1)
        for header in nested.columns
        if header in printed
    }
    written = {header: name for name, header in names.items()}
    return {
        header: find_example(source.item(), written.get(header, row_key(header)))
        for header, source in mappings.items()
        if source.len()
    }


def note_printed_mappings(mappings: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each of what `find_printed_mappings` found."""
    for header, example in mappings.items():
        yield f"`{header}` is a mapping, and the text prints all of it; `{example}` is one of its values"


def note_placeholders(placeholders: Mapping[tuple[str, str], int]) -> Iterator[str]:
    """Yield a sentence for each column with placeholders, given their numbers by header and placeholder."""
    for header in dict.fromkeys(header for header, _ in placeholders):
        counts = {word: n for (column, word), n in placeholders.items() if column == header}
        listed = ", ".join(f"`{word}` {n:,}" for word, n in sorted(counts.items()))
        cells = sum(counts.values())
        yield (
            f"{'1 cell' if cells == 1 else f'{cells:,} cells'} of `{header}` {'holds' if cells == 1 else 'hold'} a"
            f" placeholder ({listed}), which counts as blank; `recipients.placeholders` changes the list"
        )


def check_hidden_rows(compiled: CompiledCampaign, recipients: Recipients, messages: pl.Series) -> None:
    """Raise HiddenRows where nobody has said what becomes of rows that a workbook hides.

    `messages` are the numbers of those among them that would get a message.
    """
    if compiled.numbers.hidden_rows is not None or messages.is_empty():
        return
    hidden = recipients.table.hidden_rows.len()
    rows = "1 row is" if hidden == 1 else f"{hidden:,} rows are"
    would = "it" if hidden == 1 else "1 of them" if messages.len() == 1 else f"{messages.len():,} of them"
    raise HiddenRows(
        f"{rows} hidden in the workbook, by a filter or by hand, and {would} would get a message:"
        f" {_name_rows(messages)}",
        where=recipients.inputs[0].path,
        fix=f"skip hidden rows with {setting('recipients.hidden_rows', 'skip')}, or text them with"
        " `keep`; or show the rows, and save the workbook",
    )


def note_hidden_rows(compiled: CompiledCampaign, recipients: Recipients, messages: int) -> Iterator[str]:
    """Yield what a person should know of the rows that a workbook hides, of which `messages` get a message."""
    hidden = recipients.table.hidden_rows.len()
    if not hidden:
        return
    rows = "1 row is" if hidden == 1 else f"{hidden:,} rows are"
    skipped = compiled.numbers.hidden_rows == "skip"
    get = "no message" if skipped or not messages else f"{messages:,} of the messages"
    them = "it gets" if hidden == 1 else "they get"
    yield f"{rows} hidden in the workbook, by a filter or by hand; {them} {get}"


def _name_rows(rows: pl.Series) -> str:
    """Return `row 3`, or `rows 3, 4, 5 and 9 more`."""
    if rows.len() == 1:
        return f"row {rows[0]}"
    more = rows.len() - _ROWS_NAMED
    return f"rows {', '.join(map(str, rows.head(_ROWS_NAMED)))}" + (f" and {more:,} more" if more > 0 else "")
