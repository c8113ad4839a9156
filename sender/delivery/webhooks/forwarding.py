"""Posts replies on to an address of the user's own, signed as Standard Webhooks, for as long as it takes.

What waits is on disk: a reply leaves the outbox once its receiver has answered with a success, or after three days of
trying. Runs beside the receiver and is waited for by nobody: neither a webhook's answer nor a STOP depends on it. Never
logs a number, a text or a URL.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self

from sender.core.errors import StateError
from sender.core.lazy_modules import httpx
from sender.core.standard_webhooks import Event, Target, signed_headers
from sender.state.replies import ReplyRow, ReplyStore, WaitingReply

log = logging.getLogger("sender.delivery")

EVENT_TYPE = "reply.received"
RETRY_DELAYS_S = (5, 30, 120, 600, 1800, 3600, 7200)  # after each failed try; the last one again and again
GIVE_UP_S = 3 * 86_400.0  # after the reply was heard
_TIMEOUT_S = 15.0  # of one try, from the first byte to the head of the answer
_LEASE_MS = 60_000
_IDLE_S = 0.5
_FINISH_S = 2.0  # at the end, for the try under way
_LONGEST_PAUSE_S = 60.0  # while the receiver fails for every reply
_RETRY_AFTER_MAX_S = 3600.0
_BLANK_KEPT_MS = 8 * 86_400_000  # no provider repeats a webhook for longer
_DROP_EVERY_MS = 3_600_000


class Forwarder:
    """`async with Forwarder(open_store, target)`: forwards what waits until it is left, then stops within seconds."""

    def __init__(
        self,
        open_store: Callable[[], ReplyStore],
        target: Target,
        *,
        client: httpx.AsyncClient | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`open_store` returns a handle of its own. `clock` gives Unix time, for all that is waited for."""
        self._open_store = open_store
        self._target = target
        self._client = client or httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False)
        self._clock = clock
        self.failure: str | None = None  # of the last try

    async def __aenter__(self) -> Self:
        self._stopping = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="replies")
        self._store = await self._in_thread(self._open_store)
        self._task = asyncio.create_task(self._forward_forever())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping.set()
        await asyncio.wait([self._task], timeout=_FINISH_S)
        self._task.cancel()  # what is under way is posted again when its lease is over
        with suppress(asyncio.CancelledError):
            await self._task
        await self._client.aclose()
        await self._in_thread(self._store.close)
        self._thread.shutdown()

    async def _forward_forever(self) -> None:
        failures, dropped_ms = 0, 0
        while not self._stopping.is_set():
            try:
                now_ms = await self._now_ms()
                if now_ms - dropped_ms > _DROP_EVERY_MS:
                    dropped_ms = now_ms
                    await self._in_thread(partial(self._store.drop_blank, dropped_ms - _BLANK_KEPT_MS))
                waiting = await self._in_thread(partial(self._store.claim_waiting, now_ms, lease_ms=_LEASE_MS))
                if waiting is None:
                    await self._pause(_IDLE_S)
                    continue
                failures = 0 if await self._forward(waiting) else failures + 1
            except Exception as error:  # noqa: BLE001 (what waits is on disk, and is tried again)
                self._note_failure(error.what if isinstance(error, StateError) else type(error).__name__)
                failures += 1
            if failures:
                await self._pause(min(_LONGEST_PAUSE_S, _IDLE_S * 2 ** min(failures, 10)))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _forward(self, waiting: WaitingReply) -> bool:
        """Post the reply, and note what became of it; return whether its receiver is to be trusted with the next."""
        event = reply_event(waiting.reply)
        failure, retry_after_s, is_general = await self._post(event)
        if failure is None:
            self.failure = None
            await self._in_thread(partial(self._store.settle, waiting.key))
            return True
        self._note_failure(failure)
        now_ms = await self._now_ms()
        if now_ms - waiting.reply.heard_at >= GIVE_UP_S * 1000:
            log.error("a reply was not forwarded within three days", extra={"event": "reply_forward_given_up"})
            await self._in_thread(partial(self._store.settle, waiting.key, failed=True))
        else:
            delay_s = RETRY_DELAYS_S[min(waiting.tries, len(RETRY_DELAYS_S)) - 1]
            retry_at_ms = now_ms + round(1000 * max(delay_s, min(retry_after_s, _RETRY_AFTER_MAX_S)))
            await self._in_thread(partial(self._store.settle, waiting.key, retry_at_ms=retry_at_ms))
        return not is_general

    async def _post(self, event: Event) -> tuple[str | None, float, bool]:
        """Return what went wrong, or None; the wait that was asked for; and whether other replies would fail alike."""
        body = event.body()
        headers = signed_headers(self._target, event.id, int((self._clock or time.time)()), body)
        try:
            async with (
                asyncio.timeout(_TIMEOUT_S),
                self._client.stream("POST", self._target.url, content=body, headers=headers) as answer,
            ):
                if answer.is_success:
                    return None, 0.0, False
                status, wait = answer.status_code, answer.headers.get("retry-after", "")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            return f"{self._target.host}: {type(error).__name__}", 0.0, True
        wait_s = float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 10 else 0.0
        return f"{self._target.host} answered {status}", wait_s, status >= 500 or status in (401, 403, 404, 410, 429)

    def _note_failure(self, failure: str) -> None:
        if failure != self.failure:
            log.warning("replies wait, as forwarding failed: %s", failure, extra={"event": "reply_forward_failed"})
        self.failure = failure

    async def _now_ms(self) -> int:
        """The time by the store's clock: another machine may have set what is waited for."""
        return await self._in_thread(self._store.now_ms) if self._clock is None else round(self._clock() * 1000)

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


def reply_event(reply: ReplyRow) -> Event:
    """Return what is posted about a reply. Its id is the same at every try and after a restart."""
    digest = hashlib.sha256(f"{reply.dialect}:{reply.message_id}".encode()).hexdigest()
    return Event(f"reply_{digest[:32]}", EVENT_TYPE, _time(reply.heard_at), reply_data(reply))


def reply_data(reply: ReplyRow) -> Mapping[str, Any]:
    """Return a reply as plain values."""
    written = None if reply.written_at is None else _time(reply.written_at).isoformat(timespec="milliseconds")
    return {
        "message_id": reply.message_id,
        "provider": reply.dialect,
        "from": reply.number,
        "to": reply.our_number,
        "text": reply.text,
        "media": list(reply.media),
        "meaning": reply.meaning,
        "written_at": written,
        "heard_at": _time(reply.heard_at).isoformat(timespec="milliseconds"),
        "simulated": reply.simulated,
    }


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
