"""The suppression files of a campaign: read when it is planned, at each start, and again whenever one changes.

While a run is sent, a thread looks at them every second. A number that is added holds within seconds; one that is taken
out is held until the next start. A file that cannot be read, or has lost numbers, lifts nothing, and after a while
stops new messages. Sends nothing.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sender import phone, providers
from sender.core.errors import RecipientsError, SenderError
from sender.core.lazy_modules import pl
from sender.plan.plan import Plan
from sender.providers.base import Capabilities
from sender.suppression.number_list import ListRules, NumberList, read_number_list
from sender.suppression.number_match import People

log = logging.getLogger("sender.suppression.number_files")

LOOK_EVERY_S = 1.0
PAUSE_AFTER_S = 30.0  # for whoever saves the file or mounts its folder again
_FRESH_NS = 2_000_000_000  # a file changed so lately may change again without a new time on a coarse file system
_AGAIN_S = 5.0  # after which a file that could not be read is tried again, though it has not changed

Signature = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class NumberFile:
    """A suppression file of a campaign: its name in the plan, where it is, and how its numbers are read."""

    name: str
    path: Path
    rules: ListRules

    @property
    def can_be_read_again(self) -> bool:
        """Whether it is a file, and not a pipe that is read once."""
        return not self.path.exists() or self.path.is_file()

    def read(self) -> NumberList:
        """Return its numbers. Raises RecipientsError as `read_number_list` and `NumberList.check` do."""
        numbers = read_number_list(self.path, self.rules, name=self.name)
        numbers.check(str(self.path))
        return numbers

    def to_manifest(self) -> dict[str, Any]:
        """What a plan's manifest keeps of it."""
        return {
            "name": self.name,
            "path": str(self.path.absolute()),
            "regions": list(self.rules.regions),
            "columns": list(self.rules.columns),
            "unreadable": self.rules.unreadable,
        }

    @classmethod
    def from_manifest(cls, values: Mapping[str, Any], capabilities: Capabilities) -> Self:
        """The file that `to_manifest` described, for a plan of a provider with these capabilities."""
        rules = ListRules(
            regions=tuple(values["regions"]),
            passthrough=capabilities.passthrough,
            short_codes=capabilities.short_code_recipients,
            columns=tuple(values["columns"]),
            unreadable=values["unreadable"],
        )
        return cls(values["name"], Path(values["path"]), rules)


def files_of(plan: Plan, source: str | Path | None) -> tuple[NumberFile, ...]:
    """Return the suppression files of a plan that was made from the campaign at `source` (None: not known).

    A plan of an earlier version names its files and not how they are read: they are read leniently in each country of
    its recipients, where they are still there, and what cannot be read stops nothing, as it did not then.
    """
    manifest = plan.manifest
    capabilities = providers.capabilities(manifest.dialect)
    if manifest.suppress:
        return tuple(NumberFile.from_manifest(values, capabilities) for values in manifest.suppress)
    named = [entry.path for entry in manifest.inputs if entry.role == "suppress"]
    if not named:
        return ()
    regions = plan.scan().select(pl.col("region").drop_nulls().unique().sort()).collect().to_series()
    rules = ListRules(
        regions=tuple(region for region in regions if phone.region_ok(region)),
        passthrough=capabilities.passthrough,
        short_codes=capabilities.short_code_recipients,
        unreadable=sys.maxsize,
    )
    folders = [Path(source).parent, Path()] if source is not None else [Path()]
    paths = {name: [folder / name for folder in folders if (folder / name).is_file()] for name in named}
    return tuple(NumberFile(name, found[0], rules) for name, found in paths.items() if found)


def signature(path: Path) -> Signature:
    """What differs when a file, or who may read it, has changed: times, size, inode. Raises OSError."""
    status = path.stat()
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


class _Watched:
    """One file and what was read of it last. `fault` says what is wrong with it now."""

    def __init__(self, file: NumberFile) -> None:
        self.file = file
        self.size = 0  # the most numbers that it has had
        self.fault: str | None = None
        self._seen: Signature | None = None
        self._again_s = 0.0

    def read(self, now_s: float) -> NumberList | None:
        """Return the numbers if the file has changed since it was read, or could not be; None if not.

        Raises RecipientsError.
        """
        try:
            now = signature(self.file.path)
        except OSError as error:
            self._seen = None
            raise RecipientsError(f"cannot be read: {error.strerror}", where=str(self.file.path)) from None
        if now == self._seen and now_s < self._again_s:
            return None
        is_fresh = 0 <= time.time_ns() - now[0] < _FRESH_NS
        self._seen = None if is_fresh else now
        self._again_s = now_s + _AGAIN_S
        numbers = read_number_list(self.file.path, self.file.rules, name=self.file.name)
        self._again_s = math.inf
        return numbers


class FileWatch:
    """The suppression files of a run while it is sent: `with watch_files(files, people) as watch`.

    `held` has the people of the plan who are in one of the files or have been since the start, each with a sentence. It
    may be read from any thread.
    """

    def __init__(
        self,
        files: Iterable[NumberFile],
        people: Callable[[], pl.Series],
        *,
        clock: Callable[[], float] = time.monotonic,
        is_quiet: bool = False,
    ) -> None:
        """`people` reads the plan's recipients. With `is_quiet`, as in a worker, nothing is logged."""
        self._files = [_Watched(file) for file in files if file.can_be_read_again]
        self._people = people
        self._clock = clock
        self._is_quiet = is_quiet
        self._looked_s = clock()
        self._faulty_since_s: float | None = None
        self._said_paused = False
        self.held: Mapping[str, str] = {}

    def read_all(self) -> None:
        """Read every file before the first message. Raises RecipientsError for one that cannot be read."""
        for watched in self._files:
            numbers = watched.read(self._clock())
            if numbers is not None:
                numbers.check(str(watched.file.path))
                self._take(watched, numbers)
        self._looked_s = self._clock()

    def look(self) -> None:
        """Read the files that have changed, and note the ones that are not as they should be."""
        for watched in self._files:
            before = watched.fault
            watched.fault = self._look_at(watched)
            if watched.fault != before:
                self._log_fault(watched, before)
        now = self._clock()
        self._looked_s = now
        if not any(watched.fault for watched in self._files):
            self._faulty_since_s = None
        elif self._faulty_since_s is None:
            self._faulty_since_s = now
        self._log_pause()

    @property
    def is_paused(self) -> bool:
        """Whether nothing new may be sent: for PAUSE_AFTER_S a file has not been readable, or not been looked at."""
        if not self._files:
            return False
        since_s = self._looked_s if self._faulty_since_s is None else self._faulty_since_s
        return self._clock() - since_s > PAUSE_AFTER_S

    def _look_at(self, watched: _Watched) -> str | None:
        """Read the file if it has changed, and hold whoever is in it now. Return what is wrong with it, or None."""
        try:
            numbers = watched.read(self._clock())
            if numbers is None:
                return watched.fault
            self._take(watched, numbers)
            if numbers.size < watched.size:
                return f"has fewer numbers than before: {numbers.size:,} instead of {watched.size:,}"
            if numbers.unreadable_rows > watched.file.rules.unreadable:  # without the cells: logs hold no numbers
                rows = "1 row" if numbers.unreadable_rows == 1 else f"{numbers.unreadable_rows:,} rows"
                return f"has {rows} that cannot be read"
        except SenderError as error:
            return error.what
        except Exception as error:  # noqa: BLE001 (whatever it is, the file could not be read)
            return f"cannot be read: {error}"
        return None

    def _take(self, watched: _Watched, numbers: NumberList) -> None:
        watched.size = max(watched.size, numbers.size)
        to = self._people()
        held = to.filter(People(to).match(numbers).held)
        if held.len():
            sentence = f"the number is in {watched.file.path.name}"
            self.held = {**dict.fromkeys(held.to_list(), sentence), **self.held}

    def _log_fault(self, watched: _Watched, before: str | None) -> None:
        if self._is_quiet:
            return
        if watched.fault is None:
            log.warning("%s can be read again", watched.file.path, extra={"event": "suppression_file_readable"})
        elif before is None:
            log.warning(
                "%s %s; its numbers stay suppressed, and sending pauses in %.0f s unless the file is complete again",
                watched.file.path,
                watched.fault,
                PAUSE_AFTER_S,
                extra={"event": "suppression_file_unreadable", "file": watched.file.name},
            )

    def _log_pause(self) -> None:
        if self.is_paused == self._said_paused or self._is_quiet:
            return
        self._said_paused = self.is_paused
        if self._said_paused:
            faults = "; ".join(f"{each.file.path} {each.fault}" for each in self._files if each.fault)
            log.warning(
                "sending is paused until the suppression file is complete again: %s",
                faults,
                extra={"event": "suppression_paused"},
            )
        else:
            log.warning("sending continues", extra={"event": "suppression_resumed"})


@contextmanager
def watch_files(
    files: Sequence[NumberFile], people: Callable[[], pl.Series], *, is_quiet: bool = False
) -> Iterator[FileWatch]:
    """Read the files, and look at them in a thread of its own until the end. Raises RecipientsError at the start."""
    watch = FileWatch(files, people, is_quiet=is_quiet)
    watch.read_all()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_EVERY_S):
            watch.look()

    thread = threading.Thread(target=look, name="suppression-files", daemon=True)
    if files:
        thread.start()
    try:
        yield watch
    finally:
        ended.set()
        if files:
            thread.join(LOOK_EVERY_S)
