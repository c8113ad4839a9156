"""Who may send a campaign: the protocol of the locks of runs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from sender.state.ledger import RunKind


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that sends a campaign. `since` is an ISO 8601 time, UTC."""

    pid: int
    host: str
    since: str

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host}, since {self.since}"


class RunLocks(Protocol):
    """One process at a time sends the runs of one kind of a campaign, with workers of its own."""

    def hold_campaign(self, campaign: str, kind: RunKind) -> AbstractContextManager[None]:
        """Hold the campaign for this process until the end of the block, or of the process.

        Raises RunLocked, which names the holder, at once. Workers of a process that is gone hold the campaign too:
        they may still wait for answers to requests.
        """
        ...

    def hold_start(self, campaign: str, kind: RunKind) -> AbstractContextManager[None]:
        """Hold the start of the campaign, which this process waits for. It may be sent meanwhile. Raises RunLocked."""
        ...

    def hold_worker(self, campaign: str, kind: RunKind, number: int) -> AbstractContextManager[None]:
        """Hold the place of one worker of the process that holds the campaign. Raises RunLocked.

        A worker takes its lock before it checks that its parent is alive, so that nobody takes over in between.
        """
        ...

    def note_longest_request(self, campaign: str, kind: RunKind, *, longest_s: float) -> None:
        """Keep how long a request of this process, which holds the campaign, may take.

        Whoever finds the process gone knows then when the last of them is over, where the system does not tell.
        """
        ...

    def holder(self, campaign: str, kind: RunKind) -> Holder | None:
        """The process that sends the campaign, where it left a note; None when there is none."""
        ...
