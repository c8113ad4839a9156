"""Checks the evidence of a run from its archive alone: every byte, the totals, the plan's hashes, who approved it."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sender.core.allowed_signers import Signers
from sender.core.clock import time_of_day_ms
from sender.core.errors import SenderError
from sender.core.lazy_modules import pl
from sender.core.safe_tables import restore_table
from sender.core.ssh_signatures import SignatureError, SshSignature
from sender.plan.approval_text import NAMESPACE as APPROVAL_NAMESPACE
from sender.plan.approval_text import approved_settings, covered_settings, find_changes, hash_messages
from sender.plan.plan import Plan
from sender.reports.evidence_archive import Archive, read_archive
from sender.reports.run_evidence import (
    APPROVALS_FILE,
    APPROVED_FILE,
    CHANGES_FILE,
    JOURNAL_FILE,
    NAMESPACE,
    RUN_FILE,
    SIGNERS_FILE,
    SUMMARY_FILE,
    summary_to_dict,
)
from sender.reports.summary import Summary, summarise
from sender.state.ledger import JOURNAL_SCHEMA


@dataclass(slots=True)
class RunEvidence:
    """What the archive proves of one run: its totals, the people who approved it, and what else is to be known."""

    run_id: str
    totals: str = ""
    approved_by: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class EvidenceCheck:
    """What a check found. `signed_by` is the name and the key of who signed the archive; None: nobody did.

    `problems` are sentences; without any the archive is sound.
    """

    campaign: str
    run_id: str
    members: int
    manifest_sha256: str
    signed_by: tuple[str, str] | None
    runs: tuple[RunEvidence, ...]
    problems: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        return not self.problems


def verify_evidence(
    file: str | Path, *, signers: str | Path | None = None, revoked: str | Path | None = None
) -> EvidenceCheck:
    """Check the archive in `file` without a state or a network, and return what was found.

    Signatures are checked against the allowed-signers file `signers` and the list of keys `revoked`; without them
    against the lines that the archive has, which whoever wrote it could choose. Raises InputError for a file that is no
    evidence at all.
    """
    allowed = None if signers is None else Signers.read(Path(signers), None if revoked is None else Path(revoked))
    with tempfile.TemporaryDirectory() as made:
        archive = read_archive(Path(file), Path(made))
        manifest = archive.manifest
        problems = [*archive.problems]
        signed_by = _check_signature(archive, allowed, problems)
        runs = []
        if not archive.problems:
            for run_id in sorted({str(member["name"]).split("/")[0] for member in manifest["members"]}):
                check = _RunCheck(Path(made) / run_id, run_id, allowed)
                problems += [f"run {run_id}: {problem}" for problem in check.find_problems()]
                runs.append(check.evidence)
    return EvidenceCheck(
        campaign=str(manifest.get("campaign")),
        run_id=str(manifest.get("run_id")),
        members=len(manifest["members"]),
        manifest_sha256=str(manifest["sha256"]),
        signed_by=signed_by,
        runs=tuple(runs),
        problems=tuple(problems),
    )


def _check_signature(archive: Archive, allowed: Signers | None, problems: list[str]) -> tuple[str, str] | None:
    if archive.signature is None:
        return None
    name = str(archive.manifest["signed_as"])
    try:
        signature = SshSignature.parse(archive.signature)
        signature.check(archive.text.encode(), NAMESPACE)
        if allowed is not None:
            allowed.find(name, signature, NAMESPACE, at_s=time_of_day_ms() / 1000)
        if signature.armored() != archive.signature:
            problems.append(f"the text of {name}'s signature was changed")
    except SignatureError as error:
        problems.append(f"{name}'s signature of the archive does not count: {error}")
        return None
    return name, signature.key.fingerprint


class _RunCheck:
    """One run of an archive whose bytes are sound."""

    def __init__(self, folder: Path, run_id: str, allowed: Signers | None) -> None:
        self._folder = folder
        self._allowed = allowed
        self.evidence = RunEvidence(run_id)

    def find_problems(self) -> Iterator[str]:
        """Yield what does not fit together."""
        try:
            run, plan = self._json(RUN_FILE), Plan.open(self._folder / "plan")
            summary = summarise(plan, self._read_journal())
            yield from self._check_totals(run, plan, summary)
            yield from self._check_approval(run, plan)
        except (OSError, ValueError, KeyError, TypeError, SenderError, pl.exceptions.PolarsError) as error:
            yield f"it cannot be read: {error}"

    def _check_totals(self, run: Mapping[str, Any], plan: Plan, summary: Summary) -> Iterator[str]:
        self.evidence.totals = summary.totals_line()
        if run["run_id"] != self.evidence.run_id or run["plan_hash"] != plan.hash:
            yield "its plan is another run's"
        if not summary.holds or summary.rows != run["rows"]:
            yield f"its totals do not add up: {summary.totals_line()}"
        if summary_to_dict(summary) != self._json(SUMMARY_FILE):
            yield f"{SUMMARY_FILE} is not what plan and journal say"

    def _check_approval(self, run: Mapping[str, Any], plan: Plan) -> Iterator[str]:
        if not (self._folder / APPROVED_FILE).exists():
            if plan.manifest.approval is not None and run["kind"] == "live":
                yield "it needed an approval and has none"
            return
        text = (self._folder / APPROVED_FILE).read_text(encoding="utf-8")
        approvals = self._json(APPROVALS_FILE)
        changes = self._json(CHANGES_FILE)
        yield from self._check_plan(run, plan, text, approvals["plan_sha256"], changes)
        people: dict[str, str] = {}
        for entry in approvals["approvals"]:
            try:
                key = self._check_person(entry, text, run["created_at_ms"] / 1000)
            except SignatureError as error:
                yield f"{entry['name']}'s approval does not count: {error}"
                continue
            if key not in people.values():
                people[str(entry["name"])] = key
        self.evidence.approved_by = tuple(people)
        needed = approved_settings(text).get("approvals", 1)
        if len(people) < needed:
            yield f"it needed {needed} approvals, and {len(people)} count"

    def _check_person(self, entry: Mapping[str, Any], text: str, at_s: float) -> str:
        """Return the key by which the person has approved the text. Raises SignatureError and InputError."""
        armored = (self._folder / str(entry["signature"])).read_text(encoding="ascii")
        signers = self._allowed or Signers.read(self._folder / SIGNERS_FILE)
        line = signers.check(str(entry["name"]), armored, text.encode(), APPROVAL_NAMESPACE, at_s=at_s)
        return line.key.fingerprint

    def _check_plan(
        self, run: Mapping[str, Any], plan: Plan, text: str, began_with: str | None, changes: list[Mapping[str, Any]]
    ) -> Iterator[str]:
        """Whether the plan is the one that was approved, but for people who were erased since."""
        for change in changes:
            if change["old_sha256"] == began_with:
                began_with = change["new_sha256"]
        if began_with != plan.manifest.parquet_sha256:
            yield "the rows of its plan were changed since it began"
        if run["retry_of"] is not None:
            self.evidence.notes.append(f"it sends messages of run {run['retry_of']} again, by the approval of that run")
            return
        differs = [
            name for name in find_changes(approved_settings(text), covered_settings(plan.manifest)) if name != "start"
        ]
        if differs:
            yield f"its settings are not those that were approved: {', '.join(differs)}"
        if changes:
            erased = f"{len(changes):,} {'person was' if len(changes) == 1 else 'people were'} erased from it"
            self.evidence.notes.append(f"{erased}: their messages cannot be compared with the approval any more")
        elif hash_messages(plan) != json.loads(text)["messages_sha256"]:
            yield "its messages are not those that were approved"

    def _read_journal(self) -> pl.DataFrame:
        with gzip.open(self._folder / JOURNAL_FILE, "rb") as stream:
            texts = restore_table(pl.read_csv(stream.read(), infer_schema=False))
        schema = pl.Schema(JOURNAL_SCHEMA)
        return texts.select(
            pl.col(name).str.to_datetime("%Y-%m-%dT%H:%M:%S%.3fZ", time_zone="UTC").cast(dtype)
            if isinstance(dtype, pl.Datetime)
            else (pl.col(name) == "true" if dtype == pl.Boolean else pl.col(name).cast(dtype))
            for name, dtype in schema.items()
        )

    def _json(self, name: str) -> Any:
        return json.loads((self._folder / name).read_text(encoding="utf-8"))
