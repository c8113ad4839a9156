"""What monitoring gets from a command that sends: --metrics and --notify."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from sender.core.errors import SenderError
from sender.core.output_files import Protected
from sender.core.standard_webhooks import Event, Target, read_target
from sender.schedule.metrics import (
    CampaignMetrics,
    after_end,
    check_metrics_file,
    hide_numbers,
    read_metrics,
    write_metrics,
)
from sender.schedule.notify import name_error, notify, run_event
from sender.sending.run_result import RunResult

log = logging.getLogger("sender.cli")

metrics_option = click.option(
    "--metrics",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the result of the run as an OpenMetrics text file, for a collector to read.",
)
notify_option = click.option(
    "--notify", metavar="URL", help="Post the result of the run to this URL, signed with SENDER_WEBHOOK_SECRET."
)


@dataclass(slots=True)
class Monitor:
    """What is to be reported at the end of a command, and where to. Failures to report change no exit code."""

    metrics: Path | None = None
    target: Target | None = None
    campaign: str = ""
    begun_s: float = field(default_factory=time.time)
    result: RunResult | None = None

    def finish(self, exit_code: int, error: SenderError | None = None) -> None:
        """Report the end of the command: of `result`, if it is there, else without a run."""
        summary = None if self.result is None else self.result.to_dict()
        campaign = self.campaign if self.result is None else self.result.run.campaign
        if self.metrics is not None:
            self._write_metrics(self.metrics, campaign, exit_code, summary)
        if self.target is not None:
            self._notify(self.target, campaign, exit_code, summary, error)

    def _write_metrics(self, file: Path, campaign: str, exit_code: int, summary: Mapping[str, Any] | None) -> None:
        known = read_metrics(file)
        name = hide_numbers(campaign)
        before = known.get(name, CampaignMetrics(name))
        known[name] = after_end(before, exit_code=exit_code, now_s=time.time(), begun_s=self.begun_s, summary=summary)
        try:
            write_metrics(file, known.values())
        except SenderError as error:
            log.warning("the metrics were not written: %s", error, extra={"event": "metrics_failed"})

    def _notify(
        self,
        target: Target,
        campaign: str,
        exit_code: int,
        summary: Mapping[str, Any] | None,
        error: SenderError | None,
    ) -> None:
        now = datetime.now(UTC)
        if summary is not None and self.result is not None:
            event = run_event(summary, self.result.stopped, now)
        else:
            data = {"campaign": hide_numbers(campaign), "exit_code": exit_code, "error": name_error(error)}
            event = Event(f"start_{secrets.token_hex(8)}", "run.refused" if error else "run.empty", now, data)
        failure = notify(target, event)
        if failure is not None:
            log.warning("the notification was not delivered: %s", failure, extra={"event": "notify_failed"})


def read_monitor(metrics: Path | None, notify_url: str | None, env: Mapping[str, str], protected: Protected) -> Monitor:
    """Return the monitor that the options name. Raises InputError before anything is sent."""
    file = None if metrics is None else check_metrics_file(metrics, protected)
    target = None if notify_url is None else read_target(notify_url, env)
    return Monitor(file, target)
