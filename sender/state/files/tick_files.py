"""The records of schedules as small files below `schedule/`, each with a lock."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from sender.core.errors import RunLocked, StateError
from sender.core.filesystem import make_folder, sync_folder
from sender.core.lazy_modules import filelock
from sender.state.files.failures import explain_unwritable
from sender.state.files.file_names import file_name, older_file_name
from sender.state.ticks import TickRecord

SCHEDULE_FOLDER = "schedule"


class TickFiles:
    """The records of one state directory. A `TickStore`."""

    def __init__(self, directory: Path) -> None:
        """`directory` is the state directory."""
        self._directory = directory
        self._folder = directory / SCHEDULE_FOLDER

    def read(self, campaign: str) -> TickRecord | None:
        """As the protocol says. A record that an older version wrote may be another campaign's."""
        for name in (file_name(campaign), older_file_name(campaign)):
            record = self._read(self._folder / f"{name}.json", campaign)
            if record is not None and record.campaign == campaign:
                return record
        return None

    def _read(self, file: Path, campaign: str) -> TickRecord | None:
        try:
            return TickRecord(**json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise StateError(
                f"the record of the schedule of {campaign} cannot be read: {error}",
                where=str(file),
                fix="remove it once you know what was sent: then the schedule begins again",
            ) from None

    def write(self, record: TickRecord) -> None:
        file = self._file(record.campaign)
        partial = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            make_folder(self._folder)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                json.dump(asdict(record), stream)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(file)
            sync_folder(self._folder)
        except OSError as error:
            raise explain_unwritable(self._directory, error) from None

    @contextlib.contextmanager
    def hold(self, campaign: str) -> Iterator[None]:
        file = self._file(campaign)
        lock = filelock.FileLock(file.with_suffix(".lock"), mode=0o600)
        try:
            make_folder(self._folder)
            lock.acquire(blocking=False)
        except filelock.Timeout:
            raise RunLocked(f"another process starts {campaign} by its schedule", fix="wait for it") from None
        except OSError as error:
            raise explain_unwritable(self._directory, error) from None
        try:
            yield
        finally:
            lock.release()

    def _file(self, campaign: str) -> Path:
        return self._folder / f"{file_name(campaign)}.json"
