"""Who has approved what: the protocol of the store, and what it keeps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from sender.core.errors import InputError
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


@dataclass(frozen=True, slots=True)
class RunApproval:
    """By what a run began. `plan_sha256` is the hash of the rows of the run's own plan as it began."""

    approved: ApprovedText
    plan_sha256: str | None


class ApprovalStore(Protocol):
    """The approvals of one state. They hold no numbers of recipients, and outlive plans and runs."""

    def add(self, approved: ApprovedText) -> ApprovedText:
        """Keep these approvals with those of the same text that are there, durably; return all.

        Of one person the newest counts. Raises StateError, and InputError where approvals cannot be kept.
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


class NoApprovals:
    """The approvals of a state that does not hold any yet."""

    def __init__(self, where: str) -> None:
        """`where` names the state in an error."""
        self._where = where

    def add(self, approved: ApprovedText) -> ApprovedText:  # noqa: ARG002
        raise InputError(
            "a state in a database does not hold approvals yet",
            where=self._where,
            fix="keep the state of campaigns that need them in a folder",
        )

    def read(self) -> Sequence[ApprovedText]:
        return ()

    def note_run(self, run: Run, approval: RunApproval) -> None:
        raise NotImplementedError(f"{run.run_id} cannot begin with {approval.approved.key}")

    def of_run(self, run: Run) -> RunApproval | None:  # noqa: ARG002
        return None
