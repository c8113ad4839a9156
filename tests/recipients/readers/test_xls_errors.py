"""Errors in XLS workbooks: they are known, hold the texts that use them, and a damaged file has none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sender
from sender.recipients.readers.xls_errors import read_xls_facts
from tests.profiles import examples

DATA = (Path(__file__).parents[2] / "samples" / "lists" / "xlwt.xls").read_bytes()


def test_an_error_holds_the_text_that_uses_it_in_spite_of_a_default(tmp_path):
    (tmp_path / "people.xls").write_bytes(DATA)
    plan = sender.build_plan(
        sender.load_campaign(
            {"name": "n", "provider": "sandbox", "from": "+12025550100"},
            recipients={"file": str(tmp_path / "people.xls"), "default_region": "US"},
            message="{{ bonus | default('no') }} bonus",
        )
    )
    held = plan.skipped.select("row_number", "reason", "detail").rows()
    assert (4, "missing_data", "the cell `Bonus` is an error in the workbook: #N/A") in held
    assert plan.messages.height == plan.frame.height - len(held) > 0


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(DATA[:600], id="cut off"),
        pytest.param(DATA[:512] + bytes(len(DATA) - 512), id="no sectors"),
        pytest.param(DATA[:76] + bytes(436) + DATA[512:], id="a table that names itself"),
        pytest.param(DATA[:30] + b"\xff\xff" + DATA[32:], id="sectors without an end"),
    ],
)
def test_what_cannot_be_followed_has_no_errors(data):
    assert read_xls_facts(data, "People").broken.is_empty()


def test_another_sheet_has_none():
    assert read_xls_facts(DATA, "no such sheet").broken.is_empty()


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(DATA) - 1), st.integers(0, 255)), max_size=20))
def test_a_damaged_file_never_raises(changes):
    data = bytearray(DATA)
    for at, value in changes:
        data[at] = value
    read_xls_facts(bytes(data), "People")
