"""Approves a written plan: signs its text, or takes a signature that was made elsewhere, and keeps it in the state."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sender.core.clock import time_of_day_ms
from sender.core.errors import InputError, UnknownRun
from sender.core.sign_text import find_own_key, sign_text
from sender.core.ssh_signatures import SignatureError
from sender.plan.approval_text import NAMESPACE, approval_text
from sender.plan.plan import Plan
from sender.sending.approval import ApprovalTerms, CountedApprovals, count_approvals, find_terms
from sender.sending.choose_run import find_run_kind
from sender.state.approvals import Approval, ApprovalStore, ApprovedText
from sender.state.find_state import find_state
from sender.state.ledger import RunKind
from sender.state.open import open_approvals, open_state


@dataclass(frozen=True, slots=True)
class ApprovedPlan:
    """A plan with the approvals that count now, of how many that are `needed`."""

    plan: Plan
    counted: CountedApprovals
    needed: int

    @property
    def is_complete(self) -> bool:
        return len(self.counted.people) >= self.needed


def approve(
    plan: str | Path,
    name: str,
    *,
    key: str | Path | None = None,
    signature: str | None = None,
    again: bool = False,
    state_dir: str | Path | None = None,
) -> ApprovedPlan:
    """Approve the written plan in the folder `plan` as `name`, and return it with all approvals that count.

    It is signed with the private key in the file `key` (None: the first of `~/.ssh`), unless `signature` is what
    `ssh-keygen -Y sign` made of `text_to_approve`. `again` approves that people who have had it get it once more.
    Raises InputError for a signature that would not count, and StateError.
    """
    written = Plan.open(plan)
    state = find_state(plan).path if state_dir is None else state_dir
    terms = read_terms(written, state)
    text = text_to_approve(written, state, again=again)
    signers = terms.read_signers()
    made = signature
    if made is None:
        made = sign_text(text.encode(), find_own_key() if key is None else Path(key), NAMESPACE)
    now_ms = time_of_day_ms()
    try:
        line = signers.check(name, made, text.encode(), NAMESPACE, at_s=now_ms / 1000)
    except SignatureError as error:
        raise InputError(f"this approval by {name} would not count: {error}") from None
    approval = Approval(name, line.key.fingerprint, now_ms, made, line.text)
    store = open_approvals(state)
    _refuse_same_key(store, text, approval)
    approved = store.add(ApprovedText(text, str(Path(plan).absolute()), (approval,)))
    return ApprovedPlan(written, count_approvals(approved, terms, at_s=now_ms / 1000), terms.needed)


def text_to_approve(plan: Plan, state: str | Path, *, again: bool = False) -> str:
    """Return what is signed of the written plan. `again`: it is to be sent once more. Raises InputError."""
    newest = None
    if again:
        try:
            with open_state(state, read_only=True) as opened:
                runs = opened.runs_of(plan.manifest.campaign, RunKind.LIVE)
        except UnknownRun:
            runs = []
        if not runs:
            raise InputError(f"{plan.manifest.campaign} has not been sent yet", fix="leave out --again")
        newest = runs[-1].run_id
    return approval_text(plan, again_after=newest)


def read_terms(plan: Plan, state: str | Path) -> ApprovalTerms:
    """Return what an approval of the written plan has to be. Raises InputError where none is asked for."""
    if find_run_kind(plan.manifest, rehearse=False) is not RunKind.LIVE:
        raise InputError("no message of this plan reaches anybody, so it needs no approval", where=str(plan.directory))
    terms = find_terms(plan.manifest, source=plan.directory, state=state)
    if terms is None:
        raise InputError(
            f"{plan.manifest.campaign} requires no approval",
            fix="write `approval: required` into the campaign or into a sender.toml, and plan it again",
        )
    return terms


def read_approvals(
    plan: Plan, terms: ApprovalTerms, state: str | Path, *, again_after: str | None = None
) -> CountedApprovals:
    """Return the approvals of a written plan that count now. Raises InputError and StateError."""
    text = approval_text(plan, again_after=again_after)
    for approved in open_approvals(state).read():
        if approved.text == text:
            return count_approvals(approved, terms, at_s=time_of_day_ms() / 1000)
    return CountedApprovals(())


def _refuse_same_key(store: ApprovalStore, text: str, approval: Approval) -> None:
    """Raise InputError where the key has approved the text as another person."""
    for approved in store.read():
        for other in approved.approvals:
            if approved.text == text and other.key == approval.key and other.name != approval.name:
                raise InputError(
                    f"{other.name} has approved it with this key", fix="each person approves with their own key"
                )
