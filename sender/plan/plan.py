"""The Plan: every input row, in file order, as a message to send or as a skipped row with its reason.

Immutable, hashed, written as a directory (`plan.parquet` and `manifest.json`) and read back a block at a time.
`sender.planning.build` builds it; `send` reads only the plan. Never touches the network.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import cast

from sender.core.errors import PlanError
from sender.core.frame_schema import TEXTS, FrameSchema
from sender.core.lazy_modules import pl
from sender.core.outcomes import SkipReason
from sender.core.output_files import NOTHING_PROTECTED, OutputKind, Protected, check_output_folder, folder_beside
from sender.plan.hashes import hash_stored
from sender.plan.manifest import (
    FORMAT,
    MANIFEST_FILE,
    Manifest,
    missing_file,
    read_manifest,
)
from sender.plan.stored_rows import PLAN_FILE, ROW_GROUP, StoredRows, with_original_cells

_ROWS_IN_MEMORY = 50_000  # a written plan of up to this many rows stays in memory: some 25 MiB

# The plan's columns. `recipient` is a struct of the original cells, all text, exactly as they were read; of very many
# columns, the file has a list of them, whose headers are in the manifest.
# `seq` numbers the messages densely in file order and is null for a skipped row; `reason` is null for a message.
# `repair` says what was undone in the cell with the number, null where nothing was.
# `fields` has the message's own provider fields as a JSON object, null where it has only the manifest's.
# `cost_micros` is in millionths of the price table's currency, null without a price.
# `zone`, `zone_source` and `places` are where the recipient may be, as `sender.rules.places` has them, with `|` between
# several; null where no window and no rule asks for it. `variant` is the name of the message's variant, null without.
# `links` has a token, a blank and an address for each of the person's own links in the text; null without.
PLAN_SCHEMA = FrameSchema(
    {
        "row_number": "UInt32",
        "seq": "UInt32",
        "to": "String",
        "region": "String",
        "number_type": "String",
        "from_number": "String",
        "body": "String",
        "media": TEXTS,
        "fields": "String",
        "encoding": "String",
        "segments": "UInt32",
        "cost_micros": "Int64",
        "reason": "String",
        "detail": "String",
        "repair": "String",
        "zone": "String",
        "zone_source": "String",
        "places": "String",
        "variant": "String",
        "links": TEXTS,
    }
)


class Plan:
    """A plan in memory, in a temporary file, or written in `directory`. Never changes."""

    def __init__(
        self, manifest: Manifest, rows: pl.DataFrame | StoredRows | None, directory: Path | None = None
    ) -> None:
        self.manifest = manifest
        self.directory = directory
        self._rows = rows

    def __str__(self) -> str:
        """What a person asks first: the campaign, its messages and segments, and the skipped rows by reason."""
        manifest = self.manifest
        skipped = sorted(manifest.skipped.items(), key=lambda item: (-item[1], item[0]))
        lines = [
            f"{manifest.campaign} through {manifest.through}",
            ", ".join(
                f"{count:,} {noun}{'' if count == 1 else 's'}"
                for count, noun in (
                    (manifest.rows, "row"),
                    (manifest.messages, "message"),
                    (manifest.segments, "segment"),
                )
            ),
            f"skipped {manifest.rows - manifest.messages:,}: "
            + (", ".join(f"{count:,} {reason}" for reason, count in skipped) or "none"),
            f"plan {self.hash[:12]}" + (f" in {self.directory}" if self.directory is not None else ""),
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        manifest = self.manifest
        skipped = manifest.rows - manifest.messages
        return f"<Plan {manifest.campaign!r}: messages {manifest.messages:,}, skipped {skipped:,}, {self.hash[:12]}>"

    @property
    def hash(self) -> str:
        """SHA-256 in hex over every row and every setting that changes what is sent."""
        return self.manifest.plan_hash

    @cached_property
    def identity(self) -> str:
        """SHA-256 in hex over the messages alone: two plans that send the same to the same people share it."""
        manifest = self.manifest
        return manifest.identity or hash_stored(
            self.scan(),
            fields=manifest.fields,
            height=manifest.rows,
            messages=manifest.messages,
            limited=bool(manifest.skipped.get(SkipReason.LIMIT)),
        )

    @property
    def frame(self) -> pl.DataFrame:
        """Every input row in file order, as PLAN_SCHEMA says, with the original cells in the struct `recipient`."""
        frame = self.scan().collect()
        return frame.sort("row_number") if self.manifest.in_claim_order else frame

    def blocks(self, height: int, columns: Collection[str]) -> Iterator[pl.DataFrame]:
        """Yield these columns of the rows as `scan` has them, those that there are, `height` rows at a time, so that a
        large plan is never in memory whole.
        """
        rows = self.scan()
        rows = rows.select(name for name in rows.collect_schema() if name in columns)
        for start in range(0, self.manifest.rows, height):
            yield rows.slice(start, height).collect()

    @property
    def messages(self) -> pl.DataFrame:
        """The rows to send: `row_number, seq, to, from_number, body, media, encoding, segments` and the rest."""
        return self.scan().filter(pl.col("seq").is_not_null()).collect()

    @property
    def skipped(self) -> pl.DataFrame:
        """The rows that get no message, with `reason` and `detail`."""
        return self.scan().filter(pl.col("seq").is_null()).collect()

    def recipients(self) -> pl.Series:
        """Return the numbers that messages go to (String, distinct)."""
        return (
            self.scan().filter(pl.col("seq").is_not_null()).select(pl.col("to").drop_nulls().unique()).collect()["to"]
        )

    def scan(self) -> pl.LazyFrame:
        """Return the rows as a lazy frame, so that only what is needed of a large plan is read.

        They are in file order; those of a run with windows or a canary in the order of the claims, skipped rows last.
        """
        return with_original_cells(self.scan_stored(), self.manifest.headers)

    def scan_stored(self) -> pl.LazyFrame:
        """Return the rows as `scan` does, but with `recipient` as it is stored: of very many columns, a list."""
        if self.directory is not None:
            return pl.scan_parquet(self.directory / PLAN_FILE)
        return self._rows.scan() if isinstance(self._rows, StoredRows) else self._in_memory().lazy()

    def _in_memory(self) -> pl.DataFrame:
        return cast("pl.DataFrame", self._rows)

    def with_manifest(self, manifest: Manifest) -> Plan:
        """Return the plan with the same rows and another manifest, which the files of a written plan do not have."""
        return Plan(manifest, self._rows, self.directory)

    def write(self, directory: Path) -> Plan:
        """Write the plan and return it as read from `directory`, which appears whole or not at all.

        An older plan there is replaced, and is still there if the new one cannot be written. Raises InputError for a
        folder with anything else in it, and OSError. The rows of a large plan leave memory in this object too: a caller
        that sends may hold it for hours.
        """
        free = not directory.exists() or directory.parent.name == "plans"  # in a state directory, a run's plan stays
        target = check_plan_folder(directory, Protected(own=(directory,) if free else ()))
        with folder_beside(target, _FILES) as folder:
            self._write_rows(folder / PLAN_FILE)
            digest = _file_sha256(folder / PLAN_FILE)
            manifest = replace(self.manifest, parquet_sha256=digest, identity=self.identity, format=FORMAT)
            (folder / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
        return Plan(manifest, None, directory)

    def _write_rows(self, file: Path) -> None:
        if isinstance(self._rows, StoredRows):
            self._rows.copy_to(file)
        elif self.directory is not None:  # a copy, not a link: that folder is not ours
            shutil.copyfile(self.directory / PLAN_FILE, file)
        else:
            self._in_memory().write_parquet(file, compression="zstd", row_group_size=ROW_GROUP, statistics=False)
            if self.manifest.rows > _ROWS_IN_MEMORY:
                with suppress(OSError):  # no room for temporary files: it stays in memory
                    self._rows = StoredRows.link(file)

    @staticmethod
    def open(directory: str | Path) -> Plan:
        """Return the plan written in `directory`. Raises PlanError if it is missing, damaged, or of another format."""
        directory = Path(directory)
        manifest = read_manifest(directory)
        try:
            digest = _file_sha256(directory / PLAN_FILE)
        except FileNotFoundError:
            raise missing_file(PLAN_FILE, directory) from None
        if digest != manifest.parquet_sha256:
            raise PlanError(
                f"{PLAN_FILE} is damaged: its SHA-256 is not the one in {MANIFEST_FILE}",
                where=str(directory),
                fix="restore it from a backup; nothing is sent from a damaged plan",
            )
        return Plan(manifest, None, directory)


def check_plan_folder(directory: str | Path, protected: Protected = NOTHING_PROTECTED) -> Path:
    """Return the folder behind `directory` if a plan may be written there. Raises InputError.

    It may be missing, empty, or hold a written plan and nothing else.
    """
    return check_output_folder(directory, _PLAN, protected)


def _is_plan_folder(folder: Path) -> bool:
    """Whether there is a plan in the folder, of whatever version, and nothing else."""
    entries = list(folder.iterdir())
    if {entry.name for entry in entries} != set(_FILES) or any(entry.is_symlink() for entry in entries):
        return False
    manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    return isinstance(manifest, dict) and {"format", "plan_hash", "campaign"} <= manifest.keys()


_FILES = (PLAN_FILE, MANIFEST_FILE)
_PLAN = OutputKind("a written plan", _is_plan_folder)


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
