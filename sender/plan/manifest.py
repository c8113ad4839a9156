"""A plan in numbers and settings, and the files it was built from: `manifest.json`, next to the plan's rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sender.core.canary import CanaryTerms
from sender.core.errors import PlanError
from sender.core.lazy_modules import pl
from sender.plan.message_fields import SERVICE_FIELDS, find_service, row_service
from sender.plan.pace import Pace
from sender.plan.sender_pool import SenderPool
from sender.recipients.input_file import InputFile

if TYPE_CHECKING:  # `sender.providers` has all adapters
    from sender.providers.base import FieldValue

FORMAT = 8
_READABLE = (3, 4, 5, 6, 7, 8)  # for good: a state directory outlives the version that wrote it
MANIFEST_FILE = "manifest.json"
_CHECKSUM = "sha256"  # the manifest's key for the checksum over its other keys


@dataclass(frozen=True, slots=True)
class Manifest:
    """The plan in numbers, its settings, and the files it was built from: the keys of `manifest.json`."""

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
    # From `sender.segments.blame.blame` and `sender.planning.costs.total_cost`; `cost` is None without prices.
    blame: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] | None = None
    # Warnings about texts: `rule`, `messages`, `row_number` of the first, and `warning`, a sentence.
    lint: tuple[Mapping[str, Any], ...] = ()
    # How numbers were read: `caution` (bool), `skip_types` and `held_types` (lists), and `repairs`, most frequent
    # first: `repair` (what was undone), `rows`, and the first row's `row_number`, `cell` and `to`.
    numbers: Mapping[str, Any] = field(default_factory=dict)
    # `from` and provider fields that each row fills in, by campaign key, as the campaign has them.
    templates: Mapping[str, FieldValue] = field(default_factory=dict)
    # A pool of senders: `weights` by number, and `match`. `feasibility` is from `sender.planning.throughput`.
    pool: Mapping[str, Any] | None = None
    feasibility: Mapping[str, Any] = field(default_factory=dict)
    # The suppression list's state when the plan was checked against it (`mark`), and `skip_dead`; None without a list.
    suppression: Mapping[str, Any] | None = None
    # The suppression files, as `sender.suppression.number_files.NumberFile` describes them: to be read at each start.
    suppress: tuple[Mapping[str, Any], ...] = ()
    # The run this plan retries, and the retry's number, from 1.
    retry_of: str | None = None
    retry: int = 0
    # The campaign's limits on a start, by name; `max_cost` is with the cost.
    limits: Mapping[str, Any] = field(default_factory=dict)
    # The messages that go first, as `sender.core.canary.CanaryTerms` describes them; None without them. `size` is how
    # many they are, once a run has started.
    canary: Mapping[str, Any] | None = None
    # Which edition of a recurring campaign this is; '' for the only one.
    edition: str = ""
    # When the campaign begins, as `sender.plan.planned_start` has it; None: when it is sent.
    start: Mapping[str, Any] | None = None
    # The most messages that a person may get in a rolling window, as `sender.core.frequency.parse_cap` reads them.
    per_person: tuple[str, ...] = ()
    # Whether people whom earlier runs have reached are left out, and what a start does when another run is unfinished.
    only_new: bool = False
    on_unfinished: str = "refuse"
    # What the campaign's `window` says, and its purpose; empty where every message may leave at any time. `waves` are
    # there once a run has started: `sender.plan.waves.Wave` in the order of the claims.
    window: Mapping[str, Any] = field(default_factory=dict)
    waves: tuple[Mapping[str, Any], ...] = ()
    # Who gets which text and who gets none, as `sender.core.experiment.Experiment` has it, each of its `variants` with
    # `messages`, `segments` and `cost_micros`; None where everybody gets the same.
    experiment: Mapping[str, Any] | None = None
    # What the links in the texts begin with (`base`), the `domains` that they may lead to, and the `length` of a token;
    # None where the campaign has none.
    links: Mapping[str, Any] | None = None
    # How many `approvals` a live run needs, and the absolute paths of the files `signers` and `revoked` (or None); None
    # where it needs none.
    approval: Mapping[str, Any] | None = None
    # The routes that the messages may go by, as `sender.plan.routes` reads them; none where there is one, which this
    # manifest describes. `overall_per_s` is what all of them together may send in a second; None without a limit.
    routes: tuple[Mapping[str, Any], ...] = ()
    overall_per_s: float | None = None
    # The headers of the list where it has very many columns: then the plan's file has a row's cells as a list.
    headers: tuple[str, ...] = ()
    parquet_sha256: str | None = None
    # The plan's identity, as `sender.plan.hashes` defines it; None in a plan stored in format 3.
    identity: str | None = None
    format: int = FORMAT

    @property
    def through(self) -> str:
        """The provider; of several routes all of them, in order: `signalwire, else twilio`."""
        return ", else ".join(route["provider"] for route in self.routes) or self.provider

    @property
    def service(self) -> str | None:
        """The service, profile or number group that picks a message's sender where `from_number` is null."""
        return find_service(self.fields)

    def input_paths(self, source: str | None) -> tuple[Path, ...]:
        """Where the files of `inputs` are, if `source` is the campaign (or the list) that the plan was made from.

        Of a plan whose campaign is not known, where they would be from the current folder.
        """
        folders = (Path(source).parent, Path()) if source is not None else (Path(),)
        return tuple(folder / entry.path for folder in folders for entry in self.inputs)

    def sender_pool(self) -> SenderPool | None:
        """Return the pool to send from, with every number enabled; None without a pool."""
        return None if self.pool is None else SenderPool(self.pool["weights"], self.pool["match"])

    @property
    def in_claim_order(self) -> bool:
        """Whether the plan is a run's own, whose rows are in the order of the claims."""
        return bool(self.waves) or "size" in (self.canary or {})

    @property
    def canary_terms(self) -> CanaryTerms | None:
        """What the campaign's `canary` asks for; None without one."""
        return None if self.canary is None else CanaryTerms.of(self.canary)

    @property
    def units(self) -> int:
        """The units of the whole plan, as the pace counts them."""
        return self.segments if self.pace.unit == "segments" else self.messages

    @property
    def per_s(self) -> float | None:
        """Units a second over the time that the plan takes; None when nothing limits it."""
        if self.feasibility.get("bound_by") is None or not self.expected_s:
            return self.pace.per_s
        return self.units / self.expected_s

    @property
    def expected_s(self) -> float | None:
        """Seconds that the plan takes at its pace and within its numbers' limits; None when nothing limits it."""
        if "expected_s" in self.feasibility:
            estimate: float | None = self.feasibility["expected_s"]
            return estimate
        return self.units / self.pace.per_s if self.pace.per_s else None

    def to_json(self) -> str:
        """Return the manifest as JSON, with a checksum over its content, so that damage is noticed."""
        values = json.loads(json.dumps(asdict(self), default=str))
        return json.dumps(values | {_CHECKSUM: _checksum(values)}, indent=2, ensure_ascii=False, sort_keys=True) + "\n"

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Manifest:
        """Return the manifest in `data`.

        Raises ValueError if the checksum does not match, KeyError or TypeError if parts are missing.
        """
        values = dict(data)
        if values.pop(_CHECKSUM) != _checksum(values):
            raise ValueError("its checksum does not match its content")
        values["senders"] = tuple(values["senders"])
        values["replacements"] = tuple(values["replacements"])
        values["notes"] = tuple(values["notes"])
        values["per_person"] = tuple(values.get("per_person", ()))
        values["lint"] = tuple(values.get("lint", ()))
        values["suppress"] = tuple(values.get("suppress", ()))
        values["waves"] = tuple(values.get("waves", ()))
        values["routes"] = tuple(values.get("routes", ()))
        values["headers"] = tuple(values.get("headers", ()))
        values["pace"] = Pace.from_json(values["pace"])
        values["inputs"] = tuple(InputFile(**entry) for entry in values["inputs"])
        return Manifest(**values)


def _checksum(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def read_manifest(directory: Path) -> Manifest:
    """Return the manifest of the plan written in `directory`, without reading rows. Raises PlanError as `Plan.open`."""
    try:
        data = json.loads((directory / MANIFEST_FILE).read_text(encoding="utf-8"))
        if data.get("format") not in _READABLE:
            raise PlanError(
                f"the plan has format {data.get('format')}; this version reads {_READABLE[0]} to {FORMAT}",
                where=str(directory),
                fix="write the plan again with `sender plan`",
            )
        return Manifest.from_json(data)
    except FileNotFoundError:
        raise missing_file(MANIFEST_FILE, directory) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise PlanError(f"the manifest is damaged: {error}", where=str(directory), fix="make the plan again") from None


def missing_file(name: str, directory: Path) -> PlanError:
    return PlanError(f"{name} is missing", where=str(directory), fix="make the plan again")


def has_variants(manifest: Manifest) -> bool:
    """Whether messages of the plan have variants."""
    return bool((manifest.experiment or {}).get("variants"))


def sender_shown(manifest: Manifest, *, route: str | None = None) -> pl.Expr:
    """The sender of a plan's message: its number, or else the service that picks one, the row's or the plan's.

    `route` is the column with the place of the message's route, where it may be another than the first.
    """
    picked = [row_service(SERVICE_FIELDS)] if manifest.templates else []
    planned = pl.coalesce("from_number", *picked, pl.lit(manifest.service, pl.String))
    if route is None or not manifest.routes:
        return planned
    services = [find_service(its["fields"]) for its in manifest.routes]
    other = pl.col(route).replace_strict(range(len(services)), services, default=None, return_dtype=pl.String)
    return pl.when(pl.col(route).fill_null(0) == 0).then(planned).otherwise(other)


def provider_shown(manifest: Manifest, *, route: str) -> pl.Expr:
    """The provider of a plan's message, whose route's place is in the column `route` (null: the first)."""
    names = [its["provider"] for its in manifest.routes] or [manifest.provider]
    return pl.col(route).fill_null(0).replace_strict(range(len(names)), names, default=manifest.provider)
