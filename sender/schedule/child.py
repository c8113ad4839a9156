"""A campaign that is sent by a process of its own, as `sender send` sends it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from sender.schedule.scheduled_folder import ScheduledCampaign


class Child(Protocol):
    """A process that sends a campaign."""

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        ...

    def terminate(self) -> None:
        """Ask it to finish what is under way, and to end."""
        ...

    def summary(self) -> Mapping[str, Any]:
        """What it printed at its end as JSON; empty where it printed nothing."""
        ...


Launch = Callable[[Sequence[str]], Child]


class ChildProcess:
    """A process of this program. Its log goes where ours goes. A `Child`."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (a pipe would have to be read meanwhile)
        # A group of its own: Ctrl-C on a terminal would reach it besides our own signal, and two of them mean at once.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "sender", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            start_new_session=True,
        )

    def poll(self) -> int | None:
        return self._process.poll()

    def terminate(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()

    def summary(self) -> Mapping[str, Any]:
        self._output.seek(0)
        try:
            values = json.loads(self._output.read())
        except ValueError:
            return {}
        return values if isinstance(values, dict) else {}


def send_arguments(
    campaign: ScheduledCampaign, tick: datetime, *, edition: str, state: Path | str, options: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the arguments of the command that sends `campaign` as of `tick`, as `edition`, with further `options`.

    `state` is an absolute path, or the URL of a database.
    """
    return (
        "send",
        str(campaign.file),
        "--yes",
        "--at",
        tick.isoformat(timespec="minutes"),
        "--edition",
        edition,
        "--late",
        f"{campaign.late_s:g}s",
        "--state",
        str(state),
        "--log-format",
        "json",
        "--json",
        *options,
    )
