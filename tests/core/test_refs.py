"""A ref names a run and a message of it, and nothing else does."""

from __future__ import annotations

import pytest

from sender.core.refs import make_ref, read_ref

RUN = "20261128-193706-8cec6df4"


@pytest.mark.parametrize("seq", [0, 7, 99_999_999_999])
def test_a_ref_reads_as_what_it_was_made_of(seq: int) -> None:
    assert read_ref(make_ref(RUN, seq)) == (RUN, seq)


@pytest.mark.parametrize(
    "text", [None, "", RUN, ".7", f"{RUN}.", f"{RUN}.-1", f"{RUN}.x", f"{RUN}.٣", f"{RUN}.100000000000"]
)
def test_anything_else_is_no_ref(text: str | None) -> None:
    assert read_ref(text) is None
