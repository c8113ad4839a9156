"""Whether what a start would send has been approved: which written plan, by whom, and by how many.

Only live runs need an approval. What has been approved is a written plan: a start of the campaign that would send the
same sends that plan, so that later opt-outs and caps can only take people away. Reads; writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sender.core.clock import time_of_day_ms
from sender.core.errors import ApprovalMissing, InputError, PlanError
from sender.core.folder_defaults import find_folder_defaults
from sender.plan.approval_text import (
    NAMESPACE,
    approval_text,
    approved_settings,
    covered_settings,
    find_changes,
    without_start,
)
from sender.plan.manifest import Manifest
from sender.plan.plan import Plan
from sender.sending.choose_run import RunChoice, find_run_kind
from sender.sending.options import SendOptions
from sender.state.approvals import ApprovalStore, ApprovedText, RunApproval
from sender.state.ledger import Run, RunKind
from sender.state.open import folders_above, open_approvals
from sender.state.state import State

if TYPE_CHECKING:
    from sender.core.allowed_signers import Signers

_KEPT_BY_RETRIES = ("pace", "limits", "max_cost", "window", "per_person", "provider", "routes")


@dataclass(frozen=True, slots=True)
class ApprovalTerms:
    """How many people have to approve, and the files that say who may, and whose keys are revoked (or None)."""

    needed: int
    signers: Path
    revoked: Path | None

    def read_signers(self) -> Signers:
        """Return who may sign. Raises InputError."""
        from sender.core.allowed_signers import Signers  # noqa: PLC0415 (only campaigns with an approval need it)

        return Signers.read(self.signers, self.revoked)


@dataclass(frozen=True, slots=True)
class CountedApprovals:
    """Whose signatures count, as (name, key), and why others do not, as sentences."""

    people: tuple[tuple[str, str], ...]
    problems: tuple[str, ...] = ()


def find_terms(manifest: Manifest, *, source: str | Path | None, state: str | Path) -> ApprovalTerms | None:
    """Return what an approval of the plan has to be; None where none is asked for.

    The campaign asks for it, or a `sender.toml` found upwards from its file, from the current folder, or from the
    state: the most approvals that one of them asks for, by the files of the folder. Raises InputError where two folders
    name different files.
    """
    own = None if manifest.approval is None else _terms(manifest.approval)
    starts: list[tuple[Path, ...]] = [(Path(source).absolute().parent,)] if source is not None else []
    starts += [(Path.cwd(),), folders_above(state)]
    folders: dict[Path, ApprovalTerms] = {}
    for start in starts:
        defaults = find_folder_defaults(*start)
        if defaults is not None and defaults.file not in folders and "approval" in defaults.keys:
            from sender.campaign.apply_defaults import read_folder_approval  # noqa: PLC0415

            if (values := read_folder_approval(defaults)) is not None:
                folders[defaults.file] = _terms(values)
    if len({(terms.signers, terms.revoked) for terms in folders.values()}) > 1:
        raise InputError(
            f"{' and '.join(str(file) for file in folders)} name different files of allowed signers",
            fix="name the same `approval.signers` and `approval.revoked` in both",
        )
    asked = [*folders.values(), *([] if own is None else [own])]
    if not asked:
        return None
    return replace(asked[0], needed=max(terms.needed for terms in asked))


def _terms(values: Mapping[str, Any]) -> ApprovalTerms:
    revoked = values["revoked"]
    return ApprovalTerms(values["approvals"], Path(values["signers"]), None if revoked is None else Path(revoked))


def needs_approval(plan: Plan, options: SendOptions) -> ApprovalTerms | None:
    """Return the terms of a start of `plan`; None where it needs no approval. Raises InputError."""
    if find_run_kind(plan.manifest, rehearse=options.rehearse) is not RunKind.LIVE:
        return None
    return find_terms(plan.manifest, source=options.source, state=options.state_path)


def find_approved_plan(plan: Plan, options: SendOptions) -> Plan:
    """Return the written plan that has been approved for what `plan` would send; `plan` itself where there is none."""
    if plan.directory is not None or plan.manifest.retry_of is not None or needs_approval(plan, options) is None:
        return plan
    wanted = [covered_settings(each.manifest) for each in (plan, without_start(plan))]
    for approved in reversed(open_approvals(options.state_path).read()):
        if approved_settings(approved.text) not in wanted:
            continue
        try:
            written = Plan.open(approved.plan)
        except PlanError:
            continue
        if approval_text(written, again_after=_again_after(approved)) == approved.text:
            start = plan.manifest.start  # as --at says; a plan that was approved with a start has the same
            return written.with_manifest(replace(written.manifest, start=start))
    return plan


def check_approval(state: State, plan: Plan, options: SendOptions, choice: RunChoice) -> RunApproval | None:
    """Return by what a start of `plan` begins or goes on; None where it needs no approval.

    Raises ApprovalMissing where it is not there, or no longer counts, and InputError for files that cannot be read.
    """
    terms = needs_approval(plan, options)
    if terms is None:
        return None
    if choice.run is not None:
        return check_run_approval(state, choice.run, terms)
    if plan.manifest.retry_of is not None:
        return _check_retry(state, plan, terms)
    again = options.again or options.new_run
    before = state.runs_of(plan.manifest.campaign, RunKind.LIVE) if again else []
    return find_approval(state.approvals, plan, terms, again_after=before[-1].run_id if before else None)


def find_approval(store: ApprovalStore, plan: Plan, terms: ApprovalTerms, *, again_after: str | None) -> RunApproval:
    """Return the approval of a written plan that counts now. Raises ApprovalMissing and InputError."""
    known = store.read()
    if plan.directory is not None:
        texts = {approval_text(each, again_after=again_after) for each in (plan, without_start(plan))}
        for approved in known:
            if approved.text in texts:
                counted = count_approvals(approved, terms, at_s=time_of_day_ms() / 1000)
                if len(counted.people) >= terms.needed:
                    return RunApproval(approved, None)
                raise _too_few(plan, terms, counted)
    own = [each for each in known if approved_settings(each.text).get("campaign") == plan.manifest.campaign]
    raise _missing(plan, terms, own, again_after)


def check_run_approval(state: State, run: Run, terms: ApprovalTerms) -> RunApproval:
    """Return by what an approved run began. Raises ApprovalMissing where that no longer counts, and InputError.

    A key may have expired since the run began; one that was revoked, or taken out of the file, does not count.
    """
    approval = state.approvals.of_run(run)
    if approval is None:
        raise ApprovalMissing(
            f"run {run.run_id} of {run.campaign} began without an approval, but one is required now",
            fix=f"`sender close {run.run_id}` ends it; then plan with --only-new, and have that plan approved",
        )
    manifest = state.plans.manifest(run)
    if manifest is None or not _is_as_approved(state, run, approval, manifest):
        raise ApprovalMissing(
            f"the plan of run {run.run_id} is not the one that was approved: its file was changed",
            fix=f"restore {state.plans.folder(run)} from a backup, or end the run with `sender close {run.run_id}`",
        )
    counted = count_approvals(approval.approved, terms, at_s=run.created_at_ms / 1000)
    if len(counted.people) < terms.needed:
        raise ApprovalMissing(
            f"run {run.run_id} of {run.campaign} {_say_how_many(counted, terms)}",
            fix=f"`sender close {run.run_id}` ends it; then plan with --only-new, and have that plan approved",
        )
    return approval


def _is_as_approved(state: State, run: Run, approval: RunApproval, manifest: Manifest) -> bool:
    """Whether the run's plan is the one it began with, with the settings that were approved."""
    before, now = approved_settings(approval.approved.text), covered_settings(manifest)
    compared = _KEPT_BY_RETRIES if run.retry_of is not None else [name for name in {*before, *now} if name != "start"]
    same = all(before.get(name) == now.get(name) for name in compared)
    return same and is_descended(state, run, approval.plan_sha256, manifest.parquet_sha256)


def is_descended(state: State, run: Run, began_with: str | None, current: str | None) -> bool:
    """Whether the rows of a run's plan are those it began with, but for people who were erased since."""
    for change in state.plans.changes(run):
        if change["old_sha256"] == began_with:
            began_with = change["new_sha256"]
    return began_with == current


def count_approvals(approved: ApprovedText, terms: ApprovalTerms, *, at_s: float) -> CountedApprovals:
    """Return whose signatures count at that time: each person once, and each key once. Raises InputError."""
    from sender.core.ssh_signatures import SignatureError  # noqa: PLC0415

    signers = terms.read_signers()
    people: dict[str, str] = {}
    problems: list[str] = []
    for each in approved.approvals:
        try:
            line = signers.check(each.name, each.signature, approved.text.encode(), NAMESPACE, at_s=at_s)
        except SignatureError as error:
            problems.append(f"{each.name}'s approval does not count: {error}")
            continue
        key = line.key.fingerprint
        if key in people.values():
            problems.append(f"{each.name}'s approval does not count: its key {key} has signed as another person")
        else:
            people[each.name] = key
    return CountedApprovals(tuple(people.items()), tuple(problems))


def _check_retry(state: State, plan: Plan, terms: ApprovalTerms) -> RunApproval:
    """A retry sends again what an approved run has sent, at its pace and within its limits."""
    root = state.ledger.run(plan.manifest.retry_of or "")
    approval = check_run_approval(state, root, terms)
    before, now = approved_settings(approval.approved.text), covered_settings(plan.manifest)
    changed = [name for name in _KEPT_BY_RETRIES if before.get(name) != now.get(name)]
    if changed:
        raise ApprovalMissing(
            f"this retry of run {root.run_id} has other settings than were approved: {', '.join(changed)}",
            fix="leave out the options that change them",
        )
    return approval


def _again_after(approved: ApprovedText) -> str | None:
    run_id: str | None = json.loads(approved.text).get("again_after")
    return run_id


def _too_few(plan: Plan, terms: ApprovalTerms, counted: CountedApprovals) -> ApprovalMissing:
    others = "another person approves it" if counted.people else "approve it"
    return ApprovalMissing(
        f"this plan of {plan.manifest.campaign} {_say_how_many(counted, terms)}",
        fix=f"{others}: `sender approve {plan.directory} --as NAME`",
    )


def _say_how_many(counted: CountedApprovals, terms: ApprovalTerms) -> str:
    """Return `has 1 of 2 approvals (anna)`, and why others do not count."""
    names = f" ({', '.join(name for name, _ in counted.people)})" if counted.people else ""
    why = "".join(f"; {problem}" for problem in counted.problems)
    return f"has {len(counted.people)} of {terms.needed} approvals{names}{why}"


def _missing(
    plan: Plan, terms: ApprovalTerms, known: Sequence[ApprovedText], again_after: str | None
) -> ApprovalMissing:
    """The error for a plan that nobody has approved; `known` are the approvals of its campaign."""
    name = plan.manifest.campaign
    many = "an approval" if terms.needed == 1 else f"{terms.needed} approvals"
    again = " --again" if again_after is not None else ""
    approve = f"`sender approve {plan.directory or 'PLAN'} --as NAME{again}` approves it"
    fix = approve if plan.directory is not None else f"`sender plan CAMPAIGN` writes the plan, and {approve}"
    differs = next(_describe_differences(plan, known, again_after), None)
    if differs is not None:
        return ApprovalMissing(f"this is not the plan of {name} that was approved: {differs}", fix=fix)
    return ApprovalMissing(f"{name} needs {many} before it is sent, and nobody has approved this plan", fix=fix)


def _describe_differences(plan: Plan, known: Sequence[ApprovedText], again_after: str | None) -> Iterator[str]:
    """Yield what differs from each plan of the campaign that was approved, the newest first."""
    now = covered_settings(plan.manifest)
    for approved in reversed(known):
        if not approved.approvals:
            continue
        newest = max(approved.approvals, key=lambda approval: approval.at_ms)
        day = datetime.fromtimestamp(newest.at_ms / 1000, UTC).strftime("%Y-%m-%d")
        changed = find_changes(approved_settings(approved.text), now)
        if changed:
            said = ", ".join("the rows" if each == "plan_hash" else f"`{each}`" for each in changed)
            yield f"{said} changed since {newest.name} approved it on {day}"
        elif _again_after(approved) != again_after:
            yield "it was approved to be sent once, and sending it again needs its own approval"
        elif not Path(approved.plan).exists():
            yield f"its folder {approved.plan} is gone"
        else:
            yield f"{approved.plan} was changed since {newest.name} approved it on {day}"
