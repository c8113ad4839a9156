"""A run over time: what happened when, how fast it was submitted, and how long delivery took.

Submission counts by the time of the intent, delivery by the time of the provider's final report. Reads no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sender.core.lazy_modules import pl
from sender.core.outcomes import Status, SubmissionState

_BINS = 60  # at most
_BIN_S = 0.5  # at least: outcomes are written in groups, and no rate can be measured within one
_PAUSE_S = 10.0  # a longer gap is a pause: the run was stopped and resumed, or waited for the provider's log
# Seconds that read well on a time axis.
STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from our intent to the provider's final report, for `count` delivered messages."""

    count: int
    median_s: float
    p95_s: float
    p99_s: float
    longest_s: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """Counts for each bin of `step_s` seconds from `start` on; each list has an item per bin.

    `median_s` and `p95_s` are latencies of what was submitted in the bin, None where none of it has been delivered.
    """

    start: datetime
    step_s: float
    accepted: list[int]
    rejected: list[int]
    unknown: list[int]
    delivered: list[int]
    failed: list[int]
    median_s: list[float | None]
    p95_s: list[float | None]


def submission_rate(submitted: pl.DataFrame) -> float | None:
    """Messages a second from the first intent to the last, without pauses; None where they are too close together."""
    times = submitted["_intent_at"].sort()
    last = times.max()
    if not isinstance(last, datetime):
        return None
    gaps_s = times.unique(maintain_order=True).diff().drop_nulls().dt.total_milliseconds() / 1000
    usual_s = gaps_s.median()
    longest_s = max(_PAUSE_S, 20 * usual_s) if isinstance(usual_s, float) else _PAUSE_S
    active_s = float(gaps_s.filter(gaps_s <= longest_s).sum())
    return times.filter(times < last).len() / active_s if active_s >= 1 else None


def peak_rate(submitted: pl.DataFrame) -> float | None:
    """The largest number of messages in any whole second; None where there is no rate."""
    if submission_rate(submitted) is None:
        return None
    seconds = submitted.group_by(pl.col("_intent_at").dt.truncate("1s")).len()
    return float(seconds["len"].max())  # type: ignore[arg-type]


def measure_latency(seconds: pl.Series) -> Latency | None:
    """Return the latency of delivered messages from the seconds of each (Float64); None without any."""
    if not seconds.len():
        return None
    median_s, p95_s, p99_s, longest_s = (seconds.quantile(q, "nearest") or 0.0 for q in (0.5, 0.95, 0.99, 1.0))
    return Latency(seconds.len(), median_s, p95_s, p99_s, longest_s)


def make_timeline(submitted: pl.DataFrame) -> Timeline | None:
    """Return the run in at most _BINS bins of a round number of seconds; None before the first message."""
    first = submitted["_intent_at"].min()
    ends = [end for end in (submitted["_intent_at"].max(), submitted["_final_at"].max()) if isinstance(end, datetime)]
    if not isinstance(first, datetime) or not ends:
        return None
    span_s = (max(ends) - first).total_seconds()
    steps = (step for step in STEPS_S if step >= _BIN_S and span_s < step * _BINS)
    step_s = next(steps, float(-(-span_s // _BINS) or 1))
    bins = int(span_s // step_s) + 1
    since_s = (pl.col("_intent_at") - first).dt.total_milliseconds() / 1000
    until_s = (pl.col("_final_at") - first).dt.total_milliseconds() / 1000
    binned = submitted.select(
        "_state",
        "status",
        "_latency_s",
        _bin=(since_s / step_s).floor().cast(pl.Int64),
        _end=(until_s / step_s).floor().cast(pl.Int64).clip(0, bins - 1),
    )
    begun = binned.group_by("_state", "_bin").len()
    ended = binned.group_by("status", "_end").len()

    def count_by(counted: pl.DataFrame, *values: str) -> list[int]:
        of, number, _ = counted.columns
        sums = dict(counted.filter(pl.col(of).is_in(values)).group_by(number).agg(pl.col("len").sum()).iter_rows())
        return [int(sums.get(at, 0)) for at in range(bins)]

    delivered = binned.filter((pl.col("status") == Status.DELIVERED.value) & pl.col("_latency_s").is_not_null())
    waits = delivered.group_by("_bin").agg(
        median=pl.col("_latency_s").quantile(0.5, "nearest"), p95=pl.col("_latency_s").quantile(0.95, "nearest")
    )
    by_bin: dict[int, tuple[float, float]] = {number: (median, p95) for number, median, p95 in waits.iter_rows()}
    return Timeline(
        start=first,
        step_s=step_s,
        accepted=count_by(begun, SubmissionState.ACCEPTED),
        rejected=count_by(begun, SubmissionState.REJECTED),
        unknown=count_by(begun, SubmissionState.UNKNOWN, SubmissionState.INTENT),
        delivered=count_by(ended, Status.DELIVERED),
        failed=count_by(ended, Status.UNDELIVERED, Status.FAILED),
        median_s=[by_bin[number][0] if number in by_bin else None for number in range(bins)],
        p95_s=[by_bin[number][1] if number in by_bin else None for number in range(bins)],
    )
