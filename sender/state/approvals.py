"""Who has approved what: the protocol of the store, and what it keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from sender.state.ledger import Run


@dataclass(frozen=True, slots=True)
class Approval:
    """One person's signature of an approval's text. `at_ms` is when it was entered, by this machine's clock.

    `signer` is the line of the allowed-signers file by which it counted then.
    """

    name: str
    key: str
    at_ms: int
    signature: str
    signer: str


@dataclass(frozen=True, slots=True)
class ApprovedText:
    """What was signed (`sender.plan.approval_text`), by whom, and where the written plan was."""

    text: str
    plan: str
    approvals: tuple[Approval, ...] = ()

    @property
    def key(self) -> str:
        """What names it in the store: the beginning of the text's SHA-256."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ApprovedText:
        """Return what `to_json` made values of. Raises KeyError and TypeError where parts are missing."""
        approvals = tuple(Approval(**entry) for entry in values["approvals"])
        return cls(values["text"], values["plan"], approvals)

    def after(self, before: ApprovedText) -> ApprovedText:
        """Return these approvals with those that were there `before`; of one person the newest counts."""
        by_name = {each.name: each for each in (*before.approvals, *self.approvals)}
        return replace(self, approvals=tuple(by_name.values()))


@dataclass(frozen=True, slots=True)
class RunApproval:
    """By what a run began. `plan_sha256` is the hash of the rows of the run's own plan as it began."""

    approved: ApprovedText
    plan_sha256: str | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**self.approved.to_json(), "plan_sha256": self.plan_sha256}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunApproval:
        """Return what `to_json` made values of. Raises KeyError and TypeError where parts are missing."""
        return cls(ApprovedText.from_json(values), values["plan_sha256"])


def sort_approved(found: Iterable[ApprovedText]) -> list[ApprovedText]:
    """Return them in the order of their newest approvals."""
    return sorted(found, key=lambda each: max((approval.at_ms for approval in each.approvals), default=0))


class ApprovalStore(Protocol):
    """The approvals of one state. They hold no numbers of recipients, and outlive plans and runs."""

    def add(self, approved: ApprovedText) -> ApprovedText:
        """Keep these approvals with those of the same text that are there, durably; return all.

        Of one person the newest counts. Raises StateError.
        """
        ...

    def read(self) -> Sequence[ApprovedText]:
        """All of them, in the order of their newest approvals. Raises StateError."""
        ...

    def note_run(self, run: Run, approval: RunApproval) -> None:
        """Keep by what the run begins, durably. Raises StateError."""
        ...

    def of_run(self, run: Run) -> RunApproval | None:
        """By what the run began; None for one that began without. Raises StateError."""
        ...
