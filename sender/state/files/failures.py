"""What a person can do where the state directory cannot be written."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from sender.core.errors import InputError, SenderError, StateError
from sender.core.lazy_modules import pl

_SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")  # in what polars says of a file


def explain_unwritable(path: Path, error: OSError) -> SenderError:
    """The error to raise for a state directory at `path` that cannot be written."""
    if isinstance(error, NotADirectoryError | FileExistsError):  # the path is wrong, not the disk
        return InputError(
            f"the state directory cannot be written: {error.strerror}",
            where=str(path),
            fix="a file is in its way; choose another folder with --state-dir",
        )
    return StateError(
        f"the state directory cannot be written: {error.strerror or error}",
        where=str(path),
        fix="free some space or correct its permissions, or choose another folder with --state-dir",
    )


@contextlib.contextmanager
def writing_explained(path: Path) -> Iterator[None]:
    """Turn an error of the system, while files of the state at `path` are written, into one that says what to do."""
    try:
        yield
    except OSError as error:
        raise explain_unwritable(path, error) from error
    except pl.exceptions.ComputeError as error:  # polars has no class of its own for them
        number = _SYSTEM_ERROR.search(str(error))
        if number is None:
            raise
        code = int(number[1])
        raise explain_unwritable(path, OSError(code, os.strerror(code))) from error
