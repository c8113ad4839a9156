"""The recipients of a campaign: its file or rows as columns of text, and which column means what.

Headers are matched without case, spaces, `_` and `-`; those of numbers and countries are read as words
(`sender.recipients.headers`). Where two columns could have the number, or none does, the file is refused with what to
set; nothing is guessed. Numbers are read elsewhere (`sender.phone`).
"""

from __future__ import annotations

import difflib
import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from sender.core.composed_text import compose_text
from sender.core.errors import RecipientsError, setting
from sender.core.packed_cells import PACKED_FROM
from sender.recipients.country_columns import CountryColumns, choose_country_columns
from sender.recipients.headers import PhoneHeader, header_key, list_names, phone_header, resolve_header
from sender.recipients.input_file import InputFile
from sender.recipients.phone_columns import choose_phone_columns
from sender.recipients.readers.cells import table_of_items
from sender.recipients.readers.frames import table_of_frame
from sender.recipients.readers.read import read_table
from sender.recipients.readers.source import FileSource
from sender.recipients.readers.table import Table

if TYPE_CHECKING:  # its models take 60 ms to build, and what sends a plan needs none
    from sender.campaign.model import Campaign

# As `header_key` returns them.
_BODY_HEADERS = frozenset({"body", "text", "message"})
_MEDIA_HEADERS = frozenset({"mediaurl", "mediaurls"})
_SENDER_HEADERS = frozenset({"from"})
_PLACE_HEADERS = {
    "timezone": frozenset({"timezone", "tz", "timezonename"}),
    "zip": frozenset({"zip", "zipcode", "postalcode", "postcode"}),
    "state": frozenset({"state", "province"}),
}

# Names that jinja2 reserves, and `row`, which is ours (`sender.templating`).
_RESERVED = frozenset(
    {"true", "false", "none", "True", "False", "None", "and", "or", "not", "in", "is", "if", "elif", "else", "for"}
    | {"recursive", "self", "loop", "row"}
)


@dataclass(frozen=True, slots=True, eq=False)
class Recipients:
    """The rows, and which column is what.

    `table` has the file's own columns under its own headers (a repeated one numbered: `Phone (2)`); every cell is the
    text in the file, never null. Row numbers are those a spreadsheet shows for CSV and workbooks, the line for JSON
    lines, else they count from 1. Blank rows are not in it; `blank_rows` counts them.

    `phones` are the headers of the number, in the order in which a row's cells are tried; `countries` are the columns
    of its country. `body`, `media` and `sender` are headers or None. `places` has the
    headers of what says where a recipient is: `timezone`, `zip`, `state`, each if there is such a column. `names` maps
    each name of a template to a header; other headers are reached by `row["Header"]`. `inputs` is the file, or
    `(inline rows)` or `(frame)` with the hash of the cells. `notes` are sentences about the list, for a person.
    """

    table: Table
    phones: tuple[str, ...]
    body: str | None
    media: str | None
    sender: str | None
    countries: CountryColumns
    places: Mapping[str, str]
    names: Mapping[str, str]
    inputs: tuple[InputFile, ...]
    notes: tuple[str, ...]

    @property
    def headers(self) -> tuple[str, ...]:
        return self.table.headers

    @property
    def blank_rows(self) -> int:
        return self.table.blank_rows

    @property
    def cells(self) -> pl.DataFrame:
        """The cells of all rows, without the row numbers: a file may have a column `row_number`."""
        return self.table.cells

    @property
    def nested_cells(self) -> pl.DataFrame:
        """The mappings and lists in cells as JSON, under the headers of the columns that have any."""
        return self.table.nested_cells

    @property
    def packed_headers(self) -> tuple[str, ...]:
        """All headers, where there are at least PACKED_FROM and a row's cells are kept as a list; else none."""
        return self.headers if len(self.headers) >= PACKED_FROM else ()

    @property
    def originals(self) -> pl.Series:
        """The cells of each row as a plan has them, `recipient`: a struct, or a list where there are very many."""
        if self.packed_headers:
            return self.table.packed().alias("recipient")
        cells = self.cells
        return cells.to_struct("recipient") if cells.width else pl.Series("recipient", [None] * self.table.height)

    @property
    def row_numbers(self) -> pl.Series:
        """UInt32, one a row of `cells`."""
        return self.table.row_numbers

    def with_stored(self, headers: Collection[str]) -> Recipients:
        """Return the same recipients with what the cells under `headers` store, as `Table.with_stored` does."""
        return replace(self, table=self.table.with_stored(headers))

    def select(self, headers: Collection[str]) -> Recipients:
        """Return the same recipients with only the cells under `headers`."""
        return replace(self, table=self.table.select(headers))

    def take(self, rows: pl.Series) -> Recipients:
        """Return the same recipients with the rows at these places, from 0."""
        return replace(self, table=self.table.take(rows))

    def row(self, row_number: int) -> Recipients:
        """Return the same recipients with only the row of that number."""
        return replace(self, table=self.table.row(row_number))

    def blocks(self) -> Iterator[Recipients]:
        """Yield the same recipients in order, a block at a time: a large list is never in memory as a whole."""
        for block in self.table.blocks():
            yield replace(self, table=block)


def load_recipients(campaign: Campaign) -> Recipients:
    """Return the campaign's recipients. Raises RecipientsError for whatever is wrong with more than a row."""
    spec = campaign.recipients
    table, where, file = _read(campaign)
    if not table.height:
        only = "only blank rows" if table.blank_rows else "a header but no rows" if table.headers else "nothing"
        if spec.header_row is not None:
            only += f" from row {spec.header_row} on, where {setting('recipients.header_row')} says that the header is"
        raise RecipientsError(
            f"there are no recipients: it has {only}", where=where, fix="add a row for each recipient"
        )
    headers = list(table.headers)
    message = campaign.message
    _refuse_unreadable(table, spec.phone_column, where)
    stored = table.with_stored(headers)  # a format may show a number otherwise
    phones = choose_phone_columns(stored, spec.phone_column, where=where, default_region=spec.default_region)
    refuse_narrow(table, phones.headers, where)
    countries = choose_country_columns(table, spec.region_column, phones.headers, where)
    sender = _find_header(headers, _SENDER_HEADERS, where, "from", settled=bool(campaign.senders))
    has_body = message.body is not None or message.template is not None or bool(message.variants)
    return Recipients(
        table=table.with_stored({*phones.headers, sender or phones.headers[0]}),
        phones=phones.headers,
        body=_find_header(headers, _BODY_HEADERS, where, "message.body", settled=has_body),
        media=_find_header(headers, _MEDIA_HEADERS, where, "message.media", settled=bool(message.media)),
        sender=sender,
        countries=countries,
        places=_find_places(headers),
        names=_template_names(headers, spec.columns, where),
        notes=(
            *table.notes,
            *_note_unread_sheets(table),
            *_note_hidden_columns(table, phones.headers),
            *phones.notes,
            *countries.notes,
        ),
        inputs=(file if file is not None else _hash_cells(table, framed=campaign.frame is not None),),
    )


def _note_unread_sheets(table: Table) -> Iterator[str]:
    if table.other_sheets:
        sheets, are = ("sheets", "are") if len(table.other_sheets) > 1 else ("sheet", "is")
        names = list_names(table.other_sheets)
        yield f"the workbook's {sheets} {names} {are} not read; choose one with {setting('recipients.sheet')}"


def _note_hidden_columns(table: Table, phones: Sequence[str]) -> Iterator[str]:
    for phone in phones:
        if phone in table.hidden_headers:
            yield f"the column of the numbers, `{phone}`, is hidden in the workbook"


def _refuse_unreadable(table: Table, chosen: Sequence[str], where: str) -> None:
    """Raise RecipientsError where the column of the numbers was left out for its type."""
    for header, kind in table.unreadable.items():
        if header in chosen or (not chosen and phone_header(header) is PhoneHeader.SURE):
            raise RecipientsError(
                f"the column `{header}` is of the type {kind}, which has no text",
                where=where,
                fix="write the numbers as text",
            )


def refuse_narrow(table: Table, headers: Iterable[str], where: str) -> None:
    """Raise RecipientsError where a column of numbers cannot hold a phone number."""
    for header in headers:
        if header in table.narrow_headers:
            raise RecipientsError(
                f"the column `{header}` has floating point numbers of 32 bits or fewer, which cannot hold a phone"
                " number: 2025550147 becomes 2025550208",
                where=where,
                fix="write the numbers as text, or as whole numbers of 64 bits, where you export them: in this"
                " column their last digits are lost",
            )


def _read(campaign: Campaign) -> tuple[Table, str, InputFile | None]:
    """Return the rows, where they are (for an error), and the file; None for rows from the campaign or a frame."""
    spec = campaign.recipients
    if campaign.frame is not None:
        return _read_frame(campaign.frame), "the recipients frame", None
    if spec.file is None:
        where = f"{campaign.source}, recipients" if campaign.source else "recipients"
        return _read_rows(spec.rows or (), where), where, None
    path = campaign.path(spec.file)
    name = spec.file
    if name.is_absolute() and name.is_relative_to(campaign.base.absolute()):
        name = name.relative_to(campaign.base.absolute())
    with open_source(path) as source:
        table = read_table(
            source,
            where=str(path),
            sheet=spec.sheet,
            separator=spec.separator,
            encoding=spec.encoding,
            header_row=spec.header_row,
        )
        file = InputFile("recipients", name.as_posix(), *source.finish())
    return table, str(path), file


def _read_rows(rows: Sequence[Mapping[str, Any]], where: str) -> Table:
    try:
        return table_of_items(rows)
    except RecursionError:
        raise RecipientsError("a value is nested too deeply", where=where, fix="leave it out") from None


def _read_frame(frame: Any) -> Table:
    """Return the rows of a frame. Raises RecipientsError for values that cannot be read."""
    try:
        return table_of_frame(frame)
    except (
        *(pl.exceptions.PolarsError, pl.exceptions.PanicException),
        *(ValueError, TypeError, OverflowError, RecursionError),
    ) as error:
        raise RecipientsError(
            f"cannot be read: {(str(error).splitlines() or [type(error).__name__])[0]}",
            where="the recipients frame",
            fix="convert the column to text, or leave it out",
        ) from None


def _hash_cells(table: Table, *, framed: bool) -> InputFile:
    """Return what takes the place of a file where there is none: the cells, hashed as JSON lines."""
    size, digest = 0, hashlib.sha256()
    for block in table.blocks():
        lines = block.cells.write_ndjson().encode()
        size += len(lines)
        digest.update(lines)
    return InputFile("recipients", "(frame)" if framed else "(inline rows)", size, digest.hexdigest())


@contextmanager
def open_source(path: Path) -> Iterator[FileSource]:
    """Open a file to read its bytes. Raises RecipientsError where it cannot be opened or read."""
    if path.is_dir():
        raise RecipientsError("is a folder, not a file", where=str(path), fix="name the file in it")
    try:
        with FileSource(path, where=str(path)) as source:
            yield source
    except FileNotFoundError:
        siblings = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, siblings, n=1)
        raise RecipientsError(
            "there is no such file",
            where=str(path),
            fix=f"did you mean `{near[0]}`?" if near else "relative paths start at the campaign file's folder",
        ) from None
    except OSError as error:
        raise RecipientsError(
            f"cannot be read: {error.strerror}", where=str(path), fix="check that you may read the file"
        ) from None


def _find_header(
    headers: list[str], keys: frozenset[str], where: str, key: str, *, settled: bool = False
) -> str | None:
    """Return the header that has one of `keys`, or None. Several are an error that says to set the campaign's `key`.

    `settled` says that the campaign has set the key already: then several are only data.
    """
    matches = [header for header in headers if header_key(header) in keys]
    if len(matches) < 2:
        return matches[0] if matches else None
    if settled:
        return None
    raise RecipientsError(
        f"{len(matches)} columns match: {list_names(matches)}",
        where=where,
        fix=f"choose one with {setting(key)}",
    )


def _find_places(headers: list[str]) -> dict[str, str]:
    """Return the first header of each kind that says where a recipient is."""
    found = {}
    for kind, keys in _PLACE_HEADERS.items():
        header = next((header for header in headers if header_key(header) in keys), None)
        if header is not None:
            found[kind] = header
    return found


def _template_names(headers: list[str], chosen: Mapping[str, str], where: str) -> dict[str, str]:
    """Return template name to header: the campaign's own names, then headers that are names, then names from headers.

    Two headers that make the same name have none: only `row[...]` distinguishes `First Name` and `first-name`.
    """
    names = {header: header for header in headers if _is_name(header)}
    by_name: dict[str, list[str]] = {}
    for header in headers:
        by_name.setdefault(_identifier(header), []).append(header)
    for name, sources in by_name.items():
        if len(sources) == 1 and _is_name(name):
            names.setdefault(name, sources[0])
    for name, header in chosen.items():
        key = f"recipients.columns.{name}"
        if not _is_name(name):
            raise RecipientsError(
                f"`{name}` cannot be a name in a template",
                where=key,
                fix="use letters, digits and `_`, as in `first_name`",
            )
        names[compose_text(name)] = resolve_header(headers, header, key, where)
    return names


def _is_name(text: str) -> bool:
    return text.isidentifier() and text not in _RESERVED


def _identifier(header: str) -> str:
    """Return `first_name` for `First Name`: lower case, everything but letters, digits and `_` as one `_`."""
    plain = unicodedata.normalize("NFKC", header).lower()
    return re.sub(r"_+", "_", re.sub(r"\W+", "_", plain)).strip("_")
