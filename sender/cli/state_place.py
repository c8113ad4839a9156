"""Which state a command uses: the one it is given, or the one that belongs to the campaign or the folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from sender.core.errors import InputError, UnknownRun
from sender.state.database_url import DATABASES, read_database_url, scheme_of
from sender.state.find_state import StatePlace, find_state, is_state
from sender.state.open import local_folder
from sender.state.state_dir import DEFAULT_STATE_DIR

_VARIABLES = ("SENDER_STATE", "SENDER_STATE_DIR")  # two names for one thing, as --state and --state-dir
_TARGETS = ("campaign", "a")  # arguments that are campaigns: their state may be a new one
MAKE_ONE = "`sender init --state-only` creates one in this folder; --state names another one"


class StatePlaceType(click.Path):
    """A folder, as a Path, or the URL of a database, as the text that it is."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, file_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if scheme_of(value) in DATABASES else super().convert(value, param, ctx)


def locate_state(ctx: click.Context, param: click.Parameter, values: Sequence[Path | str]) -> Path | str:
    """Return the state directory, or the address of the database, for the command in `ctx`.

    `values` were given by option; click has read the arguments before this. Raises InputError where two different ones
    are given or meant, and UnknownRun where the command needs a state that is there.
    """
    given = _choose("--state and --state-dir", [str(path) for path in values])
    if given is None:
        by_name = [(name, os.environ.get(name, "")) for name in _VARIABLES]
        given = _choose(" and ".join(_VARIABLES), [value for _, value in by_name if value])
    names = {parameter.name for parameter in ctx.command.params}
    target = next((ctx.params[name] for name in _TARGETS if ctx.params.get(name) is not None), None)
    if given is not None and scheme_of(given) in DATABASES:
        return _check_database(ctx, given)
    if given is not None:
        folder = local_folder(given)
        place = StatePlace(folder, is_state(folder))
    else:
        home = _home_of(ctx.params["folder"]) if "folder" in names else None
        place = find_state(_source_of(ctx, target) if home is None else _nearest_folder(home))
        if isinstance(place.path, str):
            return _check_database(ctx, place.path)
        if home is not None:
            return place.path if place.exists else home / DEFAULT_STATE_DIR
    if names & {*_TARGETS, "folder"}:  # a new one may begin
        return place.path
    return _check_exists(place, is_run="run" in names)


def _check_database(ctx: click.Context, address: str) -> str:
    """Return the address. Raises InputError for `init`, which makes folders."""
    if ctx.info_name == "init":
        raise InputError(
            "`sender init` creates a folder", fix="`sender cluster init URL` creates a state in a database"
        )
    return str(read_database_url(address))


def _choose(names: str, values: Sequence[str]) -> str | None:
    """Return the only one of `values`, or None. Raises InputError for different ones."""
    different = list(dict.fromkeys(values))
    if len({os.path.abspath(value) for value in different}) > 1:  # noqa: PTH100 (a URL is not resolved)
        raise InputError(
            f"{names} name different states: {', '.join(map(_hide_password, different))}",
            fix="keep one of them: they mean the same",
        )
    return different[0] if different else None


def _hide_password(value: str) -> str:
    scheme = scheme_of(value)
    return value if scheme is None else f"{scheme}://..."


def _source_of(ctx: click.Context, target: Path | None) -> Path | None:
    """Return the file by which the state is found: the campaign, or a run that is named by one."""
    if target is not None:
        return target
    if ctx.params.get("campaigns_folder") is not None:
        return Path(ctx.params["campaigns_folder"])
    run = ctx.params.get("run")
    return Path(run) if run is not None and Path(run).is_file() else None


def _home_of(folder: Path) -> Path:
    """Return the folder of campaigns, which may be missing. A list stands for its folder."""
    return folder.parent if folder.is_file() else folder


def _nearest_folder(folder: Path) -> Path:
    """Return `folder`, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.absolute().parents) if path.is_dir())


def _check_exists(place: StatePlace, *, is_run: bool) -> Path | str:
    if place.exists:
        return place.path
    if place.searched:
        problem = f"there is no state directory in {', '.join(str(folder) for folder in place.searched)}"
    else:
        problem = f"there is no state directory at {place.path}"
    if is_run:
        raise UnknownRun(f"nothing has been sent from here: {problem}", fix="name it with --state")
    raise UnknownRun(problem, fix=MAKE_ONE)
