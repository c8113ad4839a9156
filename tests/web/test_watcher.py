"""One reader for all who watch: what changes reaches everybody, whatever is wrong with somebody else's page."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import pytest

from sender.core.errors import StateError
from sender.web import watcher
from sender.web.watcher import Parts, Watcher


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "EVERY_S", 0.01)


async def parts_of(events: AsyncIterator[bytes], count: int) -> list[dict[str, str]]:
    """What the next events bring."""
    seen: list[dict[str, str]] = []
    async with asyncio.timeout(20):
        while len(seen) < count:
            event = (await anext(events)).decode()
            seen.append(json.loads(event.split("data: ")[1]))
    return seen


@pytest.mark.parametrize("failure", [StateError("its plan is gone"), ZeroDivisionError("a fault of ours")])
def test_a_page_that_cannot_be_made_holds_up_no_other(caplog: pytest.LogCaptureFixture, failure: Exception) -> None:
    looks = {"": 0, "broken": 0}

    def look(view: str) -> Parts:
        looks[view] += 1
        if view == "broken" and looks[view] < 6:
            raise failure
        return {"head": f"{view} {looks[view]}", "still": view}

    async def go() -> list[dict[str, str]]:
        watch = Watcher(look)
        broken, others = (cast("Any", watch.events(view)) for view in ("broken", ""))
        async with aclosing(broken), aclosing(others):
            first = asyncio.create_task(parts_of(broken, 1))
            seen = await parts_of(others, 4)
            assert (await first) == [{"head": "broken 6", "still": "broken"}], "and it comes back"
        await watch.close()
        return seen

    with caplog.at_level(logging.WARNING, "sender.web.watcher"):
        seen = asyncio.run(go())
    assert seen[0] == {"head": " 1", "still": ""}
    assert all("head" in parts for parts in seen[1:])
    assert len(caplog.records) == 1, "said once, not at each look"
    assert "run broken" in caplog.text
