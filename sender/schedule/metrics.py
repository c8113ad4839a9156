"""What monitoring gets to know of campaigns: an OpenMetrics text file for a collector to read.

Labels are a campaign's name and our own closed sets of statuses and reasons; never a person's number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sender.core.output_files import PUBLIC, OutputKind, Protected, check_output, write_text_beside

_PREFIX = "campaign_sender_"
_SENT = (0, 1)
# name -> (type, help); what it measures is in the name.
_FAMILIES: Mapping[str, tuple[str, str]] = {
    "last_success_timestamp_seconds": (
        "gauge",
        "When a run was last sent to its end (exit code 0 or 1).",
    ),
    "last_end_timestamp_seconds": ("gauge", "When the last start of the campaign ended, however it did."),
    "last_duration_seconds": ("gauge", "How long it took."),
    "last_exit_code": ("gauge", "Its exit code."),
    "last_messages": ("gauge", "Rows of its run, by status and reason."),
    "next_start_timestamp_seconds": ("gauge", "When the campaign is due by its schedule."),
    "held_messages": ("gauge", "Messages of its run that are held for later."),
    "missed_starts": ("counter", "Times of its schedule that nobody started."),
}
_SAMPLE = re.compile(
    rf'{_PREFIX}(\w+?)(_total)?\{{campaign="((?:[^"\\]|\\.)*)"(?:,status="(\w*)",reason="(\w*)")?\}} (\S+)'
)
_NUMBER = re.compile(r"\+\d{7,15}|\d{10,15}")
METRICS_FILE = OutputKind("a metrics file", lambda file: _is_metrics(file.read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True)
class CampaignMetrics:
    """What is known of one campaign; what is not is None. Times are seconds UTC.

    `messages` are the rows of its last run by status and reason ('' where there is none).
    """

    campaign: str
    last_success_s: float | None = None
    last_end_s: float | None = None
    duration_s: float | None = None
    exit_code: int | None = None
    messages: Mapping[tuple[str, str], int] = field(default_factory=dict)
    next_start_s: float | None = None
    held: int | None = None
    missed: int | None = None

    def values(self) -> dict[str, float | None]:
        """The value of each family but that of the messages."""
        return {
            "last_success_timestamp_seconds": self.last_success_s,
            "last_end_timestamp_seconds": self.last_end_s,
            "last_duration_seconds": self.duration_s,
            "last_exit_code": self.exit_code,
            "next_start_timestamp_seconds": self.next_start_s,
            "held_messages": self.held,
            "missed_starts": self.missed,
        }


def count_messages(summary: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    """Return the rows of a run by status and reason, from its summary as plain values."""
    counts: dict[tuple[str, str], int] = {("skipped", str(name)): n for name, n in summary.get("skipped", {}).items()}
    left = {str(name): int(n) for name, n in summary.get("statuses", {}).items() if name != "skipped"}
    for error in summary.get("errors", ()):
        status, reason, count = str(error["status"]), str(error["reason"] or ""), int(error["count"])
        if reason and status in left:
            counts[status, reason] = counts.get((status, reason), 0) + count
            left[status] -= count
    return counts | {(status, ""): n for status, n in left.items() if n > 0}


def count_held(summary: Mapping[str, Any]) -> int | None:
    """Return how many messages of a run wait for their window, from its summary as plain values; None for unknown."""
    return None if "held" not in summary else sum(int(group["messages"]) for group in summary["held"])


def after_end(
    before: CampaignMetrics, *, exit_code: int, now_s: float, begun_s: float, summary: Mapping[str, Any] | None
) -> CampaignMetrics:
    """Return the metrics after a start has ended; without a `summary` it was refused, and the counts stay."""
    return replace(
        before,
        last_success_s=now_s if exit_code in _SENT else before.last_success_s,
        last_end_s=now_s,
        duration_s=max(0.0, now_s - begun_s),
        exit_code=exit_code,
        messages=before.messages if summary is None else count_messages(summary),
        held=before.held if summary is None else count_held(summary),
    )


def render_metrics(campaigns: Iterable[CampaignMetrics]) -> str:
    """Return the metrics in the OpenMetrics text format, to its `# EOF`."""
    known = sorted(campaigns, key=lambda each: each.campaign)
    lines: list[str] = []
    for name, (kind, text) in _FAMILIES.items():
        samples = [line for each in known for line in _samples(name, kind, each)]
        if samples:
            lines += [f"# TYPE {_PREFIX}{name} {kind}", f"# HELP {_PREFIX}{name} {text}", *samples]
    return "\n".join([*lines, "# EOF", ""])


def _samples(name: str, kind: str, metrics: CampaignMetrics) -> Sequence[str]:
    label = f'campaign="{_escape(hide_numbers(metrics.campaign))}"'
    if name == "last_messages":
        return [
            f'{_PREFIX}{name}{{{label},status="{status}",reason="{reason}"}} {count}'
            for (status, reason), count in sorted(metrics.messages.items())
        ]
    value = metrics.values()[name]
    suffix = "_total" if kind == "counter" else ""
    return [] if value is None else [f"{_PREFIX}{name}{suffix}{{{label}}} {_format(value)}"]


def _is_metrics(text: str) -> bool:
    return text.startswith((f"# TYPE {_PREFIX}", "# EOF"))


def check_metrics_file(path: Path, protected: Protected) -> Path:
    """Return the file to write, if it may be written. Raises InputError."""
    return check_output(path, METRICS_FILE, protected, force=None)


def write_metrics(path: str | Path, campaigns: Iterable[CampaignMetrics]) -> None:
    """Write the metrics to `path`, whole or not at all. Raises InputError."""
    write_text_beside(Path(path), render_metrics(campaigns), mode=PUBLIC)


def read_metrics(path: Path) -> dict[str, CampaignMetrics]:
    """Return the campaigns of a file that `write_metrics` wrote, by their names there; none without such a file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    values: dict[str, dict[str, float]] = {}
    messages: dict[str, dict[tuple[str, str], int]] = {}
    for name, _, campaign, status, reason, value in _SAMPLE.findall(text):
        known = _unescape(campaign)
        values.setdefault(known, {})
        if name == "last_messages":
            messages.setdefault(known, {})[status, reason] = int(float(value))
        else:
            values[known][name] = float(value)
    return {name: _from_values(name, found, messages.get(name, {})) for name, found in values.items()}


def _from_values(name: str, values: Mapping[str, float], messages: Mapping[tuple[str, str], int]) -> CampaignMetrics:
    def count(key: str) -> int | None:
        return None if key not in values else int(values[key])

    return CampaignMetrics(
        name,
        values.get("last_success_timestamp_seconds"),
        values.get("last_end_timestamp_seconds"),
        values.get("last_duration_seconds"),
        count("last_exit_code"),
        messages,
        values.get("next_start_timestamp_seconds"),
        count("held_messages"),
        count("missed_starts"),
    )


def hide_numbers(text: str) -> str:
    """Return `text` without what may be a phone number: a campaign may be named after one."""
    return _NUMBER.sub("(number)", text)


def _format(value: float) -> str:
    return str(value) if isinstance(value, int) or value.is_integer() else f"{value:.3f}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: "\n" if match[1] == "n" else match[1], text)
