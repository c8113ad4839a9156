"""Reads a column of raw numbers as E.164, or returns a reason why not, column-wise.

`phonenumbers` with the caution of `sender.phone.cell` decides, and reads a cell at a time. Here tables compiled from
its metadata (`sender.phone.ranges`) answer for cells of digits, ordinary punctuation and at most one leading `+`; every
other cell, and every digit string that the tables leave open, goes to that reader, each distinct one once. Both ways
return the same row, sentence for sentence; a differential test checks it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache

import phonenumbers

from sender.core.frame_schema import FrameSchema
from sender.core.lazy_modules import pl
from sender.core.outcomes import SkipReason
from sender.phone import countries
from sender.phone.cell import (
    BARE_DATE_MINUTE,
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
from sender.phone.old_plans import AFTER, OLD_CODES, OLD_FORMS, describe_form
from sender.phone.ranges import MIN_DIGITS, international, region_table
from sender.phone.wrapped import QUOTE_REPAIR, SCHEME_REPAIR, SCHEMES

_COLUMNS = FrameSchema(dict.fromkeys(Reading._fields, "String"))
_ROWS = FrameSchema({"row": "UInt32", **dict.fromkeys(Reading._fields, "String")})
# To build a region's table takes as long as `phonenumbers` takes for some thousand numbers, a country code's: hundred.
_REGION_FROM_ROWS = 4_000
_CODE_FROM_ROWS = 100
_BLOCK_ROWS = 250_000  # bounds memory; larger ones are not faster
_BLOCKS_AT_ONCE = 2  # most of a block runs step by step, each in a single thread of polars
_REMEMBERED_CELLS = 50_000  # from block to block

# Punctuation that libphonenumber ignores; the dashes and the no-break space come from word processors.
_SEPARATORS = [*" -.()[]/", "\u00a0", *map(chr, range(0x2010, 0x2016)), "\u2212", "+"]
_LEADING_PLUS = r"^[ (]*\+[^+]*$"
_QUOTE = r"[\x{22}\x{2018}\x{2019}\x{201c}\x{201d}]"
_INSIDE = r"([+0-9(][0-9 .()-]*)"
_WRAPPED = (
    *((rf"(?i)^{scheme}:{_INSIDE}$", SCHEME_REPAIR.format(scheme)) for scheme in SCHEMES),
    (rf"^{_QUOTE}+{_INSIDE}{_QUOTE}*$", QUOTE_REPAIR),
)
_WITH_TAIL = r"^\+?[0-9]+[.,]0+$"
_SUSPECT = (  # at least what `caution` holds of such cells, except two numbers
    r"^[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}(?:[ T\x{a0}]|$)|^[0-9]{1,2}[-/.][0-9]{1,2}[-/.](?:19|20)[0-9]{2}$"
    r"|^\+?[0-9]+\.0+$"
    rf"|^{BARE_DATE_MINUTE}(?:[0-5][0-9])?$"
)
_ONE_LONG_NUMBER = r"^(?:\+|00|011)[0-9 +.()\[\]-]*$|^[0-9]+$"
_MOST_CELL_BYTES = 250  # libphonenumber's limit, in characters

# Answers in addition to those of the tables, for digits without `+`:
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
    """Return columns `to`, `region`, `number_type`, `reason`, `detail`, `repair` (all String), a row for each cell.

    A valid row has `to` (E.164 or a short code), `number_type` and, where the number has one, `region`; where a
    spreadsheet's change was undone, `repair` says which. Any other row has a `reason` (`missing_data` for a blank cell,
    else `invalid_number`), and `detail` says what the cell holds and what to write.

    `regions` holds each row's own country, as `countries.regions_of` understands it; where it is blank,
    `default_region` (two letters) applies. A text that does not name a single region holds the row, unless its number
    begins with `+`.

    `passthrough` are recipients that the provider takes unchanged (`988`); a `+` before one is dropped, so that both
    spellings are the same recipient. With `short_codes`, a cell of exactly 5 or 6 digits without a leading zero that is
    not a valid number of its region is a short code. (There are shorter and longer ones, but 3, 4, 7 and 8 digits are
    more often a local number without its area code.) `careful=False` turns off `caution` and the repairs.
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

    if len(starts) == 1:
        return block(0)
    with ThreadPoolExecutor(_BLOCKS_AT_ONCE) as pool:
        return pl.concat(pool.map(block, starts))


def _text(column: pl.Series) -> pl.Series:
    """Return `column` as text without surrounding blanks, null where nothing is left."""
    text = column.cast(pl.String).str.strip_chars()
    return text.set(text == "", None)


def _countries(
    regions: pl.Series | None, default_region: str | None, rows: int
) -> tuple[dict[str, str], dict[str | None, int]]:
    """Return the region that each text of `regions` means, where that is another text, and the number of rows of each
    region. A text that does not name a region is kept."""
    meant: dict[str, str] = {}
    counted: dict[str | None, int] = {}
    if regions is None:
        return meant, {default_region: rows}
    for text, n in _text(regions).value_counts(name="n").iter_rows():
        candidates = countries.regions_of(text) if text is not None else ()
        region = candidates[0] if len(candidates) == 1 else text
        if text is not None and region != text:
            meant[text] = region
        counted[region or default_region] = counted.get(region or default_region, 0) + n
    return meant, counted


@dataclass(frozen=True, slots=True)
class _ReadingRules:
    """The options of `normalize`; the regions with rows enough for a table; and from how many rows of a block on a
    country code's table is built."""

    passthrough: frozenset[str]
    short_codes: bool
    careful: bool
    tables: frozenset[str]
    code_from_rows: int


def _block(
    cells: pl.DataFrame, rules: _ReadingRules, read: Callable[[str | None, str | None], Reading]
) -> pl.DataFrame:
    """Return the result for some rows (`row`, `raw`, `asked`)."""
    answers = _answer(cells, rules)
    if rules.careful and answers["key"].null_count() > answers["raw"].null_count():
        answers = _repair_wrapped(_repair_tails(answers, rules), rules)
    held = _held(answers, rules)
    left_open = answers["answer"].is_in(_LEFT_OPEN) & answers["raw"].is_not_null()
    if held["detail"].null_count():  # whether there is a hint
        left_open |= answers["row"].is_in(held.filter(pl.col("detail").is_null())["row"].implode())
        held = held.filter(pl.col("detail").is_not_null())
    asked = answers.filter(left_open).select("row", "raw", "asked") if left_open.any() else answers.clear()
    return _assemble(answers, pl.concat([_blank(answers), held, _read_cells(asked, read)]))


def _answer(cells: pl.DataFrame, rules: _ReadingRules) -> pl.DataFrame:
    """Return `cells` (`row`, `raw`, `asked`) with `plus`, `size` (digits), `key` (null: not an ordinary cell), and the
    columns of `_look_up`."""
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
    if any(len(number) >= MIN_DIGITS for number in rules.passthrough):
        ordinary &= ~raw.str.strip_prefix("+").is_in(list(rules.passthrough))
    frame = frame.with_columns(
        key=pl.when(ordinary).then(pl.concat_str(pl.lit("1"), digits)).cast(pl.Int64, strict=False)
    ).drop("digits", "leads", "suspect")
    frame = frame.with_columns(_look_up(frame, rules))
    if rules.short_codes:
        bare = pl.col("size").is_in([5, 6]) & (raw.str.len_bytes() == pl.col("size")) & (pl.col("answer") < 0)
        frame = frame.with_columns(answer=pl.when(bare).then(pl.lit(NumberVerdict.ASK, pl.Int16)).otherwise("answer"))
    return frame


def _look_up(frame: pl.DataFrame, rules: _ReadingRules) -> list[pl.Series]:
    """Return for each row of `frame` `answer` (Int16), `number` (Int64: E.164's digits, or the country code of a fault)
    and `elsewhere` (whether the digits name their country)."""
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
            verdicts, values = region_table(region).read(frame["key"].gather(rows), careful=rules.careful)
            answers.scatter(rows, verdicts)
            numbers.scatter(rows, values)
            if (leaves := verdicts == NumberVerdict.ABROAD).any():
                abroad.append(
                    (phonenumbers.country_code_for_region(region), rows.filter(leaves), values.filter(leaves))
                )
    with_plus = (ordinary & elsewhere).arg_true()
    if with_plus.len():
        verdicts, values = international().read(frame["key"].gather(with_plus), from_rows=rules.code_from_rows)
        answers.scatter(with_plus, verdicts)
        numbers.scatter(with_plus, values)
    for own_code, rows, keys in abroad:
        verdicts, values = international().read(keys, from_rows=rules.code_from_rows)
        answers.scatter(rows, verdicts.set((verdicts < 0) & (values == own_code), NumberVerdict.ASK))
        numbers.scatter(rows, values)
        elsewhere = elsewhere.scatter(rows, values=True)
    return [answers, numbers, elsewhere]


def _by_region(frame: pl.DataFrame, national: pl.Series) -> Iterator[tuple[str | None, pl.Series]]:
    """Yield each region with its row positions; all texts that name no region come together, under one of them."""
    positions = frame.select(at=pl.int_range(pl.len(), dtype=pl.UInt32), asked="asked").filter(national)
    regions = positions["asked"].unique().to_list()
    if len(regions) == 1:
        yield regions[0], positions["at"]
        return
    strange = [text for text in regions if text is not None and not region_ok(text)]
    if len(strange) > 1:
        positions = positions.with_columns(
            asked=pl.when(pl.col("asked").is_in(strange)).then(pl.lit(strange[0])).otherwise("asked")
        )
    for part in positions.partition_by("asked"):
        yield part["asked"][0], part["at"]


def _repair_tails(answers: pl.DataFrame, rules: _ReadingRules) -> pl.DataFrame:
    """Return `answers` with `repair`: columns of floats (`2025550100.0`) are too common to go cell by cell.

    Only where the digits before the point are a valid number and all digits together are not."""
    answers = answers.with_columns(repair=pl.lit(None, pl.String))
    cells = answers.filter(pl.col("key").is_null() & pl.col("raw").str.contains(_WITH_TAIL)).select(
        "row", "raw", "asked"
    )
    if not cells.height:
        return answers
    cut = cells.with_columns(pl.col("raw").str.replace(r"[.,]0+$", ""))
    meant = _answer(cut, replace(rules, short_codes=False))
    whole = cells.with_columns(pl.col("raw").str.replace(",", ".", literal=True))
    other = _answer(whole, replace(rules, short_codes=False, careful=False))
    sure = (meant["answer"] >= 0) & (meant["size"] <= EXACT_DIGITS) & _is_fault(other["answer"])
    repaired = meant.filter(sure).select("row", "answer", "number", repair=pl.lit(TAIL_REPAIR))
    return answers.update(repaired, on="row", how="left", maintain_order="left")


def _repair_wrapped(answers: pl.DataFrame, rules: _ReadingRules) -> pl.DataFrame:
    """Return `answers` with what stands around a number dropped where all of a column may have it: quotes, a scheme.

    Only where what is left is a valid number; every other cell is read alone."""
    left = answers.filter(pl.col("key").is_null() & pl.col("repair").is_null() & pl.col("raw").is_not_null())
    for pattern, repair in _WRAPPED if left.height else ():
        inside = left.select("row", pl.col("raw").str.extract(pattern).str.strip_chars(), "asked")
        inside = inside.filter(pl.col("raw").is_not_null() & ~pl.col("raw").is_in(list(rules.passthrough)))
        if not inside.height:
            continue
        meant = _answer(inside, replace(rules, short_codes=False))
        repaired = meant.filter(pl.col("answer") >= 0).select("row", "answer", "number", repair=pl.lit(repair))
        answers = answers.update(repaired, on="row", how="left", maintain_order="left")
    return answers


def _is_fault(answer: pl.Series) -> pl.Series:
    return (answer < 0) & ~answer.is_in(_LEFT_OPEN)


def _held(answers: pl.DataFrame, rules: _ReadingRules) -> pl.DataFrame:
    """Return the rows in which a table found a fault, as rows of the result; no `detail` where the hint is open."""
    faulty = answers.filter(_is_fault(answers["answer"]))
    if not faulty.height:
        return pl.DataFrame(schema=_ROWS)
    hints, numbers = international().read(faulty["key"], from_rows=rules.code_from_rows)
    faulty = faulty.with_columns(
        hint=hints.set(faulty["plus"], NumberVerdict.NO_CODE),
        meant=numbers,
        place=pl.when("elsewhere").then(_place("number", faulty)).otherwise("asked"),
    )
    sentences = {int(fault): sentence for fault, sentence in FAULT_SENTENCES.items()}
    sentences[_NO_REGION] = NO_REGION
    strange = faulty.filter(pl.col("answer") == _BAD_REGION)["asked"].unique().to_list()
    before, after = HINT.split("{number}")
    predicate = (
        pl.when(pl.col("answer") == _BAD_REGION)
        .then(
            pl.col("asked").replace_strict(
                strange, [bad_region(text) for text in strange], default=None, return_dtype=pl.String
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
    held = faulty.select(
        "row",
        *[pl.lit(None, pl.String).alias(name) for name in ("to", "region", "number_type")],
        reason=pl.lit(SkipReason.INVALID_NUMBER.value),
        detail=pl.concat_str(_shown("raw"), pl.lit(" "), predicate, hint),
        repair=pl.lit(None, pl.String),
    )
    return held.with_columns(_name_changed_plans(faulty, held["detail"], rules))


def _name_changed_plans(faulty: pl.DataFrame, detail: pl.Series, rules: _ReadingRules) -> pl.Series:
    """Return `detail`, with another sentence for numbers of old numbering plans; null where the reader decides."""
    codes = {
        region: phonenumbers.country_code_for_region(region)
        for region in faulty["asked"].unique().drop_nulls()
        if region_ok(region)
    }
    national = pl.col("asked").replace_strict(codes, default=0, return_dtype=pl.Int64) if codes else pl.lit(0)
    code = pl.when("elsewhere").then("number").otherwise(national)
    candidates = faulty.select(code.is_in(list(OLD_CODES)) & pl.col("answer").is_in(list(FAULT_SENTENCES)))
    if not candidates.to_series().any():
        return detail
    with_plus = candidates.to_series() & faulty["plus"]
    detail = detail.set(candidates.to_series() & ~faulty["plus"], None)
    at = with_plus.arg_true()
    digits = faulty["key"].gather(at).cast(pl.String).str.slice(1)
    for form in OLD_FORMS:
        old = digits.str.contains(f"^(?:{form.old})$").arg_true()
        if not old.len():
            continue
        new = digits.gather(old).str.replace(f"^(?:{form.old})$", form.new)
        verdicts, _ = international().read(("1" + new).cast(pl.Int64), from_rows=rules.code_from_rows)
        sentence = pl.concat_str(_shown("raw"), pl.lit(f" {describe_form(form)}"), pl.lit(new), pl.lit(AFTER))
        said = faulty[at.gather(old)].select(
            pl.when(pl.lit(verdicts >= 0)).then(sentence).otherwise(pl.lit(detail.gather(at.gather(old))))
        )
        unknown = verdicts.is_in([NumberVerdict.ASK, NumberVerdict.UNBUILT])
        detail = detail.scatter(at.gather(old), said.to_series().set(unknown, None))
    return detail


def _place(name: str, faulty: pl.DataFrame) -> pl.Expr:
    """Return the place of the country codes in column `name`, where the digits name their country."""
    codes = faulty.filter("elsewhere")[name].unique().to_list()
    places = [countries.place_of(code) for code in codes]
    return pl.col(name).replace_strict(codes, places, default=None, return_dtype=pl.String)


def _shown(name: str) -> pl.Expr:
    text = pl.col(name).fill_null("")
    cut = pl.when(text.str.len_chars() > SHOWN_CHARS).then(text.str.slice(0, SHOWN_CHARS) + "…").otherwise(text)
    return pl.concat_str(pl.lit("`"), cut, pl.lit("`"))


def _blank(answers: pl.DataFrame) -> pl.DataFrame:
    if not answers["raw"].null_count():
        return pl.DataFrame(schema=_ROWS)
    reading = Reader(frozenset(), short_codes=False, careful=False).read(None, None)
    return answers.filter(pl.col("raw").is_null()).select(
        "row", *[pl.lit(value, pl.String).alias(name) for name, value in reading._asdict().items()]
    )


def _read_cells(cells: pl.DataFrame, read: Callable[[str | None, str | None], Reading]) -> pl.DataFrame:
    """Return the rows (`row`, `raw`, `asked`) as the reader of cells reads them, each distinct cell once."""
    if not cells.height:
        return pl.DataFrame(schema=_ROWS)
    distinct = cells.select("raw", "asked").unique(maintain_order=True)
    readings = [read(cell, region) for cell, region in distinct.iter_rows()]
    answers = distinct.hstack(pl.DataFrame(readings, schema=_COLUMNS, orient="row"))
    return cells.join(answers, on=["raw", "asked"], nulls_equal=True).drop("raw", "asked")


def _assemble(answers: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Return the result: the valid rows from the tables' answers, and the `others`."""
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
