"""The secret of a state directory by which erased people are recognised: `people.key`, for this user alone."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from sender.core.errors import StateError
from sender.core.filesystem import sync_folder
from sender.core.lazy_modules import pl
from sender.core.output_files import write_whole
from sender.state.files.failures import explain_unwritable
from sender.state.people import KEY_BYTES, hash_number

KEY_FILE = "people.key"


class PeopleKeyFile:
    """The key of one state directory. A `PeopleKey`."""

    def __init__(self, directory: Path) -> None:
        """`directory` is the state directory."""
        self._directory = directory
        self._file = directory / KEY_FILE
        self._key: bytes | None = None

    def hash(self, number: str) -> int | None:
        key = self._read()
        return None if key is None else hash_number(key, number)

    def hash_all(self, numbers: Iterable[str]) -> pl.Series:
        key = self._read()
        if key is None:
            raise _unreadable(self._file, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
        return pl.Series("key", [hash_number(key, number) for number in numbers], dtype=pl.UInt64)

    def secret(self) -> bytes | None:
        return self._read()

    def create(self) -> None:
        if self._read() is not None:
            return
        try:
            write_whole(self._file, lambda file: file.write(secrets.token_hex(KEY_BYTES).encode()), replace=False)
        except FileExistsError:  # another process has made it this moment
            self._read()
        except OSError as error:
            raise explain_unwritable(self._directory, error) from None
        else:
            sync_folder(self._directory)

    def _read(self) -> bytes | None:
        """The key; None where there is none yet. Raises StateError for a file that is not one."""
        if self._key is None:
            try:
                self._key = bytes.fromhex(self._file.read_text(encoding="ascii"))
            except FileNotFoundError:
                return None
            except (OSError, ValueError) as error:
                raise _unreadable(self._file, error) from None
            if len(self._key) != KEY_BYTES:
                raise _unreadable(self._file, ValueError(f"{len(self._key)} bytes"))
        return self._key


def _unreadable(file: Path, error: Exception) -> StateError:
    why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return StateError(
        f"the key by which erased people are recognised cannot be read: {why}",
        where=str(file),
        fix="restore it from a backup: without it, people who opted out before they were erased might be texted",
    )
