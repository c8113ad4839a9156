"""The status of a run: its totals, its speed, when it will be over, and which process is sending it.

Read from what the ledger keeps of the run's totals, the plan's manifest and the heartbeat, so that any process may ask
while another one sends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sender.core import clock as system_clock
from sender.plan.manifest import Manifest
from sender.plan.waves import HeldMessages
from sender.reports.funnel import Stage, count_waiting, make_funnel
from sender.reports.held import HeldReader
from sender.reports.run_summary import read_manifest, summarise_totals
from sender.reports.summary import Summary
from sender.state.ledger import Counts, Run
from sender.state.locks import Holder
from sender.state.state import State
from sender.state.tallies import PaceBin, count_messages

_WINDOW_S = 15.0  # over which the speed is measured
_FRESH_S = 15.0  # after the last intent, nothing is being sent any more
_LOOK_BACK_S = round(_WINDOW_S + _FRESH_S)


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The status of a run at one moment.

    `per_s` is messages a second over the last seconds of sending (None: nothing is being sent). `eta_s` is the time
    until the last message has been submitted, as the sending process estimates it, or else at `per_s` or the planned
    rate (None: nothing is pending, or the rate is unlimited and nothing is being sent). `slowed_to_per_s` is the rate
    to which the provider's refusals have slowed the sending process (None: they have not). `waiting` counts accepted
    messages without a final status. `held` are the messages that wait for their window, those that open first first.
    """

    run: Run
    counts: Counts
    summary: Summary
    funnel: tuple[Stage, ...]
    waiting: int
    per_s: float | None
    eta_s: float | None
    slowed_to_per_s: float | None
    holder: Holder | None
    retries: tuple[str, ...]
    resent: int
    held: tuple[HeldMessages, ...] = ()
    routes: Mapping[str, int] = field(default_factory=dict)  # accepted messages by provider, where there are several

    @property
    def submitted(self) -> int:
        return self.run.messages - self.counts.pending - self.counts.intent

    @property
    def complete(self) -> bool:
        return not self.counts.pending + self.counts.intent


@dataclass(slots=True)
class StatusMonitor:
    """Reads a run's status again and again, from the totals that its ledger keeps: a reading takes milliseconds."""

    state: State
    run: Run
    _manifest: Manifest | None = None
    _held: HeldReader | None = None

    @property
    def manifest(self) -> Manifest:
        """The manifest of the run's plan, read once. Raises PlanError."""
        if self._manifest is None:
            self._manifest = read_manifest(self.state, self.run)
        return self._manifest

    def read(self) -> RunStatus:
        """Return the run's status now. Raises PlanError, StateError."""
        manifest = self.manifest
        ledger, run_id = self.state.ledger, self.run.run_id
        self.run = ledger.run(run_id)  # it may have been paused or closed meanwhile
        holder = self.state.locks.holder(self.run.campaign, self.run.kind)
        totals = ledger.totals(run_id)
        summary = summarise_totals(self.state, self.run, manifest, totals, is_sent_now=holder is not None)
        counts = count_messages(totals, self.run.messages)
        per_s = measure_rate(
            ledger.pace(run_id, since_s=ledger.now_ms() // 1000 - _LOOK_BACK_S), ledger.now_ms() / 1000
        )
        heartbeat = None if holder is None else self.state.heartbeats.read(self.run)
        eta_s = None if heartbeat is None else heartbeat.eta_s
        left = counts.pending + counts.intent
        now_ms = system_clock.time_of_day_ms()
        self._held = self._held or HeldReader(manifest.waves)
        held = self._held.read(ledger, run_id, pending=counts.pending, now_ms=now_ms)
        if held:  # nobody knows more than when the last of them may leave
            eta_s = max(eta_s or 0.0, (held[-1].until_ms - now_ms) / 1000)
        return RunStatus(
            run=self.run,
            counts=counts,
            summary=summary,
            funnel=make_funnel(summary),
            waiting=count_waiting(summary),
            per_s=per_s,
            eta_s=eta_s if left and eta_s is not None else _estimate_s(left, per_s, manifest),
            slowed_to_per_s=None if heartbeat is None else heartbeat.slowed_to_per_s,
            holder=holder,
            retries=tuple(retry.run_id for retry in self.state.retries(self.run)),
            resent=totals.resent,
            held=held,
            routes=_count_routes(self.state, self.run, manifest),
        )


def measure_rate(bins: Sequence[PaceBin], now_s: float) -> float | None:
    """Messages a second over the last seconds of sending; None where nothing is being sent."""
    claims = [(one.at_s, one.claimed) for one in bins if one.claimed]
    if not claims or now_s - claims[-1][0] > _FRESH_S:
        return None
    last_s = claims[-1][0]
    recent = [(at_s, claimed) for at_s, claimed in claims if at_s > last_s - _WINDOW_S]
    span_s = last_s - recent[0][0]
    return sum(claimed for at_s, claimed in recent if at_s < last_s) / span_s if span_s else None


def _count_routes(state: State, run: Run, manifest: Manifest) -> dict[str, int]:
    """The accepted messages by provider; empty where there is one."""
    if not manifest.routes:
        return {}
    accepted = state.ledger.accepted_by_route(run.run_id)
    return {route["provider"]: accepted.get(place, 0) for place, route in enumerate(manifest.routes)}


def _estimate_s(left: int, per_s: float | None, manifest: Manifest) -> float | None:
    """Seconds until `left` messages have been submitted, at `per_s` or else the planned rate; None if neither says."""
    if not left:
        return None
    if per_s:
        return left / per_s
    planned_s = manifest.expected_s
    return None if planned_s is None else planned_s * left / manifest.messages
