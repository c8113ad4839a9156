"""Finding runs by what people call them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sender.core.errors import UnknownRun
from sender.state.ledger import Run, RunKind


def find_run(runs: Sequence[Run], target: str | Path, *, where: str) -> Run:
    """The run of `runs` (oldest first) that `target` names.

    `target` is a run id or its unique beginning, the path of a campaign or recipients file, or a campaign's name. Of
    several runs the newest is meant, and a test, a rehearsal or a retry only if there is nothing else. `where` names
    the state in the error. Raises UnknownRun.
    """
    name = str(target)
    begun = [run for run in runs if run.run_id.startswith(name)] if name else []
    exact = [run for run in begun if run.run_id == name]
    if exact or len(begun) == 1:
        return (exact or begun)[0]
    path = resolve_path(name)
    named = [run for run in runs if (run.source is not None and run.source == path) or run.campaign == name]
    if named:
        real = (RunKind.LIVE, RunKind.SANDBOX)
        return max(named, key=lambda run: (run.kind in real, run.retry_of is None, named.index(run)))
    newest = ", ".join(run.run_id for run in runs[-5:]) or "none"
    raise UnknownRun(
        f"several runs begin with {name!r}" if begun else f"no run is called {name!r}",
        where=where,
        fix=f"newest runs here: {newest} (`sender status` lists them)",
    )


def resolve_path(path: str | Path) -> str:
    """`path` as the ledger keeps it: absolute, without links."""
    return str(Path(path).expanduser().resolve())
