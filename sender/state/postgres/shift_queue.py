"""The engine that hands out shifts: PgQueuer, behind four calls of ours.

It tells workers what there is to do, by heartbeat, and begins a dead worker's job again. It does not fence: a job may
run twice, and the ledger sees to it that this changes nothing but the speed. Its tables are made when they are missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from importlib.metadata import version

import psycopg
from pgqueuer.adapters.drivers.psycopg import PsycopgDriver
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.errors import PgqException
from pgqueuer.domain.models import Job
from pgqueuer.domain.types import JobId, QueueEntrypoint
from pgqueuer.queries import Queries
from psycopg import errors

from sender.core.errors import StateError
from sender.state.database_url import DatabaseUrl
from sender.state.postgres.database import connect_async
from sender.state.sharing import Handler, Jobs

HEARTBEAT_S = 10.0  # a job without one is begun again by another worker
LOOK_EVERY_S = 1.0
FULL_LOOK_S = 0.5  # the same, while shifts wait for a place
NOTICES_EVERY_S = 0.1
SHIFT, STEWARD = "sender_shift", "sender_steward"
_LOCK = 0x63_6D_70_71
_TABLE = "pgqueuer"
_MAY_CHANGE = f"""
SELECT bool_and(has_table_privilege('{_TABLE}', privilege)) AS may
FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE']) AS privilege
"""  # noqa: S608 (our own name)
_OTHER_TABLES = (errors.UndefinedColumn, errors.UndefinedObject, errors.UndefinedFunction)  # those of another version

logging.getLogger("pgqueuer").setLevel(logging.CRITICAL)  # what it reports is raised, too, and said in our words


class _Driver(PsycopgDriver):
    """The engine's driver, which looks for notices now and then.

    PgQueuer's own (1.6.0) waits for them a second at a time, and no query can be made on the connection meanwhile.
    """

    async def watch_notifies(self) -> None:
        while not self.shutdown.is_set():
            async for note in self._connection.notifies(timeout=0.01):
                for callback in list(self._listeners.get(note.channel, [])):
                    callback(note.payload)
            await asyncio.sleep(NOTICES_EVERY_S)


@dataclass
class _Manager(QueueManager):
    """The engine's worker, which leaves shifts to others while all its places are taken.

    The engine counts jobs of all kinds together; a shift too many would wait in the place that is kept for a steward.
    """

    places: int = field(init=False, default=1)
    _shifts: set[JobId] = field(init=False, default_factory=set)

    async def fetch_jobs(
        self, batch_size: int, global_concurrency_limit: int | None, heartbeat_timeout: timedelta
    ) -> AsyncGenerator[Job, None]:
        async for job in super().fetch_jobs(batch_size, global_concurrency_limit, heartbeat_timeout):
            if job.entrypoint == SHIFT:
                self._shifts.add(job.id)
            yield job

    def entrypoints_below_capacity_limits(self) -> set[QueueEntrypoint]:
        self._shifts &= self.job_context.keys()
        is_full = len(self._shifts) >= self.places
        return {name for name in super().entrypoints_below_capacity_limits() if not (is_full and name == SHIFT)}


class EngineQueue:
    """A `ShiftQueue` over PgQueuer. Each call has a connection of its own."""

    def __init__(self, url: DatabaseUrl) -> None:
        self._url = url

    async def check(self) -> None:
        async with self._engine() as queries:
            if (await queries.plan_upgrade()).statements:
                raise self._outdated()
            (row,) = await queries.driver.fetch(_MAY_CHANGE)
            if not row["may"]:
                raise StateError(
                    "the engine that hands out work cannot be used: this user may not change its tables",
                    where=str(self._url),
                    fix="give this user the rights on the database's schema, or name another user",
                )

    async def upgrade(self) -> None:
        """Make the engine's tables, or make them what this version of it needs. Raises StateError."""
        async with self._engine() as queries:
            await queries.apply_upgrade()

    async def enqueue_shifts(self, run_id: str, count: int) -> None:
        async with self._engine() as queries:
            if count > 0:
                await queries.enqueue([SHIFT] * count, [run_id.encode()] * count, [0] * count)

    async def enqueue_steward(self, run_id: str) -> None:
        async with self._engine() as queries:  # with priority: a run without one does not end
            await queries.enqueue(
                [STEWARD], [run_id.encode()], [1], dedupe_key=[f"{STEWARD}-{run_id}"], on_conflict="skip"
            )

    async def cancel(self, run_id: str) -> None:
        async with self._engine() as queries:
            rows = await queries.driver.fetch(
                f"SELECT id FROM {_TABLE} WHERE payload = $1 AND status = 'queued'",  # noqa: S608 (our own name)
                run_id.encode(),
            )
            if rows:
                await queries.mark_job_as_cancelled([row["id"] for row in rows])  # type: ignore[misc]

    async def jobs(self, run_id: str) -> Jobs:
        async with self._engine() as queries:
            rows = await queries.driver.fetch(
                f"SELECT entrypoint, status::text AS status FROM {_TABLE} WHERE payload = $1",  # noqa: S608
                run_id.encode(),
            )
        found = [(row["entrypoint"], row["status"]) for row in rows]
        return Jobs(
            waiting=found.count((SHIFT, "queued")),
            at_work=found.count((SHIFT, "picked")),
            has_steward=any(entrypoint == STEWARD for entrypoint, _ in found),
        )

    async def run_worker(
        self, on_shift: Handler, on_steward: Handler, *, places: int, is_stopped: Callable[[], bool]
    ) -> None:
        async with self._engine() as queries:
            manager = _Manager(queries)
            manager.places = places
            manager.min_dequeue_poll_interval = timedelta(seconds=FULL_LOOK_S)

            @manager.entrypoint(SHIFT)
            async def begin_shift(job: Job) -> None:
                await on_shift((job.payload or b"").decode())

            @manager.entrypoint(STEWARD)
            async def begin_stewardship(job: Job) -> None:
                await on_steward((job.payload or b"").decode())

            async def stop() -> None:
                while not is_stopped():  # noqa: ASYNC110 (a signal sets it)
                    await asyncio.sleep(0.2)
                manager.shutdown.set()

            stopping = asyncio.create_task(stop())
            try:
                await manager.run(
                    dequeue_timeout=timedelta(seconds=LOOK_EVERY_S),
                    batch_size=1,
                    max_concurrent_tasks=places + 1,  # the last one for a steward, which waits, and sends little
                    shutdown_on_listener_failure=True,
                    heartbeat_timeout=timedelta(seconds=HEARTBEAT_S),
                    log_aggregation_interval=timedelta(0),
                )
            finally:
                stopping.cancel()

    @contextlib.asynccontextmanager
    async def _engine(self) -> AsyncIterator[Queries]:
        """The engine over a new connection, with its tables. Raises StateError for whatever fails in the block."""
        try:
            async with await connect_async(self._url) as db:
                queries = Queries(_Driver(db))
                await self._install(db, queries)
                yield queries
        except _OTHER_TABLES as error:
            raise self._outdated() from error
        except (psycopg.Error, OSError, RuntimeError, PgqException) as error:
            told = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise StateError(
                f"the engine that hands out work cannot be used ({told})",
                where=str(self._url),
                fix="check that the database runs, and that this user may create tables in it",
            ) from error

    def _outdated(self) -> StateError:
        return StateError(
            f"the engine that hands out work, PgQueuer {version('pgqueuer')}, needs other tables than the database has",
            where=str(self._url),
            fix=f"once no other machine uses them, `sender cluster init {self._url}` upgrades them",
        )

    async def _install(self, db: psycopg.AsyncConnection, queries: Queries) -> None:
        if await _is_whole(queries):
            return
        await db.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))  # of two that make the tables, the second finds them
        try:
            if not await _is_whole(queries):
                await queries.uninstall()  # what is left of them
                await queries.install()
        finally:
            await db.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


def upgrade_engine(url: DatabaseUrl) -> None:
    """Make the engine's tables in a database, or make them what this version of it needs. Raises StateError."""
    asyncio.run(EngineQueue(url).upgrade())


async def _is_whole(queries: Queries) -> bool:
    names = queries.qbe.settings
    tables = (names.queue_table, names.queue_table_log, names.statistics_table)
    return all([await queries.has_table(table) for table in tables])
