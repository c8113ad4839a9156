"""Reading the next part while the present one is worked on."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from sender.core.read_ahead import read_ahead


class Source:
    """Parts 0, 1, 2 ... up to a failure, if it has one; knows which were asked for, and that it was closed last."""

    def __init__(self, parts: int, fails_at: int | None = None) -> None:
        self.made: list[int] = []
        self.threads: set[int] = set()
        self.changed = threading.Condition()
        self._parts, self._fails_at = parts, fails_at

    def __iter__(self) -> Iterator[int]:
        for part in range(self._parts):
            if part == self._fails_at:
                raise OSError("the disk is gone")
            with self.changed:
                self.made.append(part)
                self.threads.add(threading.get_ident())
                self.changed.notify_all()
            yield part

    def wait_for(self, part: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: part in self.made, timeout=10)


@pytest.mark.parametrize("parts", [0, 1, 5])
def test_all_parts_come_in_order(parts: int) -> None:
    assert [*read_ahead(iter(Source(parts)))] == [*range(parts)]


def test_the_next_part_is_made_while_the_present_one_is_used() -> None:
    source = Source(3)
    parts = read_ahead(iter(source))
    assert next(parts) == 0
    source.wait_for(1)
    assert source.made == [0, 1]
    assert [*parts] == [1, 2]
    assert threading.get_ident() not in source.threads


def test_what_a_part_raises_comes_after_those_before_it() -> None:
    parts = read_ahead(iter(Source(3, fails_at=1)))
    assert next(parts) == 0
    with pytest.raises(OSError, match="the disk is gone"):
        next(parts)


def test_who_stops_early_waits_for_the_part_that_is_made() -> None:
    source = Source(9)
    parts = read_ahead(iter(source))
    assert next(parts) == 0
    parts.close()
    assert source.made == [0, 1]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]
