"""The outcomes of runs as Parquet files: `runs/RUN/outcomes.parquet`."""

from __future__ import annotations

from pathlib import Path

from sender.core.errors import StateError
from sender.core.filesystem import make_folder
from sender.core.lazy_modules import filelock, pl
from sender.core.output_files import write_whole
from sender.state.ledger import Run
from sender.state.recorded_outcomes import OUTCOMES_SCHEMA

OUTCOMES_FILE = "outcomes.parquet"
_LOCK_FILE = "outcomes.lock"
_LOCK_S = 30.0


class OutcomeFiles:
    """The outcomes in one state directory."""

    def __init__(self, runs: Path) -> None:
        """`runs` is the folder of the runs."""
        self._runs = runs

    def add(self, run: Run, outcomes: pl.DataFrame) -> int:
        file = self._file(run)
        try:
            make_folder(file.parent)
            with filelock.FileLock(file.with_name(_LOCK_FILE), timeout=_LOCK_S, mode=0o600):
                known = self.read(run)
                together = pl.concat([known, outcomes]).unique(maintain_order=True)
                if together.height > known.height:
                    write_whole(file, lambda stream: together.write_parquet(stream, compression="zstd"))
        except filelock.Timeout:
            raise StateError(
                "another process is importing outcomes of the run", where=str(file), fix="run the command again"
            ) from None
        except OSError as error:
            raise StateError(f"cannot be written: {error.strerror}", where=str(file), fix="see `df`") from error
        return together.height - known.height

    def read(self, run: Run) -> pl.DataFrame:
        file = self._file(run)
        if not file.exists():
            return pl.DataFrame(schema=OUTCOMES_SCHEMA)
        try:
            return pl.read_parquet(file).select(pl.col(name).cast(dtype) for name, dtype in OUTCOMES_SCHEMA.items())
        except (OSError, pl.exceptions.PolarsError) as error:
            raise StateError(
                f"the outcomes cannot be read: {str(error).splitlines()[0]}",
                where=str(file),
                fix="move the file away, and import the outcomes again",
            ) from error

    def _file(self, run: Run) -> Path:
        return self._runs / run.run_id / OUTCOMES_FILE
