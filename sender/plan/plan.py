"""The Plan: every input row, in file order, as a message to send or as a skipped row with its reason.

Immutable, hashed, written as a directory (`plan.parquet` and `manifest.json`) and read back from it a block at a
time. `sender.planning.build` builds it; `send` reads the plan and nothing else. Never touches the network.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from sender.core.errors import PlanError
from sender.core.filesystem import make_folder, sync_folder
from sender.core.outcomes import SkipReason
from sender.plan.hashes import hash_stored
from sender.plan.sender_pool import SenderPool
from sender.plan.stored_rows import PLAN_FILE, ROW_GROUP, StoredRows
from sender.planning import row_fields
from sender.providers.base import FieldValue, Message
from sender.recipients.columns import InputFile

FORMAT = 4
_READABLE = (3, 4)  # for good: a state directory outlives the version that wrote it
MANIFEST_FILE = "manifest.json"
_CHECKSUM = "sha256"  # the manifest's key for the checksum over its other keys
# The campaign keys that name a sender pool at the provider.
SERVICE_FIELDS = ("messaging_service_sid", "messaging_profile_id")
_KEPT_ROWS = 50_000  # a written plan of no more rows stays in memory: some 25 MiB
_FEW = 512  # messages behind the front for which no block is loaded

# The plan's columns. `recipient` is a struct of the original cells, all text, exactly as they were read.
# `seq` numbers the messages densely in file order and is null for a skipped row; `reason` is null for a message.
# `repair` says what was undone in the number's cell, null where nothing was.
# `fields` has the provider fields of this message alone as a JSON object, null where the manifest's are all.
# `cost_micros` is in millionths of the price table's currency, null without a price.
PLAN_SCHEMA: dict[str, pl.DataType] = {
    "row_number": pl.UInt32(),
    "seq": pl.UInt32(),
    "to": pl.String(),
    "region": pl.String(),
    "number_type": pl.String(),
    "from_number": pl.String(),
    "body": pl.String(),
    "media": pl.List(pl.String()),
    "fields": pl.String(),
    "encoding": pl.String(),
    "segments": pl.UInt32(),
    "cost_micros": pl.Int64(),
    "reason": pl.String(),
    "detail": pl.String(),
    "repair": pl.String(),
}


@dataclass(frozen=True, slots=True)
class Queue:
    """What may lie at the provider, accepted and not yet handed to a carrier, and how fast it gets less; in units."""

    units: float
    drained_per_s: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast, and how stubbornly. Not part of the hash: a run may be resumed at another pace.

    `per_s` is in `unit` (`messages` or `segments`, as the provider counts); None is unlimited. It is
    for all messages together; `senders` are the limits of single numbers beside it, in the same unit. `concurrency`
    None follows from the pace and the latency. `transport` is `fast` or `httpx`. `queue` None lets the provider's queue
    grow as it will.
    """

    rate: str
    per_s: float | None
    unit: str
    concurrency: int | None
    retries: int
    timeout_s: float
    source: str | None = None
    senders: Mapping[str, float] = field(default_factory=dict)
    transport: str = "fast"
    queue: Queue | None = None

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Pace:
        """What `asdict` made. Raises KeyError or TypeError when parts are missing."""
        queue = values.get("queue")
        return Pace(**{**values, "queue": Queue(**queue) if queue else None})


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the plan holds, in numbers, and what it was made from. JSON beside the plan's rows."""

    campaign: str
    provider: str
    dialect: str
    senders: tuple[str, ...]
    fields: Mapping[str, FieldValue]
    test_to: str | None
    rows: int
    messages: int
    blank_rows: int
    skipped: Mapping[str, int]
    segments: int
    segment_counts: Mapping[str, int]
    encodings: Mapping[str, int]
    mms: int
    replacements: tuple[Mapping[str, Any], ...]
    pace: Pace
    sandbox: Mapping[str, Any]
    inputs: tuple[InputFile, ...]
    versions: Mapping[str, str]
    plan_hash: str
    notes: tuple[str, ...] = ()
    # What `sender.segments.blame.blame` and `sender.planning.costs.totals` say; `cost` (None without a price table)
    # has also `max_cost` (decimal text or None) and `table`, the file.
    blame: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] | None = None
    # How numbers were read: `caution` (bool), `skip_types` (list), and `repairs`, most frequent first: `repair` (what
    # was undone), `rows`, and of the first of them `row_number`, `cell` and `to`.
    numbers: Mapping[str, Any] = field(default_factory=dict)
    # `from` and provider fields that each row fills in, by campaign key, as the campaign has them.
    templates: Mapping[str, FieldValue] = field(default_factory=dict)
    # A pool of senders: `weights` by number, and `match`. What `sender.planning.throughput.feasibility` says.
    pool: Mapping[str, Any] | None = None
    feasibility: Mapping[str, Any] = field(default_factory=dict)
    # Where the suppression list stood that the plan was held against (`mark`), and `skip_dead`; None without a list.
    suppression: Mapping[str, Any] | None = None
    # The run whose messages this plan sends again, and the how manyth time that is.
    retry_of: str | None = None
    retry: int = 0
    parquet_sha256: str | None = None
    # What recognises the plan, as `sender.plan.hashes` has it; None in a plan stored in format 3.
    identity: str | None = None
    format: int = FORMAT

    @property
    def service(self) -> str | None:
        """The service, profile or number group that picks a message's sender where `from_number` is null."""
        return service_of(self.fields)

    def sender_pool(self) -> SenderPool | None:
        """The pool to send from, with every number in it; None where there is no choice."""
        return None if self.pool is None else SenderPool(self.pool["weights"], self.pool["match"])

    @property
    def units(self) -> int:
        """What the pace counts for the whole plan."""
        return self.segments if self.pace.unit == "segments" else self.messages

    @property
    def per_s(self) -> float | None:
        """What the pace counts for the whole plan, a second of the time it takes; None when nothing limits it."""
        if self.feasibility.get("bound_by") is None or not self.expected_s:
            return self.pace.per_s
        return self.units / self.expected_s

    @property
    def expected_s(self) -> float | None:
        """Seconds the plan needs at its pace and within its numbers' limits; None when nothing limits it."""
        if "expected_s" in self.feasibility:
            told: float | None = self.feasibility["expected_s"]
            return told
        return self.units / self.pace.per_s if self.pace.per_s else None

    def to_json(self) -> str:
        """The manifest with a checksum over itself, so that a flipped byte in it is noticed."""
        values = json.loads(json.dumps(asdict(self), default=str))
        return json.dumps(values | {_CHECKSUM: _checksum(values)}, indent=2, ensure_ascii=False, sort_keys=True) + "\n"

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Manifest:
        """Raises ValueError when the checksum is not the content's, KeyError or TypeError when parts are missing."""
        values = dict(data)
        if values.pop(_CHECKSUM) != _checksum(values):
            raise ValueError("its checksum is not that of its content")
        values["senders"] = tuple(values["senders"])
        values["replacements"] = tuple(values["replacements"])
        values["notes"] = tuple(values["notes"])
        values["pace"] = Pace.from_json(values["pace"])
        values["inputs"] = tuple(InputFile(**entry) for entry in values["inputs"])
        return Manifest(**values)


class Plan:
    """A plan in memory, in a file that goes with it, or written in `directory`. Never changes."""

    def __init__(
        self, manifest: Manifest, rows: pl.DataFrame | StoredRows | None, directory: Path | None = None
    ) -> None:
        self.manifest = manifest
        self.directory = directory
        self._rows = rows

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
        return self._rows if isinstance(self._rows, pl.DataFrame) else self.scan().collect()

    @property
    def messages(self) -> pl.DataFrame:
        """The rows to send: `row_number, seq, to, from_number, body, media, encoding, segments` and the rest."""
        return self.scan().filter(pl.col("seq").is_not_null()).collect()

    @property
    def skipped(self) -> pl.DataFrame:
        """The rows that get no message, with `reason` and `detail`."""
        return self.scan().filter(pl.col("seq").is_null()).collect()

    def first_skipped(self, n: int) -> pl.DataFrame:
        """`row_number`, `reason` and `detail` of the first `n` of them; a large plan is not read as a whole."""
        skipped = self.scan().filter(pl.col("seq").is_null())
        return skipped.select("row_number", "reason", "detail").head(n).collect(engine="streaming")

    def recipients(self) -> pl.Series:
        """The numbers that messages go to (String, distinct)."""
        return self.scan().filter(pl.col("seq").is_not_null()).select(pl.col("to").unique()).collect()["to"]

    def scan(self) -> pl.LazyFrame:
        """The same rows to be read as far as they are asked for; a large plan's are in a file."""
        if self.directory is not None:
            return pl.scan_parquet(self.directory / PLAN_FILE)
        return self._rows.scan() if isinstance(self._rows, StoredRows) else self.frame.lazy()

    def write(self, directory: Path) -> Plan:
        """The same plan, now in `directory` and no longer in memory. The directory appears whole or not at all.

        A large plan leaves memory itself, too: whoever sends it may hold on to it for hours.
        """
        partial = directory.with_name(f".{directory.name}.{os.getpid()}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        make_folder(partial)
        file = partial / PLAN_FILE
        if isinstance(self._rows, StoredRows):
            self._rows.copy_to(file)
        elif self.directory is not None:  # a copy, and no link: that folder is somebody else's
            shutil.copyfile(self.directory / PLAN_FILE, file)
        else:
            self.frame.write_parquet(file, compression="zstd", row_group_size=ROW_GROUP, statistics=False)
            if self.manifest.rows > _KEPT_ROWS:
                with suppress(OSError):  # no room for temporary files: then it stays in memory
                    self._rows = StoredRows.of(file)
        manifest = replace(self.manifest, parquet_sha256=_file_sha256(file), identity=self.identity, format=FORMAT)
        (partial / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
        for path in partial.iterdir():
            path.chmod(0o600)
            _fsync(path)
        sync_folder(partial)
        if directory.exists():
            shutil.rmtree(directory)
        partial.replace(directory)
        sync_folder(directory.parent)  # the ledger may name the plan right after
        return Plan(manifest, None, directory)

    @staticmethod
    def open(directory: str | Path) -> Plan:
        """The plan written in `directory`. Raises PlanError when it is missing, damaged, or of another format."""
        directory = Path(directory)
        manifest = read_manifest(directory)
        try:
            found = _file_sha256(directory / PLAN_FILE)
        except FileNotFoundError:
            raise _missing(PLAN_FILE, directory) from None
        if found != manifest.parquet_sha256:
            raise PlanError(
                f"{PLAN_FILE} is damaged: its SHA-256 is not the one in {MANIFEST_FILE}",
                where=str(directory),
                fix="restore it from a backup; nothing is sent from a damaged plan",
            )
        return Plan(manifest, None, directory)


class MessageReader:
    """Reads a written plan's messages by `seq`, a block of its rows at a time. Holds at most two blocks."""

    _COLUMNS = ("seq", "to", "from_number", "body", "media", "fields", "segments")

    def __init__(self, plan: Plan, run_id: str, *, callback: str | None = None, block: int = ROW_GROUP) -> None:
        """`callback` is the URL for delivery reports, unless the campaign has its own."""
        self._scan = plan.scan().select(*self._COLUMNS)
        self._fields = {**({"status_callback": callback} if callback else {}), **plan.manifest.fields}
        self._run_id = run_id
        self._block = block
        self._starts: list[int] | None = None
        self._blocks: dict[int, pl.DataFrame] = {}

    def read(self, seqs: Sequence[int]) -> list[tuple[Message, int]]:
        """The messages of `seqs` with their segments, in that order."""
        found: dict[int, tuple[Message, int]] = {}
        far: list[int] = []
        for number, wanted in self._by_block(seqs).items():
            if number not in self._blocks and number < max(self._blocks, default=0) and len(wanted) < _FEW:
                far += wanted  # messages that waited for another try, behind the front
                continue
            start = self._first_seqs()[number]
            rows = self._loaded(number)
            low, high = wanted[0] - start, wanted[-1] - start + 1
            if high - low == len(wanted):
                found |= self._messages(rows.slice(low, high - low))
            else:
                found |= self._messages(rows[[seq - start for seq in wanted]])
        if far:
            found |= self._messages(self._scan.filter(pl.col("seq").is_in(far)).collect())
        return [found[seq] for seq in seqs]

    def units(
        self, unit: str, from_seq: int, also: Sequence[int] = (), *, below_seq: int | None = None
    ) -> dict[str | None, int]:
        """How many `messages` or `segments` (`unit`) each sender has in the messages from `from_seq` on and in `also`.

        None is the sender of messages whose number the provider picks. `below_seq` bounds both.
        """
        wanted = pl.col("seq") >= from_seq
        if also:
            wanted |= pl.col("seq").is_in(list(also))
        if below_seq is not None:
            wanted &= pl.col("seq") < below_seq
        counted = pl.col("segments").sum() if unit == "segments" else pl.len()
        found = self._scan.filter(wanted).group_by("from_number").agg(counted.cast(pl.Int64).alias("units"))
        return dict(found.collect(engine="streaming").iter_rows())

    def _by_block(self, seqs: Sequence[int]) -> dict[int, list[int]]:
        blocks: dict[int, list[int]] = {}
        starts, ordered = self._first_seqs(), sorted(seqs)
        if ordered and (first := bisect_right(starts, ordered[0])) == bisect_right(starts, ordered[-1]):
            return {first - 1: ordered}
        for seq in ordered:
            blocks.setdefault(bisect_right(starts, seq) - 1, []).append(seq)
        return blocks

    def _first_seqs(self) -> list[int]:
        """The first `seq` of each block of rows: numbers are dense, but skipped rows have none."""
        if self._starts is None:
            numbered = self._scan.select(pl.col("seq").is_not_null().alias("numbered")).with_row_index("row")
            counts = (
                numbered.group_by(pl.col("row") // self._block)
                .agg(pl.col("numbered").sum())
                .sort("row")
                .collect()["numbered"]
            )
            self._starts = [0, *counts.cast(pl.Int64).cum_sum().to_list()[:-1]]
        return self._starts

    def _loaded(self, number: int) -> pl.DataFrame:
        if number not in self._blocks:
            while len(self._blocks) > 1:
                del self._blocks[min(self._blocks)]
            rows = self._scan.slice(number * self._block, self._block).collect()
            self._blocks[number] = rows.filter(pl.col("seq").is_not_null())
        return self._blocks[number]

    def _messages(self, rows: pl.DataFrame) -> dict[int, tuple[Message, int]]:
        run_id, common = self._run_id, self._fields
        return {
            seq: (
                Message(
                    seq, make_ref(run_id, seq), to, sender, body, tuple(media or ()), row_fields.of_row(common, own)
                ),
                count,
            )
            for seq, to, sender, body, media, own, count in rows.iter_rows()
        }


def _checksum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def read_manifest(directory: Path) -> Manifest:
    """The manifest of the plan written in `directory`; its rows are not looked at. Raises PlanError as `Plan.open`."""
    try:
        data = json.loads((directory / MANIFEST_FILE).read_text(encoding="utf-8"))
        if data.get("format") not in _READABLE:
            raise PlanError(
                f"the plan has format {data.get('format')}, this version reads {_READABLE[0]} to {FORMAT}",
                where=str(directory),
                fix="make the plan again with `sender plan`",
            )
        return Manifest.from_json(data)
    except FileNotFoundError:
        raise _missing(MANIFEST_FILE, directory) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise PlanError(f"the manifest is damaged: {error}", where=str(directory), fix="make the plan again") from None


def _missing(name: str, directory: Path) -> PlanError:
    return PlanError(f"{name} is missing", where=str(directory), fix="make the plan again")


def service_of(fields: Mapping[str, FieldValue]) -> str | None:
    """The sender pool at the provider that a message's fields name."""
    if not fields:  # most messages; each is asked before it leaves
        return None
    return next((str(fields[key]) for key in SERVICE_FIELDS if key in fields), None)


def sender_shown(manifest: Manifest) -> pl.Expr:
    """Who a plan's message comes from: its number, or else the service that picks one, its own or the plan's."""
    picked = [row_fields.own_service(SERVICE_FIELDS)] if manifest.templates else []
    return pl.coalesce("from_number", *picked, pl.lit(manifest.service, pl.String))


def make_ref(run_id: str, seq: int) -> str:
    """The message's identity across attempts, crashes and machines; safe in a URL."""
    return f"{run_id}.{seq}"


def ref_of(run_id: str, seq: pl.Expr) -> pl.Expr:
    """`make_ref` of a column."""
    return pl.lit(make_ref(run_id, 0).removesuffix("0")) + seq.cast(pl.String)


def read_ref(ref: str | None) -> tuple[str, int] | None:
    """Run id and `seq` of what `make_ref` made; None for anything else."""
    run_id, _, seq = (ref or "").rpartition(".")
    return (run_id, int(seq)) if run_id and seq.isascii() and seq.isdigit() and len(seq) < 12 else None


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
