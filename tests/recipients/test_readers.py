"""Reading a block at a time: whatever the size of the blocks, the same rows, the same lines in errors, the same plan."""

from __future__ import annotations

import csv
import gc
import gzip
import io
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import polars as pl
import pytest
from backports import zstd
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from sender import build_plan, load_campaign
from sender.core import frame_buffer
from sender.core.errors import InputError, RecipientsError
from sender.core.frame_buffer import SpillingFrames
from sender.plan.hashes import ContentHash
from sender.plan.stored_rows import StoredRows, gather
from sender.recipients import readers
from sender.recipients.columns import load_recipients
from sender.recipients.headers import header_key
from sender.recipients.readers import cells, delimited, documents, source, table, workbooks
from tests.profiles import examples

A = "+12025550101"


@contextmanager
def blocks_of(size: int, *, memory: int = frame_buffer.MEMORY_BYTES) -> Iterator[None]:
    """Reads `size` characters, bytes and rows at a time."""
    with ExitStack() as stack:
        for module, name in [
            (delimited, "BLOCK_CHARS"),
            (delimited, "_SAMPLE_CHARS"),
            (documents, "_BLOCK_CHARS"),
            (workbooks, "BLOCK_ROWS"),
            (cells, "BLOCK_ROWS"),
            (table, "BLOCK_ROWS"),
            (source, "READ_BYTES"),
            (source, "HEAD_BYTES"),
        ]:
            least = {"HEAD_BYTES": 16, "_SAMPLE_CHARS": 32}.get(name, 1)  # a header line, with its end, at least
            stack.enter_context(mock.patch.object(module, name, max(size, least)))
        stack.enter_context(mock.patch.object(frame_buffer, "MEMORY_BYTES", memory))
        yield


def read(data: bytes, where: str = "x.csv", **options: str) -> tuple | str:
    """The rows with their numbers and headers, or the sentence of the refusal."""
    try:
        found = readers.read_table(data, where=where, **options)
        return found.headers, found.row_numbers.to_list(), found.cells.rows(), found.blank_rows, found.notes
    except RecipientsError as error:
        return str(error)


CELL = st.text(st.sampled_from('ab1é名 ,;"\n\r\t|\x02\u2028\u0085'), max_size=6)
GRID = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=1, max_size=8)
)


@settings(max_examples=examples(150))
@given(
    GRID,
    st.sampled_from(readers.SEPARATORS),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "gb18030"]),
    st.sampled_from([bytes, gzip.compress, zstd.compress]),
    st.integers(1, 40),
)
@example([["a", "b"], ["", "x"], ["", ""]], ",", "\n", False, "utf-8", bytes, 7)
def test_what_csv_wrote_is_read_back(grid, separator, line_end, everything_quoted, encoding, pack, size):
    """Whatever Python's csv writes comes back cell for cell with the rows' true numbers, in blocks of any size."""
    if line_end == "\r" or not everything_quoted:
        # csv writes a lone CR without quotes, where it reads as a line end; and a file of old Macs has no other.
        grid = [[cell.replace("\r", "").replace("\n", "") for cell in row] for row in grid]
    grid = [["phone", *(f"h{index}" for index in range(1, len(grid[0])))], *grid]
    buffer = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if everything_quoted else csv.QUOTE_MINIMAL
    csv.writer(buffer, delimiter=separator, lineterminator=line_end, quoting=quoting).writerows(grid)
    expected = [(number, tuple(row)) for number, row in enumerate(grid[1:], 2) if any(map(str.strip, row))]
    told = encoding if encoding in ("utf-16-le", "gb18030") else None
    with blocks_of(size):
        found = readers.read_table(
            pack(buffer.getvalue().encode(encoding)), where="x.csv", separator=separator, encoding=told
        )
    assert list(zip(found.row_numbers, found.cells.rows(), strict=True)) == expected
    assert found.blank_rows == len(grid) - 1 - len(expected)


TEXT = st.text(st.sampled_from('abé,,;""\n\n\n\r\x02 '), max_size=60)


@settings(max_examples=examples(200))
@given(TEXT, st.integers(1, 30))
@example('phone,a\n1,"x\ny"\n2,b\n3,"c\n', 9)
@example('a,5" x\nb,6" y\nc,d\n', 6)
@example("a\r\nb\r\nc", 2)
@example(";\n,,", 1)  # a long last row without its line end makes up for a short one
def test_blocks_of_any_size_give_the_same(text, size):
    """Any text whatever: the same rows, or the same refusal with the same line."""
    data = ("phone,b\n" + text).encode()
    whole = read(data, separator=",")
    with blocks_of(size):
        assert read(data, separator=",") == whole


@given(st.binary(max_size=60), st.integers(1, 20))
def test_undecodable_bytes_are_told_with_their_line_in_blocks_of_any_size(data, size):
    data = b"phone,b\n" + data.replace(b"\0", b"")
    whole = read(data, separator=",")
    with blocks_of(size):
        assert read(data, separator=",") == whole


LINES = st.lists(
    st.dictionaries(st.sampled_from(["phone", "a", "b", "名"]), st.sampled_from(["", "x", "1", " "]), max_size=3),
    min_size=1,
    max_size=9,
)


@given(LINES, st.integers(1, 60))
def test_json_lines_in_blocks_of_any_size(items, size):
    """A header that is first seen late is blank in the rows above it."""
    import json

    data = "\n".join(json.dumps(item, ensure_ascii=False) for item in items).encode()
    whole = read(data, "x.jsonl")
    with blocks_of(size):
        assert read(data, "x.jsonl") == whole


WORD = st.sampled_from(
    ["015123456712", "+12025550101", "1e5", "0x1F", "NO", "yes", "1_000", "12:30:45", "2024-01-15", ".5", "007", "1.50",
     "12345678901234567890", "0b11", "0o17", "+.inf", ".nan", "=", "<<", "y", "Zoë"]
)  # fmt: skip


@given(st.lists(st.tuples(WORD, st.sampled_from(["{}", '"{}"', "'{}'"])), min_size=1, max_size=5))
def test_yaml_scalars_stay_as_they_are_written(words):
    """What YAML would take for numbers, dates and truth values is the text that stands there, in quotes or not."""
    text = "- phone: 1\n" + "".join(f"  h{i}: {form.format(word)}\n" for i, (word, form) in enumerate(words))
    found = readers.read_table(text.encode(), where="x.yaml")
    assert found.cells.row(0)[1:] == tuple(word for word, _ in words)


HEADER = st.sampled_from(
    ["phone", "Phone", "PHONE NUMBER", "phone_number", "Phone-Number", "mobile", "Mobile\nNumber", " Cell  Phone ", "msisdn",
     "to", "TO", "tel", "name", "First Name", "text", "phone2", "phones", "电话", "телефон", "Ｐｈｏｎｅ", "ﬁrst", "numbers", "e-mail"]
)  # fmt: skip


NO_NUMBER = {"name", "first name", "text", "ﬁrst".casefold(), "e-mail"}


@settings(max_examples=examples(150))
@given(st.lists(HEADER, min_size=1, max_size=5))
def test_the_number_is_found_as_the_design_says(headers):
    """Against a plain reading of the rule: one header of a number is it; none or several are an error with what was
    seen."""
    written = readers.read_table(_csv([headers, ["+12025550101"] * len(headers)]), where="x.csv").headers
    wanted = [
        shown for header, shown in zip(headers, written, strict=True) if header.strip(" _-").casefold() not in NO_NUMBER
    ]
    campaign = load_campaign(
        name="t", provider="sandbox", message="Hi", from_=A, recipients=[dict.fromkeys(written, A)]
    )
    if len(wanted) == 1:
        assert load_recipients(campaign).phones == (wanted[0],)
        return
    with pytest.raises(RecipientsError) as caught:
        load_recipients(campaign)
    for header in wanted or written:
        assert f"`{header}`" in str(caught.value)
    assert "recipients.phone_column" in str(caught.value)


@given(st.text(st.characters(codec="utf-8"), max_size=12))
def test_headers_are_compared_without_case_blanks_and_dashes(header):
    assume(not re.search(r" \(\d+\)$", header))
    plain = "".join(one for one in header if not one.isspace() and one not in "_-").casefold()
    assert header_key(header) == plain


def _csv(grid: list[list[str]]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(grid)
    return buffer.getvalue().encode()


ROWS = [
    ["(202) 555-0101", "Ada’s", "US"],
    ["202-555-0102", "Grace", ""],
    ["2025550103.0", "Zo\ufffd", ""],
    ["", "", ""],
    ["12", "x", ""],
    ["202 555 0101", "Again", ""],
    ["+44 7700 900123", "Émile “x” … " + "é" * 70, "GB"],
    ["202-555-0104", "^" * 90, ""],
    ["202-555-0105", "Stopped", ""],
    ["202-555-0106", "", "XX"],
    ["202-555-0102", "Last", ""],
    ["202-555-0107", "Beyond", ""],
]
CAMPAIGNS = [
    pytest.param({}, {}, id="plain"),
    pytest.param({"dedupe": "last"}, {}, id="the last stays"),
    pytest.param({"dedupe": "none"}, {"limit": 4}, id="limit"),
    pytest.param({"message": {"body": "Hi {{ name }}", "smart_encoding": True}}, {}, id="smart encoding"),
    pytest.param({"prices": "prices.yaml"}, {"test_to": "+12025550199"}, id="prices, to a test number"),
    pytest.param({"recipients": {"skip_types": ["mobile"]}}, {}, id="types left out"),
]


@pytest.mark.parametrize(("keys", "options"), CAMPAIGNS)
@pytest.mark.parametrize(
    "memory",
    [
        pytest.param(frame_buffer.MEMORY_BYTES, marks=pytest.mark.long, id="in memory"),
        pytest.param(0, id="put aside in files"),
    ],
)
def test_the_plan_is_the_same_whatever_the_blocks(tmp_path, keys, options, memory):
    (tmp_path / "p.csv").write_bytes(_csv([["Phone", "Name", "Country"], *ROWS]))
    (tmp_path / "stop.csv").write_text("+12025550105\nnobody\n")
    (tmp_path / "prices.yaml").write_text(
        "currency: USD\nprices:\n  - {to: US, sms: 0.0083, sms_fee: 0.0032}\n  - {to: GB, sms: 0.04}\n"
    )
    spec = {"file": "p.csv", "default_region": "US", **keys.get("recipients", {})}
    given_keys = {
        "message": "Hi {{ name }}",
        "suppress": {"file": "stop.csv", "unreadable": 1},
        **keys,
        "recipients": spec,
    }

    def plan():
        campaign = load_campaign(name="t", provider="sandbox", from_="+12025550100", base=tmp_path, **given_keys)
        return build_plan(campaign, **options)

    whole = plan()
    for size in (1, 90):
        with blocks_of(size, memory=memory):
            made = plan()
            assert made.manifest == whole.manifest
            assert made.frame.equals(whole.frame)
            written = made.write(tmp_path / f"plan-{size}")
        assert written.frame.equals(whole.frame)
        assert made.scan().collect().equals(whole.frame), "writing it takes nothing from it"


def test_a_spool_puts_aside_what_is_much_and_leaves_nothing_behind(tmp_path):
    with (
        mock.patch.object(frame_buffer.tempfile, "tempdir", str(tmp_path)),
        mock.patch.object(frame_buffer, "MEMORY_BYTES", 100),
    ):
        frames = [
            pl.DataFrame({"a": ["x" * 20] * 3, "b": ["y"] * 3}),
            pl.DataFrame({"a": ["z"]}),
            pl.DataFrame({"b": [""]}),
        ]
        kept = SpillingFrames(*frames)
        assert len(list(tmp_path.rglob("*.arrow"))) == 3
        assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())
        assert [one.to_dict(as_series=False) for one in kept.frames()] == [
            one.to_dict(as_series=False) for one in frames
        ]
        assert [one.columns for one in kept.frames(["b"])] == [["b"], [], ["b"]]
        assert kept.rows == 5
        del kept
        gc.collect()
        assert list(tmp_path.iterdir()) == []


def test_no_room_for_temporary_files_is_told(tmp_path):
    with (
        mock.patch.object(frame_buffer.tempfile, "tempdir", str(tmp_path / "none")),
        mock.patch.object(frame_buffer, "MEMORY_BYTES", 0),
        pytest.raises(InputError, match=r"(?s)temporary files.*TMPDIR"),
    ):
        SpillingFrames(pl.DataFrame({"a": ["x"]}))


BLOCK = (pl.DataFrame({"seq": [1], "body": ["x"]}), pl.DataFrame({"seq": [1], "body": ["x"]}))


def unseen(rows: pl.DataFrame, hashed: pl.DataFrame) -> None:
    """Looks at a block and learns nothing."""


def test_what_goes_wrong_in_a_later_block_is_told_and_leaves_nothing_behind(tmp_path):
    def failing():
        yield BLOCK
        yield BLOCK
        raise KeyError("late")

    with mock.patch.object(frame_buffer.tempfile, "tempdir", str(tmp_path)):
        with pytest.raises(KeyError, match="late"):
            gather(failing(), unseen)
        gc.collect()
        assert list(tmp_path.iterdir()) == []
    assert "plan-rows" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize("blocks", [1, 5])
def test_what_goes_wrong_while_looking_at_a_block_is_raised_as_it_is(blocks):
    def failing(*_: pl.DataFrame) -> None:
        raise InputError("no room for what was learned")

    with pytest.raises(InputError, match="no room for what was learned"):
        gather(iter([BLOCK] * blocks), failing)


HASHED = pl.DataFrame(
    {
        "seq": [0, None, 1, 2],
        "to": ["+12025550101", None, "+12025550102", "+12025550103"],
        "from_number": ["+12025550100", None, None, ""],
        "body": ["x", None, "", '"a",\n1'],
        "media": [["u", "v"], [], ['"'], ["u,v"]],
        "fields": [None, None, '{"subject":"é"}', None],
        "detail": [None, "why", None, None],
        "recipient": [
            {"Phone": "1", "n.b": ""},
            {"Phone": "2", "n.b": "c"},
            {"Phone": "", "n.b": "é"},
            {"Phone": ",", "n.b": '"'},
        ],
        "cost_micros": [1, 2, 3, 4],
    },
    schema_overrides={"seq": pl.UInt32},
)


def hash_of(*frames: pl.DataFrame) -> str:
    digest = ContentHash({"provider": "sandbox"}, {})
    for frame in frames:
        digest.update(frame)
    return digest.hexdigest()


@pytest.mark.parametrize("at", range(HASHED.height + 1))
def test_the_hash_is_the_same_whatever_blocks_the_rows_come_in(at):
    assert hash_of(HASHED[:at], HASHED[at:]) == hash_of(HASHED)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(HASHED[::-1], id="order"),
        pytest.param(HASHED[:3], id="a row less"),
        pytest.param(HASHED.rename({"detail": "text"}), id="a column's name"),
        pytest.param(HASHED.with_columns(body=pl.col("body").fill_null("")), id="blank and none"),
        pytest.param(HASHED.with_columns(seq=pl.col("seq").fill_null(0)), id="a number"),
        pytest.param(HASHED.with_columns(media=pl.lit(["u", "v"])), id="a list"),
        pytest.param(HASHED.with_columns(media=pl.col("media").list.join(",").str.split(",")), id="a list's parts"),
        pytest.param(
            HASHED.with_columns(pl.col("recipient").struct.with_fields(pl.lit("3").alias("Phone"))), id="cell"
        ),
    ],
)
def test_the_hash_tells_plans_apart(other):
    assert hash_of(other) != hash_of(HASHED)


def test_prices_are_not_in_the_hash():
    assert hash_of(HASHED.with_columns(cost_micros=pl.lit(None, pl.Int64))) == hash_of(HASHED)


def test_rows_that_cannot_be_stored_are_told(tmp_path):
    def nowhere(self: StoredRows) -> None:
        self.path = tmp_path / "none" / "plan.parquet"

    with mock.patch.object(StoredRows, "__init__", nowhere), pytest.raises(InputError, match="temporary files"):
        gather(iter([BLOCK] * 50), unseen)


def test_a_file_is_hashed_as_it_stands(tmp_path):
    import hashlib

    data = gzip.compress(_csv([["phone"], ["+12025550101"]] * 50))
    (tmp_path / "p.csv.gz").write_bytes(data)
    campaign = load_campaign(name="t", provider="sandbox", recipients="p.csv.gz", base=tmp_path)
    assert load_recipients(campaign).inputs[0].sha256 == hashlib.sha256(data).hexdigest()
