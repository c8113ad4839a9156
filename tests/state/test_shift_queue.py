"""The engine that hands out shifts: its tables are made, upgraded by `cluster init`, and nobody works with older ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import psycopg
import pytest

from sender.core.errors import StateError
from sender.sending.shifts.shift_worker import ShiftWorker
from sender.state.database_url import DatabaseUrl, read_database_url
from sender.state.open import make_database_state
from sender.state.postgres.install import install
from sender.state.postgres.shift_queue import EngineQueue
from tests.state.conftest import DATABASES
from tests.state.postgres_server import Server

SAYS = "the engine that hands out work, PgQueuer 1.* needs other tables than the database has"


@pytest.fixture
def url(servers: Callable[[str], Server]) -> DatabaseUrl:
    """A state of its own: the engine's tables are changed."""
    url = read_database_url(servers(DATABASES[0]).new_schema())
    install(url)
    return url


@pytest.fixture
def queue(url: DatabaseUrl) -> EngineQueue:
    return EngineQueue(url)


def make_older(url: DatabaseUrl) -> None:
    """The tables as before PgQueuer had slots, attempts and tracebacks."""
    with psycopg.connect(url.text, autocommit=True) as db:
        db.execute("ALTER TABLE pgqueuer DROP COLUMN slot, DROP COLUMN attempts")
        db.execute("ALTER TABLE pgqueuer_log DROP COLUMN traceback")


def test_init_upgrades_them_and_what_waits_stays(url: DatabaseUrl, queue: EngineQueue) -> None:
    make_database_state(url.text)
    asyncio.run(queue.check())
    asyncio.run(queue.enqueue_shifts("run-1", 3))
    make_older(url)
    with pytest.raises(StateError, match=SAYS) as told:
        asyncio.run(queue.check())
    assert f"`sender cluster init {url}` upgrades them" in str(told.value.fix)
    for _ in range(2):
        make_database_state(url.text)
        asyncio.run(queue.check())
        assert asyncio.run(queue.jobs("run-1")).waiting == 3


def test_a_worker_with_older_tables_takes_nothing_and_says_so(url: DatabaseUrl, queue: EngineQueue) -> None:
    asyncio.run(queue.check())
    make_older(url)
    with pytest.raises(StateError, match=SAYS):
        asyncio.run(ShiftWorker(url.text, 1, {}).run())


def test_a_worker_that_may_only_read_says_so(url: DatabaseUrl, queue: EngineQueue) -> None:
    asyncio.run(queue.check())
    with psycopg.connect(url.text, autocommit=True) as db:
        (schema,) = db.execute("SELECT current_schema()").fetchone() or ("",)
        name = f"reader_of_{schema}"
        db.execute(f"CREATE ROLE {name} LOGIN".encode())
        db.execute(f"GRANT USAGE ON SCHEMA {schema} TO {name}".encode())
        db.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {name}".encode())
    reader = EngineQueue(read_database_url(url.text.replace("//sender@", f"//{name}@")))
    with pytest.raises(StateError, match="this user may not change its tables"):
        asyncio.run(reader.check())


def test_who_asks_for_senders_says_so_too(url: DatabaseUrl, queue: EngineQueue) -> None:
    asyncio.run(queue.check())
    with psycopg.connect(url.text, autocommit=True) as db:
        db.execute("ALTER TABLE pgqueuer DROP COLUMN headers")
    with pytest.raises(StateError, match=SAYS):
        asyncio.run(queue.enqueue_shifts("run-1", 1))


def test_tables_of_a_newer_one_are_used(url: DatabaseUrl, queue: EngineQueue) -> None:
    """They have more than is asked for."""
    asyncio.run(queue.check())
    with psycopg.connect(url.text, autocommit=True) as db:
        db.execute("ALTER TABLE pgqueuer ADD COLUMN newer text")
    asyncio.run(queue.check())
    asyncio.run(queue.enqueue_shifts("run-1", 2))
    assert asyncio.run(queue.jobs("run-1")).waiting == 2


def test_a_worker_takes_as_many_shifts_as_it_has_places_and_a_steward_at_once(
    url: DatabaseUrl, queue: EngineQueue
) -> None:
    """What is too many stays for others: a worker that begins later gets it."""
    taken: list[tuple[int, str]] = []

    async def work(worker: int, places: int, ended: asyncio.Event) -> None:
        async def take(kind: str) -> None:
            taken.append((worker, kind))
            await ended.wait()

        await queue.run_worker(
            lambda _: take("shift"), lambda _: take("steward"), places=places, is_stopped=ended.is_set
        )

    async def until(count: int) -> None:
        async with asyncio.timeout(30):
            while len(taken) < count:  # noqa: ASYNC110 (there is no event)
                await asyncio.sleep(0.05)

    async def use() -> None:
        ended = asyncio.Event()
        await queue.check()
        await queue.enqueue_shifts("run-1", 5)
        async with asyncio.TaskGroup() as workers:
            workers.create_task(work(1, 2, ended))
            await until(2)
            await asyncio.sleep(1.5)  # it looks again every half a second
            assert taken == [(1, "shift")] * 2
            assert (await queue.jobs("run-1")).waiting == 3
            await queue.enqueue_steward("run-1")
            await until(3)
            assert taken[2:] == [(1, "steward")]
            workers.create_task(work(2, 3, ended))
            await until(6)
            assert taken[3:] == [(2, "shift")] * 3
            ended.set()

    asyncio.run(use())
