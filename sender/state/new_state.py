"""A state that knows nobody: a live run that begins one would text everybody, whoever had it or opted out before.

So a person says once that a state is to begin. Simulations and tests reach nobody who counts and need no such leave.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sender.core.container import in_container
from sender.core.errors import InputError, SenderError, UnknownRun
from sender.core.filesystem import sync_folder
from sender.core.output_files import write_whole
from sender.state.files.failures import explain_unwritable
from sender.state.find_state import is_state
from sender.state.known_states import read_known_states, register_state
from sender.state.ledger import RunKind
from sender.state.open import folder_of, open_state, open_suppressions

STATE_FILE = "state.json"  # in a state that a person has begun
_SIMULATED_SCOPE = "sandbox"


@dataclass(frozen=True, slots=True)
class NewStateNotice:
    """What a person has to know before a live run begins the state at `path`; `others` have opt-outs of this user's."""

    path: Path
    others: tuple[tuple[Path, int], ...] = ()
    container: bool = False

    @property
    def sentence(self) -> str:
        """Return the line that nobody may overlook."""
        return f"new state directory {self.path}: no earlier runs and no opt-outs are known"

    @property
    def hints(self) -> tuple[str, ...]:
        """Return what may have gone wrong, and what would bring the opt-outs along."""
        mount = "this is a container: mount the state's folder, or each container begins with a new, empty state"
        return (*((mount,) if self.container else ()), *map(_import_hint, self.others))


def find_new_state(where: str | Path) -> NewStateNotice | None:
    """Return what to say before a live run begins the state at `where`; None for one that has begun. Writes nothing.

    A state has begun once a person has said so, and so has one with a live run or with an opt-out that is not the
    sandbox's. Raises StateError as `open_state`.
    """
    if folder_of(where) is None:  # a person made it, with a command of its own
        return None
    path = Path(where)
    if (path / STATE_FILE).is_file() or (is_state(path) and (_has_live_run(path) or _has_entries(path))):
        return None
    others = [(state, _count_entries(state)) for state in read_known_states() if state != path.resolve()]
    return NewStateNotice(path, tuple((state, count) for state, count in others if count), in_container())


def init_state(where: str | Path) -> None:
    """Make the state at `where`, or mark the one there as begun by a person. Raises StateError as `open_state`."""
    path = Path(where)
    with open_state(path) as state:
        state.suppressions.size()  # it is opened, and so made
    file = path / STATE_FILE
    if not file.exists():
        begun = {"begun_at": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="seconds")}
        try:
            write_whole(file, lambda stream: stream.write(f"{json.dumps(begun)}\n".encode()))
        except OSError as error:
            raise explain_unwritable(path, error) from None
        sync_folder(path)
    register_state(path)


def begin_state(where: str | Path, kind: RunKind, *, init: bool) -> None:
    """Begin the state at `where` for a run of that kind where `init` says so. Raises InputError where it is needed."""
    if kind is not RunKind.LIVE:
        return
    notice = find_new_state(where)
    if notice is None:
        return
    if not init:
        raise InputError(
            notice.sentence,
            fix="; ".join(("init_state=True creates it, once; state_dir= names another one", *notice.hints)),
        )
    init_state(where)


def _has_live_run(path: Path) -> bool:
    try:
        with open_state(path, read_only=True) as state:
            return any(run.kind is RunKind.LIVE for run in state.ledger.runs())
    except UnknownRun:  # a suppression list alone
        return False


def _has_entries(path: Path) -> bool:
    store = open_suppressions(path, read_only=True)
    try:
        return any(row[1] != _SIMULATED_SCOPE for row in store.active())
    finally:
        store.close()


def _count_entries(path: Path) -> int:
    """Return how many opt-outs another state has; 0 where it cannot be read."""
    try:
        store = open_suppressions(path, read_only=True)
    except SenderError:
        return 0
    try:
        return store.size()
    except SenderError:
        return 0
    finally:
        store.close()


def _import_hint(other: tuple[Path, int]) -> str:
    path, count = other
    entries = "1 entry" if count == 1 else f"{count:,} entries"
    return f"{path} has {entries} on its suppression list: `sender suppress import {path}` copies them"
