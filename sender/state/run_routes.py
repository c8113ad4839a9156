"""What a ledger knows of the routes of a run: a part of the protocol `Ledger`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sender.core.lazy_modules import pl
    from sender.state.ledger_values import RunRoute


class RunRoutes(Protocol):
    """The questions about a run's routes. Each raises UnknownRun for a run that is not there, and StateError."""

    def routes(self, run_id: str) -> tuple[RunRoute, ...]:
        """The run's routes in order; none where it has one way only, which the run itself names."""
        ...

    def accepted_by_route(self, run_id: str) -> dict[int, int]:
        """The number of accepted messages by the place of their route. Reads all rows of the run."""
        ...

    def moves(self, run_id: str) -> pl.DataFrame:
        """The attempts after which messages of the run went to another route, as MOVES_SCHEMA."""
        ...
