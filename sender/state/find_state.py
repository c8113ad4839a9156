"""Where a campaign's state is: found upwards from the campaign's own folder, or else from the current one.

The state belongs to the campaign: whom it has reached must not depend on the folder that a command is given in. Looks
only; makes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sender.core.errors import InputError
from sender.core.folder_defaults import read_folder_defaults
from sender.core.upwards import folders_upwards, is_foreign
from sender.state.state_dir import DEFAULT_STATE_DIR, LEDGER_FILE, SUPPRESSIONS_FILE


@dataclass(frozen=True, slots=True)
class StatePlace:
    """A state directory, or where a new one would be made. `searched` are the folders that were looked in.

    `path` is a text where a folder's defaults name the URL of a database: whether there is a state in it is not known.
    """

    path: Path | str
    exists: bool
    searched: tuple[Path, ...] = ()


def is_state(folder: Path) -> bool:
    """Whether there is a state in `folder`: a ledger or a suppression list."""
    return any((folder / name).is_file() for name in (LEDGER_FILE, SUPPRESSIONS_FILE))


def find_state(source: str | Path | None = None) -> StatePlace:
    """Return where the state of `source` is (a campaign, a list, a written plan), or of the current folder without one.

    A state is looked for upwards from the source's own folder, then from the current folder. A new one is made in the
    current folder if the source is below it, so that both find it, and else beside the source. Raises InputError where
    the two folders have different states, and where a state belongs to another user.
    """
    here = Path.cwd()
    own, in_state = (here, False) if source is None else _own_folder(Path(source))
    own_folders, here_folders = folders_upwards(own), folders_upwards(here)
    own_state = _find_in(own_folders)
    here_state = own_state if own == here else _find_in(here_folders)
    if own_state is not None and here_state is not None and _resolved(own_state) != _resolved(here_state):
        raise InputError(
            f"there are two states: {own_state} for {source}, and {here_state} for the current folder",
            fix="name the right one with --state (in Python: state_dir=...)",
        )
    searched = tuple(dict.fromkeys((*own_folders, *here_folders)))
    state = own_state or here_state
    if state is not None:
        if isinstance(state, str):
            return StatePlace(state, exists=True, searched=searched)
        return StatePlace(_shown(state), is_state(state), searched)
    holds_both = here in own_folders and here != Path(here.anchor) and not in_state
    return StatePlace(_shown((here if holds_both else own) / DEFAULT_STATE_DIR), exists=False, searched=searched)


def _find_in(folders: tuple[Path, ...]) -> Path | str | None:
    """Return the nearest state in `folders`, or the one that a folder's defaults name; None without either.

    Raises InputError for a state that belongs to another user: passing it by would text its people again.
    """
    for folder in folders:
        defaults = read_folder_defaults(folder)
        if defaults is not None and defaults.state is not None:
            return defaults.state
        for state in (folder / DEFAULT_STATE_DIR, folder):
            if is_state(state):
                _check_owner(state)
                return state
    return None


def _resolved(state: Path | str) -> Path | str:
    return state if isinstance(state, str) else state.resolve()


def _check_owner(state: Path) -> None:
    if is_foreign(state):
        raise InputError(
            "the state directory belongs to another user",
            where=str(state),
            fix="name it with --state if you trust it, or name another one",
        )


def _own_folder(source: Path) -> tuple[Path, bool]:
    """Return the folder that `source` is in, and whether that is the folder of a state which `source` itself is in."""
    folder = Path.cwd() / source.expanduser()
    if not folder.is_dir():
        folder = folder.parent
    folder = folder.resolve()
    for above in (folder, *folder.parents):
        if above.name == DEFAULT_STATE_DIR.name:
            return above.parent, True
    return folder, False


def _shown(path: Path) -> Path:
    """Return `path`, relative to the current folder where it is in it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
