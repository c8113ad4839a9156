"""One reader of the state for all who watch: it looks once a second, and everybody gets what has changed.

A view is the list of runs ("") or one run (its id). What it shows is made of parts, each a piece of HTML with an id.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

from sender.core.errors import SenderError
from sender.core.threads import run_in_thread

EVERY_S = 1.0
_KEEP_ALIVE_S = 15.0  # without a change, a line that browsers ignore: so that a connection that is gone is noticed
_log = logging.getLogger(__name__)

Parts = Mapping[str, str]


@dataclass(slots=True)
class _View:
    watchers: int = 0
    number: int = 0  # of the last look that changed something
    parts: Parts = field(default_factory=dict)
    changed: bytes = b""
    everything: bytes = b""


class Watcher:
    """Looks at the views that somebody watches, by `look(view)`, in a thread; nobody watching costs nothing.

    A view that cannot be made stays as it is, and holds up no other.
    """

    def __init__(self, look: Callable[[str], Parts]) -> None:
        self._look = look
        self._failing: set[str] = set()
        self._views: dict[str, _View] = {}
        self._task: asyncio.Task[None] | None = None
        self._looked = asyncio.Event()
        self.is_ending: Callable[[], bool] = lambda: False  # then events end within a second

    async def events(self, view: str) -> AsyncIterator[bytes]:
        """The events of the view, as server-sent events: all parts first, then those that change."""
        watched = self._views.setdefault(view, _View())
        watched.watchers += 1
        seen = 0
        try:
            self._begin()
            while not self.is_ending():
                if watched.number > seen:
                    is_next = watched.number == seen + 1 and seen
                    seen = watched.number
                    yield watched.changed if is_next else watched.everything
                try:
                    async with asyncio.timeout(_KEEP_ALIVE_S):
                        while watched.number == seen and not self.is_ending():
                            await self._looked.wait()
                except TimeoutError:
                    yield b": nothing has changed\n\n"
        finally:
            watched.watchers -= 1
            if not watched.watchers:
                self._views.pop(view, None)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def _begin(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while self._views and not self.is_ending():
            for view, parts in (await run_in_thread(self._look_at, list(self._views))).items():
                if view in self._views:
                    _update(self._views[view], parts)
            self._wake()
            due_s = max(due_s + EVERY_S, loop.time())
            await asyncio.sleep(due_s - loop.time())
        self._wake()

    def _look_at(self, views: list[str]) -> dict[str, Parts]:
        """The parts of these views now; of one that cannot be made the log says so once."""
        seen: dict[str, Parts] = {}
        for view in views:
            try:
                seen[view] = self._look(view)
            except Exception as error:  # noqa: BLE001 (the next look may succeed: a database that is away comes back)
                if view not in self._failing:
                    _log_failure(view, error)
                self._failing.add(view)
            else:
                self._failing.discard(view)
        return seen

    def _wake(self) -> None:
        """Let everybody look at what has changed; whoever waits afterwards waits for the next time."""
        self._looked.set()
        self._looked = asyncio.Event()


def _log_failure(view: str, error: Exception) -> None:
    of_run = f" of run {view}" if view else ""
    if isinstance(error, SenderError):
        _log.warning("the page%s cannot be made: %s", of_run, error, extra={"event": "web_read_failed"})
    else:
        _log.error("the page%s cannot be made", of_run, exc_info=error, extra={"event": "web_failed"})


def _update(view: _View, parts: Parts) -> None:
    changed = {name: html for name, html in parts.items() if view.parts.get(name) != html}
    if not changed:
        return
    view.parts = parts
    view.number += 1
    view.changed, view.everything = _event(changed), _event(parts)


def _event(parts: Parts) -> bytes:
    """A server-sent event; JSON has no line breaks of its own."""
    return f"event: parts\ndata: {json.dumps(parts)}\n\n".encode()
