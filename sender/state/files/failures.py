"""What a person can do where the state directory cannot be written."""

from __future__ import annotations

from pathlib import Path

from sender.core.errors import InputError, SenderError, StateError


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
