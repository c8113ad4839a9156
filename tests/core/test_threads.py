"""Calls in a thread: a task that is canceled ends after its call, and not before."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import apsw
import pytest

from sender.core.threads import run_in_thread


def test_the_result_and_the_failure_are_those_of_the_call() -> None:
    async def use() -> None:
        assert await run_in_thread(divmod, 7, 2) == (3, 1)
        assert await run_in_thread(int, "11", base=2) == 3
        assert await run_in_thread(threading.get_ident) != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await run_in_thread(divmod, 1, 0)

    asyncio.run(use())


@pytest.mark.parametrize("cancels", [1, 3])
@pytest.mark.parametrize("fails", [False, True])
def test_a_canceled_task_ends_after_its_call(cancels: int, fails: bool) -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert may_end.wait(20)
        ended.set()
        if fails:
            raise OSError("of nobody any more")

    async def use() -> None:
        task = asyncio.create_task(run_in_thread(work))
        await asyncio.to_thread(begun.wait, 20)
        for _ in range(cancels):
            task.cancel()
            await asyncio.sleep(0.01)
        assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    asyncio.run(use(), debug=True)


def test_what_a_canceled_call_used_may_be_closed(tmp_path: Path) -> None:
    """A connection to SQLite refuses a second thread while the first is at work."""
    database = apsw.Connection(str(tmp_path / "a.db"))
    counting = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 300000) SELECT sum(i) FROM n"
    begun = threading.Event()

    def count() -> None:
        begun.set()
        database.execute(counting).fetchall()

    async def use() -> None:
        task = asyncio.create_task(run_in_thread(count))
        await asyncio.to_thread(begun.wait, 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        database.close()

    asyncio.run(use())
