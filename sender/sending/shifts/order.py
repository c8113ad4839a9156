"""What every sender of a shared run is to do: kept in the database, as JSON. Holds no credentials."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace

from sender.delivery.provider_session import SANDBOX_URL
from sender.plan.pace import Pace
from sender.sending.options import SendOptions


@dataclass(frozen=True, slots=True)
class Order:
    """How to send a run, as whoever began it said. `shifts` is how many senders are wanted at once.

    `held` are the people whom the campaign's suppression files hold back, and why: other machines have no such files.
    `sandbox_url` is where a simulated run is sent.
    """

    pace: Pace
    shifts: int
    limit: int | None = None
    hold: bool = True
    settle_unknowns: bool = True
    settle: bool = False
    public_url: str | None = None
    wait_s: float | None = 0.0
    sandbox_url: str | None = None
    held: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(pace: Pace, shifts: int, options: SendOptions, held: Mapping[str, str]) -> Order:
        """The order of a start with these options."""
        return Order(
            pace=pace,
            shifts=shifts,
            limit=options.limit,
            hold=options.hold,
            settle_unknowns=options.settle_unknowns,
            settle=options.settle,
            public_url=options.public_url,
            wait_s=options.wait_s,
            sandbox_url=options.environment.get(SANDBOX_URL),
            held=dict(held),
        )

    @staticmethod
    def from_json(text: str) -> Order:
        """The order of which `to_json` made `text`. Raises KeyError, TypeError or ValueError for another text."""
        values = json.loads(text)
        known = {each.name for each in fields(Order)}
        return Order(
            **{name: values[name] for name in values if name in known} | {"pace": Pace.from_json(values["pace"])}
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    def options(self, state: str, environment: Mapping[str, str]) -> SendOptions:
        """The options of whoever sees the run to its end, with this machine's credentials."""
        return SendOptions(
            state_dir=state,
            env=self.environment(environment),
            limit=self.limit,
            hold=self.hold,
            settle_unknowns=self.settle_unknowns,
            settle=self.settle,
            public_url=self.public_url,
            wait_s=self.wait_s,
            shifts=self.shifts,
        )

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """This machine's environment, with the sandbox of a run that is simulated."""
        return {**environment} | ({SANDBOX_URL: self.sandbox_url} if self.sandbox_url else {})

    @property
    def own_pace(self) -> Pace:
        """One sender's share, for the size of its batches and its requests in flight; the limits are the whole."""
        count, fixed = max(1, self.shifts), self.pace.concurrency
        return replace(
            self.pace,
            per_s=None if self.pace.per_s is None else self.pace.per_s / count,
            concurrency=None if fixed is None else max(1, fixed // count),
        )
