"""The evidence of a run, and of its retries, as one archive: what was approved, planned and sent, and its outcomes."""

from __future__ import annotations

import gzip
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

from sender.core.errors import InputError
from sender.core.lazy_modules import pl
from sender.core.output_files import OutputKind, Protected, check_output, write_beside
from sender.core.sign_text import find_own_key, sign_text
from sender.plan.manifest import MANIFEST_FILE
from sender.plan.plan import Plan
from sender.plan.stored_rows import PLAN_FILE
from sender.reports.compare_run import compare_run
from sender.reports.evidence_archive import is_archive, make_manifest, write_archive
from sender.reports.figures import build_figures, figures_to_dict
from sender.reports.run_results import protected_files
from sender.reports.summary import Summary, summarise
from sender.reports.table_files import dump_csv
from sender.state.approvals import RunApproval
from sender.state.ledger import Run
from sender.state.message_status import read_journal
from sender.state.state import State

NAMESPACE = "evidence@campaign-sender"
RUN_FILE, SUMMARY_FILE, REPORT_FILE, CHANGES_FILE = "run.json", "summary.json", "report.json", "changes.json"
JOURNAL_FILE, OUTCOMES_FILE = "journal.csv.gz", "outcomes.csv.gz"
APPROVED_FILE, APPROVALS_FILE, SIGNERS_FILE = (
    "approval/approval.json",
    "approval/approvals.json",
    "approval/allowed_signers",
)
_EVIDENCE = OutputKind("evidence of a run", is_archive)


def write_evidence(
    state: State,
    run: Run,
    file: str | Path | None = None,
    *,
    signed_as: str | None = None,
    key: str | Path | None = None,
    force: bool = False,
) -> Path:
    """Write what a run and its retries were and did to one archive, and return its path.

    The same state gives the same bytes. `file` is by default named after the run, in the current folder. With
    `signed_as` its list of hashes is signed, with the private SSH key in the file `key` (None: the first of `~/.ssh`).
    Raises InputError for a file that may not be replaced, PlanError for a run that was pruned, and StateError.
    """
    if key is not None and signed_as is None:
        raise InputError("who signs is missing", fix="name them: signed_as=... (--as NAME)")
    protected = Protected(protected_files(state, run).inputs, state.folder)
    path = Path(file or f"{_slug(run.campaign)}-{run.run_id}-evidence.tar")
    target = check_output(path, _EVIDENCE, protected, force=force)
    with tempfile.TemporaryDirectory() as made:
        members: dict[str, Path] = {}
        for each in (run, *(state.retries(run) if run.retry_of is None else ())):
            members |= _collect(state, each, Path(made))
        values = {
            "campaign": run.campaign,
            "run_id": run.run_id,
            "plan_hash": run.plan_hash,
            "versions": {"campaign-sender": version("campaign-sender")},
            "signed_as": signed_as,
        }
        manifest = make_manifest(values, members)
        signature = None
        if signed_as is not None:
            signature = sign_text(manifest.encode(), find_own_key() if key is None else Path(key), NAMESPACE)
        write_beside(target, lambda stream: write_archive(stream, manifest, members, signature), where=str(path))
    return path


def _collect(state: State, run: Run, made: Path) -> dict[str, Path]:
    """Write the members of one run below `made`, and return them by name."""
    plan, journal = state.plan(run), read_journal(state, run)
    folder = made / run.run_id
    (folder / "approval").mkdir(parents=True)
    _copy_plan(plan, folder / "plan")
    _write_rows(journal, folder / JOURNAL_FILE)
    comparison = compare_run(state, run, plan, journal)
    figures = build_figures(plan, journal, run, retries=state.retries(run), comparison=comparison)
    _write_json(folder / RUN_FILE, asdict(run))
    _write_json(folder / SUMMARY_FILE, summary_to_dict(summarise(plan, journal)))
    _write_json(folder / REPORT_FILE, figures_to_dict(figures))
    _write_json(folder / CHANGES_FILE, [*state.plans.changes(run)])
    outcomes = state.outcomes.read(run)
    if not outcomes.is_empty():
        _write_rows(outcomes, folder / OUTCOMES_FILE)
    if (approval := state.approvals.of_run(run)) is not None:
        _write_approval(approval, folder)
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(made).as_posix(): file for file in files}


def _copy_plan(plan: Plan, folder: Path) -> None:
    folder.mkdir()
    if plan.directory is None:
        plan.write(folder)
        return
    for name in (PLAN_FILE, MANIFEST_FILE):
        shutil.copyfile(plan.directory / name, folder / name)


def _write_approval(approval: RunApproval, folder: Path) -> None:
    """Write what was signed, and each signature, as `ssh-keygen -Y verify` takes them."""
    approved = approval.approved
    (folder / APPROVED_FILE).write_text(approved.text, encoding="utf-8", newline="\n")
    listed = [
        {"name": each.name, "key": each.key, "at_ms": each.at_ms, "signature": f"approval/{number}.sig"}
        for number, each in enumerate(approved.approvals, 1)
    ]
    _write_json(folder / APPROVALS_FILE, {"plan_sha256": approval.plan_sha256, "approvals": listed})
    for entry, each in zip(listed, approved.approvals, strict=True):
        (folder / str(entry["signature"])).write_text(each.signature, encoding="ascii", newline="\n")
    lines = "".join(f"{line}\n" for line in dict.fromkeys(each.signer for each in approved.approvals))
    (folder / SIGNERS_FILE).write_text(lines, encoding="utf-8", newline="\n")


def summary_to_dict(summary: Summary) -> dict[str, Any]:
    """Return a summary as plain values, as the archive has it."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(summary), default=str))
    return values


def _write_rows(frame: pl.DataFrame, file: Path) -> None:
    """Write a table as compressed CSV; the same table, the same bytes. What is empty is null."""
    moments = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.Datetime)]
    texts = frame.with_columns(
        pl.col(moments).dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"), pl.col(pl.String).replace("", None)
    )
    table = BytesIO()
    dump_csv(texts, table)
    with file.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as stream:
        stream.write(table.getbuffer())


def _write_json(file: Path, values: Mapping[str, Any] | list[Any]) -> None:
    file.write_text(json.dumps(values, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8", newline="\n")


def _slug(name: str) -> str:
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in name)
