"""A column of raw numbers to E.164, or a reason why not, at the speed of columns.

The truth is `phonenumbers` with the sender's caution on top (`sender.phone.cell`), which reads one cell at a time. Here
the cells that hold nothing but digits, ordinary punctuation and at most one leading `+` are answered by tables compiled
from its metadata (`sender.phone.ranges`); every other cell, and every digit string the tables leave open, goes to
that reader, each different one once. Both ways give the same row, sentence for sentence; the tests hold them to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache

import phonenumbers
import polars as pl

from sender.core.outcomes import SkipReason
from sender.phone import countries
from sender.phone.cell import (
    EXACT_DIGITS,
    FAULT_SENTENCES,
    HINT,
    LOCAL_DIGITS,
    NO_REGION,
    SHOWN_CHARS,
    TAIL_REPAIR,
    Reader,
    Reading,
    bad_region,
    region_ok,
)
from sender.phone.digit_sets import MAX_DIGITS
from sender.phone.numbering import NumberVerdict, meanings
from sender.phone.ranges import INTERNATIONAL, MIN_DIGITS, region_table

_COLUMNS = dict.fromkeys(Reading._fields, pl.String)
# A region's table costs about what `phonenumbers` needs for some thousand numbers, a country code's for some hundred.
_REGION_FROM_ROWS = 4_000
_CODE_FROM_ROWS = 100
_BLOCK_ROWS = 250_000  # bounds memory; larger ones are not faster
_BLOCKS_AT_ONCE = 2  # most of a block is one step after another, each in one of polars' threads
_REMEMBERED_CELLS = 50_000  # from block to block

# Punctuation that libphonenumber passes over; the dashes and the no-break space come from word processors.
_SEPARATORS = [*" -.()[]/", "\u00a0", *map(chr, range(0x2010, 0x2016)), "\u2212", "+"]
_LEADING_PLUS = r"^[ (]*\+[^+]*$"
_WITH_TAIL = r"^\+?[0-9]+[.,]0+$"
_SUSPECT = (  # at least what `caution` holds of such cells, but for two numbers
    r"^[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}(?:[ T\x{a0}]|$)|^[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:19|20)[0-9]{2}$"
    r"|^\+?[0-9]+\.0+$"
)
_ONE_LONG_NUMBER = r"^(?:\+|00|011)[0-9 +.()\[\]-]*$|^[0-9]+$"
_MOST_CELL_BYTES = 250  # libphonenumber's limit, in characters

# Answers beside those of the tables, for digits without `+`:
_NO_REGION, _BAD_REGION = -20, -21
_LEFT_OPEN = (NumberVerdict.ASK, NumberVerdict.ABROAD, NumberVerdict.NO_CODE, NumberVerdict.UNBUILT)


def normalize(
    raw: pl.Series,
    *,
    default_region: str | None,
    regions: pl.Series | None = None,
    passthrough: frozenset[str] = frozenset(),
    short_codes: bool = False,
    careful: bool = True,
) -> pl.DataFrame:
    """Columns `to`, `region`, `number_type`, `reason`, `detail`, `repair` (all String), a row a cell.

    A good row has `to` (E.164 or a short code), `number_type` and, where the number has one, `region`; and where
    a spreadsheet's change was undone, in `repair` what was done. Any other has a `reason` (`missing_data` for a blank
    cell, else `invalid_number`) and in `detail` what was seen and what to write.

    `regions` holds each row's own country, as `countries.regions_of` understands it; where it is blank
    `default_region` (two letters) counts. One that names no region, or several, holds the row, unless its number
    begins with `+` and so needs none.

    `passthrough` are recipients that the provider takes as they stand (`988`); a `+` before one is dropped,
    so that both spellings are one recipient. With `short_codes`, a cell of exactly 5 or 6 digits without a
    leading zero that is no valid number of its region is a short code. (There are shorter and longer ones,
    but 3, 4, 7 and 8 digits are more often a local number without its area code.) `careful=False` switches
    `caution` off, and with it the repairs.
    """
    rows = raw.len()
    meant, counted = _countries(regions, default_region, rows)
    starts = range(0, max(rows, 1), _BLOCK_ROWS)
    rules = _ReadingRules(
        passthrough,
        short_codes=short_codes,
        careful=careful,
        tables=frozenset(name for name, n in counted.items() if name and n >= _REGION_FROM_ROWS and region_ok(name)),
        code_from_rows=max(1, _CODE_FROM_ROWS // len(starts)),
    )
    read = lru_cache(_REMEMBERED_CELLS)(Reader(passthrough, short_codes=short_codes, careful=careful).read)

    def block(start: int) -> pl.DataFrame:
        cells = pl.DataFrame({"raw": _text(raw.slice(start, _BLOCK_ROWS))})
        asked = pl.lit(default_region, pl.String)
        if regions is not None:
            asked = pl.coalesce(_text(regions.slice(start, _BLOCK_ROWS)).replace(meant), asked)
        return _block(cells.with_columns(asked=asked).with_row_index("row"), rules, read)

    with ThreadPoolExecutor(_BLOCKS_AT_ONCE) as pool:
        return pl.concat(pool.map(block, starts))


def _text(column: pl.Series) -> pl.Series:
    """`column` as text without blanks around it, null where nothing is left."""
    text = column.cast(pl.String).str.strip_chars()
    return text.set(text == "", None)


def _countries(
    regions: pl.Series | None, default_region: str | None, rows: int
) -> tuple[dict[str, str], dict[str | None, int]]:
    """The region that each text of `regions` means, where it is another text; and how many rows each region counts
    for. A text that names no region stands for itself."""
    meant: dict[str, str] = {}
    counted: dict[str | None, int] = {}
    if regions is None:
        return meant, {default_region: rows}
    for text, n in _text(regions).value_counts(name="n").iter_rows():
        found = countries.regions_of(text) if text is not None else ()
        region = found[0] if len(found) == 1 else text
        if text is not None and region != text:
            meant[text] = region
        counted[region or default_region] = counted.get(region or default_region, 0) + n
    return meant, counted


@dataclass(frozen=True, slots=True)
class _ReadingRules:
    """The options of `normalize`; the regions that the list has rows enough for; and how many rows of a block make it
    worth to build a country code's table."""

    passthrough: frozenset[str]
    short_codes: bool
    careful: bool
    tables: frozenset[str]
    code_from_rows: int


def _block(
    cells: pl.DataFrame, rules: _ReadingRules, read: Callable[[str | None, str | None], Reading]
) -> pl.DataFrame:
    """The result for some rows (`row`, `raw`, `asked`)."""
    answers = _answered(cells, rules)
    if rules.careful:
        answers = _without_tails(answers, rules)
    held = _held(answers, rules)
    left_open = answers["answer"].is_in(_LEFT_OPEN) & answers["raw"].is_not_null()
    unsure = answers["row"].is_in(held.filter(pl.col("detail").is_null())["row"].implode())  # of the hint
    asked = answers.filter(left_open | unsure).select("row", "raw", "asked")
    others = pl.concat([_blank(answers), held.filter(pl.col("detail").is_not_null()), _read(asked, read)])
    return _assembled(answers, others)


def _answered(cells: pl.DataFrame, rules: _ReadingRules) -> pl.DataFrame:
    """`cells` (`row`, `raw`, `asked`) with `plus`, `size` (digits), `key` (null: no ordinary cell), and what
    `_looked_up` finds."""
    raw, digits = pl.col("raw"), pl.col("digits")
    frame = cells.with_columns(
        digits=raw.str.replace_many(_SEPARATORS, [""] * len(_SEPARATORS)),
        plus=raw.str.contains("+", literal=True),
        leads=raw.str.contains(_LEADING_PLUS),
        suspect=raw.str.contains(_SUSPECT) if rules.careful else pl.lit(value=False),
    ).with_columns(size=digits.str.len_bytes())
    ordinary = (
        pl.col("size").is_between(MIN_DIGITS, MAX_DIGITS)
        & (pl.col("plus") == pl.col("leads"))
        & ~pl.col("suspect")
        & (raw.str.len_bytes() <= _MOST_CELL_BYTES)
    )
    if rules.careful and bool((frame["size"] >= 2 * LOCAL_DIGITS).any()):
        ordinary &= (pl.col("size") < 2 * LOCAL_DIGITS) | raw.str.contains(_ONE_LONG_NUMBER)
    if any(len(one) >= MIN_DIGITS for one in rules.passthrough):
        ordinary &= ~raw.str.strip_prefix("+").is_in(list(rules.passthrough))
    frame = frame.with_columns(
        key=pl.when(ordinary).then(pl.concat_str(pl.lit("1"), digits)).cast(pl.Int64, strict=False)
    ).drop("digits", "leads", "suspect")
    frame = frame.with_columns(_looked_up(frame, rules))
    if rules.short_codes:
        bare = pl.col("size").is_in([5, 6]) & (raw.str.len_bytes() == pl.col("size")) & (pl.col("answer") < 0)
        frame = frame.with_columns(answer=pl.when(bare).then(pl.lit(NumberVerdict.ASK, pl.Int16)).otherwise("answer"))
    return frame


def _looked_up(frame: pl.DataFrame, rules: _ReadingRules) -> list[pl.Series]:
    """For each row of `frame` `answer` (Int16), `number` (Int64: E.164's digits, or of a fault the country code) and
    `elsewhere` (whether the digits name their country)."""
    answers = pl.repeat(NumberVerdict.ASK, frame.height, dtype=pl.Int16, eager=True).alias("answer")
    numbers = pl.repeat(0, frame.height, dtype=pl.Int64, eager=True).alias("number")
    elsewhere = frame["plus"].alias("elsewhere")
    ordinary = frame["key"].is_not_null()
    abroad = []
    for region, rows in _by_region(frame, ordinary & ~elsewhere):
        if region is None:
            answers.scatter(rows, _NO_REGION)
        elif not region_ok(region):
            answers.scatter(rows, _BAD_REGION)
        elif region in rules.tables:
            found, values = region_table(region).read(frame["key"].gather(rows), careful=rules.careful)
            answers.scatter(rows, found)
            numbers.scatter(rows, values)
            if (went := found == NumberVerdict.ABROAD).any():
                abroad.append((phonenumbers.country_code_for_region(region), rows.filter(went), values.filter(went)))
    with_plus = (ordinary & elsewhere).arg_true()
    found, values = INTERNATIONAL.read(frame["key"].gather(with_plus), from_rows=rules.code_from_rows)
    answers.scatter(with_plus, found)
    numbers.scatter(with_plus, values)
    for own_code, rows, keys in abroad:
        found, values = INTERNATIONAL.read(keys, from_rows=rules.code_from_rows)
        answers.scatter(rows, found.set((found < 0) & (values == own_code), NumberVerdict.ASK))
        numbers.scatter(rows, values)
        elsewhere = elsewhere.scatter(rows, values=True)
    return [answers, numbers, elsewhere]


def _by_region(frame: pl.DataFrame, national: pl.Series) -> Iterator[tuple[str | None, pl.Series]]:
    """The row positions of each region that is asked for; of all texts that name none together, under one of them."""
    wanted = frame.select(at=pl.int_range(pl.len(), dtype=pl.UInt32), asked="asked").filter(national)
    regions = wanted["asked"].unique().to_list()
    if len(regions) == 1:
        yield regions[0], wanted["at"]
        return
    strange = [one for one in regions if one is not None and not region_ok(one)]
    if len(strange) > 1:
        wanted = wanted.with_columns(
            asked=pl.when(pl.col("asked").is_in(strange)).then(pl.lit(strange[0])).otherwise("asked")
        )
    for part in wanted.partition_by("asked"):
        yield part["asked"][0], part["at"]


def _without_tails(answers: pl.DataFrame, rules: _ReadingRules) -> pl.DataFrame:
    """`answers` with `repair`: a column of floats (`2025550100.0`) is common enough not to go cell by cell.

    Only where the digits before the point are a valid number and all digits together are none."""
    answers = answers.with_columns(repair=pl.lit(None, pl.String))
    cells = answers.filter(pl.col("key").is_null() & pl.col("raw").str.contains(_WITH_TAIL)).select(
        "row", "raw", "asked"
    )
    if not cells.height:
        return answers
    cut = cells.with_columns(pl.col("raw").str.replace(r"[.,]0+$", ""))
    meant = _answered(cut, replace(rules, short_codes=False))
    whole = cells.with_columns(pl.col("raw").str.replace(",", ".", literal=True))
    other = _answered(whole, replace(rules, short_codes=False, careful=False))
    sure = (meant["answer"] >= 0) & (meant["size"] <= EXACT_DIGITS) & _is_fault(other["answer"])
    mended = meant.filter(sure).select("row", "answer", "number", repair=pl.lit(TAIL_REPAIR))
    return answers.update(mended, on="row", how="left", maintain_order="left")


def _is_fault(answer: pl.Series) -> pl.Series:
    return (answer < 0) & ~answer.is_in(_LEFT_OPEN)


def _held(answers: pl.DataFrame, rules: _ReadingRules) -> pl.DataFrame:
    """The rows that a table found a fault in, as rows of the result. Where the hint is left open, no `detail`."""
    faulty = answers.filter(_is_fault(answers["answer"]))
    hints, numbers = INTERNATIONAL.read(faulty["key"], from_rows=rules.code_from_rows)
    faulty = faulty.with_columns(
        hint=hints.set(faulty["plus"], NumberVerdict.NO_CODE),
        meant=numbers,
        place=pl.when("elsewhere").then(pl.format("+{}", "number")).otherwise("asked"),
    )
    sentences = {int(fault): sentence for fault, sentence in FAULT_SENTENCES.items()}
    sentences[_NO_REGION] = NO_REGION
    strange = faulty.filter(pl.col("answer") == _BAD_REGION)["asked"].unique().to_list()
    before, after = HINT.split("{number}")
    predicate = (
        pl.when(pl.col("answer") == _BAD_REGION)
        .then(
            pl.col("asked").replace_strict(
                strange, [bad_region(one) for one in strange], default=None, return_dtype=pl.String
            )
        )
        .otherwise(
            pl.col("answer")
            .replace_strict(sentences, default=None, return_dtype=pl.String)
            .str.replace("{place}", pl.col("place").fill_null(""), literal=True)
        )
    )
    hint = (
        pl.when(pl.col("hint") >= 0)
        .then(pl.concat_str(pl.lit(f"{before}+"), pl.col("meant").cast(pl.String), pl.lit(after)))
        .when(pl.col("hint").is_in([NumberVerdict.ASK, NumberVerdict.UNBUILT]).not_())
        .then(pl.lit(""))
    )
    return faulty.select(
        "row",
        *[pl.lit(None, pl.String).alias(name) for name in ("to", "region", "number_type")],
        reason=pl.lit(SkipReason.INVALID_NUMBER.value),
        detail=pl.concat_str(_shown("raw"), pl.lit(" "), predicate, hint),
        repair=pl.lit(None, pl.String),
    )


def _shown(name: str) -> pl.Expr:
    text = pl.col(name).fill_null("")
    cut = pl.when(text.str.len_chars() > SHOWN_CHARS).then(text.str.slice(0, SHOWN_CHARS) + "…").otherwise(text)
    return pl.concat_str(pl.lit("`"), cut, pl.lit("`"))


def _blank(answers: pl.DataFrame) -> pl.DataFrame:
    reading = Reader(frozenset(), short_codes=False, careful=False).read(None, None)
    return answers.filter(pl.col("raw").is_null()).select(
        "row", *[pl.lit(value, pl.String).alias(name) for name, value in reading._asdict().items()]
    )


def _read(cells: pl.DataFrame, read: Callable[[str | None, str | None], Reading]) -> pl.DataFrame:
    """The rows (`row`, `raw`, `asked`) as the reader of cells has them, each different cell once."""
    distinct = cells.select("raw", "asked").unique(maintain_order=True)
    readings = [read(cell, region) for cell, region in distinct.iter_rows()]
    answers = distinct.hstack(pl.DataFrame(readings, schema=_COLUMNS, orient="row"))
    return cells.join(answers, on=["raw", "asked"], nulls_equal=True).drop("raw", "asked")


def _assembled(answers: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """The result: the valid rows from the tables' answers, and the `others`."""
    known = meanings()
    at = answers["answer"].set(answers["answer"] < 0, None)
    nothing = pl.lit(None, pl.String)
    frame = answers.select(
        "row",
        to=pl.when(pl.col("answer") >= 0).then(pl.concat_str(pl.lit("+"), pl.col("number").cast(pl.String))),
        region=known["region"].gather(at),
        number_type=known["number_type"].gather(at),
        reason=nothing,
        detail=nothing,
        repair="repair" if "repair" in answers.columns else nothing,
    )
    if others.height:
        frame = frame.join(others, on="row", how="left", maintain_order="left", suffix="_other").select(
            pl.coalesce(name, f"{name}_other") for name in _COLUMNS
        )
    return frame.select(*_COLUMNS)
