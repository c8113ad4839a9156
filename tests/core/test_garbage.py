"""When the interpreter looks for garbage."""

from __future__ import annotations

import gc

import pytest

from sender.core.garbage import without_collecting


def test_garbage_is_looked_for_afterwards() -> None:
    assert gc.isenabled()
    with without_collecting():
        assert not gc.isenabled()
        with without_collecting():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_garbage_is_looked_for_after_a_failure() -> None:
    with pytest.raises(OSError, match="gone"), without_collecting():
        raise OSError("gone")
    assert gc.isenabled()


def test_who_looks_for_none_keeps_it_so() -> None:
    gc.disable()
    try:
        with without_collecting():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
