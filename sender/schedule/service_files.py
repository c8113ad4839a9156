"""What starts `sender schedule run` on a machine: a systemd unit, or a line for cron. Text only; installs nothing."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Service:
    """Where it runs: absolute paths of this machine, and further `options` of the command.

    `state` may be the URL of a database.
    """

    folder: Path
    state: Path | str
    user: str
    options: tuple[str, ...] = ()

    def command(self, *more: str) -> tuple[str, ...]:
        """Return the whole command line."""
        words = ("schedule", "run", str(self.folder), "--state", str(self.state))
        return (sys.executable, "-m", "sender", *words, *self.options, *more)


def systemd_unit(service: Service) -> str:
    """Return a unit file for a system's own manager. KillMode=mixed: the children are asked to end by their parent."""
    command = " ".join(_quote_for_systemd(word) for word in service.command())
    return f"""\
# /etc/systemd/system/campaign-sender.service
# then: systemctl daemon-reload && systemctl enable --now campaign-sender
[Unit]
Description=Campaigns of {_escape_for_systemd(str(service.folder))}
Wants=network-online.target time-sync.target
After=network-online.target time-sync.target

[Service]
Type=exec
User={service.user}
WorkingDirectory={_escape_for_systemd(str(service.folder))}
ExecStart={command}
KillMode=mixed
TimeoutStopSec=180
SuccessExitStatus=130
Restart=on-failure
RestartSec=10
# credentials, KEY=value a line, mode 0600:
# EnvironmentFile=/etc/campaign-sender.env

[Install]
WantedBy=multi-user.target
"""


def cron_line(service: Service) -> str:
    """Return lines for `crontab -e`: each minute what is due then, in the campaigns' own zones, whatever cron's is."""
    command = shlex.join(service.command("--once")).replace("%", "\\%")
    near = service.state if isinstance(service.state, Path) else service.folder
    log = shlex.quote(str(near / "schedule.log")).replace("%", "\\%")
    return f"""\
# Each minute, what is due by the campaigns' own schedules and zones. Credentials: add --env-file FILE.
* * * * * {command} >>{log} 2>&1
"""


def _escape_for_systemd(text: str) -> str:
    return text.replace("%", "%%")


def _quote_for_systemd(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return escaped if escaped and not _needs_quotes(escaped) else f'"{escaped}"'


def _needs_quotes(word: str) -> bool:
    special: Sequence[str] = (" ", "\t", "'", ";", '"')
    return any(letter in word for letter in special)
