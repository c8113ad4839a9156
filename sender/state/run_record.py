"""One run as a ledger records it, and what kinds of runs there are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sender.core.canary import Canary
from sender.core.outcomes import CancelReason


class RunKind(StrEnum):
    """What a run reaches. A run is compared with runs of its own kind only."""

    LIVE = "live"
    SANDBOX = "sandbox"  # provider: sandbox
    REHEARSAL = "rehearsal"  # the provider's own dialect, spoken to the sandbox
    TEST = "test"  # --test-to: every message went to one number

    @classmethod
    def of(cls, provider: str, *, rehearse: bool) -> RunKind:
        """The kind of a run that goes to everybody."""
        if provider == "sandbox":
            return cls.SANDBOX
        return cls.REHEARSAL if rehearse else cls.LIVE


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a plan. `source` is the path the user named (campaign or recipients file), if any.

    `simulated`: it talks to the sandbox, whatever its kind. `account` is the public id of the account that sends it
    (None where credentials do not contain it): only that account's log shows what became of it. `retry_of` is the run
    whose messages this one sends again. `base_url` is the address of the provider's API that it is sent through (None:
    begun by a version that did not keep it): a provider's regions have accounts and logs of their own.

    `closed_at_ms`, `closed_by` (who or what did it) and `close_reason` say that nothing more of it is sent.
    `paused_at_ms` and `paused_by` say that nothing is sent until the pause is lifted. All are None otherwise.
    `canary` are the messages that go first, and what they have decided; None without them.
    """

    run_id: str
    campaign: str
    kind: RunKind
    provider: str
    plan_hash: str
    source: str | None
    rows: int
    messages: int
    skipped: int
    created_at_ms: int
    finished_at_ms: int | None = None
    simulated: bool = False
    account: str | None = None
    retry_of: str | None = None
    base_url: str | None = None
    closed_at_ms: int | None = None
    closed_by: str | None = None
    close_reason: CancelReason | None = None
    paused_at_ms: int | None = None
    paused_by: str | None = None
    canary: Canary | None = None

    @property
    def is_held(self) -> bool:
        """Whether nothing of it may be claimed: it is closed or paused."""
        return self.closed_at_ms is not None or self.paused_at_ms is not None
