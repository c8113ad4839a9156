"""Plots as SVG elements of a page: drawn by matplotlib, coloured by the page's own style sheet.

Each plot is drawn twice, wide and narrow, so that its text stays readable on a phone; the style sheet shows one of
them. Colours are CSS variables, so a plot follows the page into dark mode and onto paper. The same values give the
same bytes. Needs matplotlib (the extra `report`).
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sender.reports.timeline import STEPS_S, Timeline

# The colours matplotlib draws with, and what replaces each of them in the page. No two may be alike.
_PAINT: Mapping[str, str] = {
    "#010101": "var(--text)",
    "#020202": "var(--soft)",
    "#030303": "var(--line)",
    "#040404": "var(--bar)",
    "#050505": "var(--good)",
    "#060606": "var(--bad)",
    "#070707": "var(--warn-line)",
    "#080808": "var(--accent)",
}
_TEXT, _SOFT, _LINE, _BAR, _GOOD, _BAD, _WARN, _ACCENT = _PAINT
_WIDE, _NARROW = (10.4, 2.9), (4.5, 3.1)  # inches; 72 units of the SVG each
_STYLE: Mapping[str, Any] = {
    "svg.fonttype": "none",  # text stays text: searchable, and in the page's own typeface
    "svg.hashsalt": "campaign-sender",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _SOFT,
    "axes.labelsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.8,
    "text.color": _TEXT,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _SOFT,
    "ytick.labelcolor": _SOFT,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "lines.linewidth": 2,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
_Draw = Callable[[Axes, bool], None]


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot in two widths, as SVG elements. `description` is read to people who cannot see it."""

    title: str
    description: str
    wide: str
    narrow: str


def draw_throughput(timeline: Timeline, per_s: float | None) -> Plot:
    """Draw messages submitted over time, by outcome. `per_s` is the rate limit, in messages a second."""
    outcomes = (
        ("accepted", timeline.accepted, _BAR),
        ("rejected", timeline.rejected, _BAD),
        ("unknown", timeline.unknown, _WARN),
    )
    series = [
        (name, [value / timeline.step_s for value in values], colour)
        for name, values, colour in outcomes
        if any(values)
    ]
    most = max((sum(heights) for heights in zip(*(values for _, values, _ in series), strict=True)), default=0.0)

    def draw(axes: Axes, narrow: bool) -> None:
        base = [0.0] * len(timeline.accepted)
        for name, values, colour in series:
            axes.bar(_bin_starts(timeline), values, timeline.step_s * 0.9, base, align="edge", color=colour, label=name)
            base = [low + value for low, value in zip(base, values, strict=True)]
        if per_s is not None and per_s <= 3 * most:
            axes.axhline(per_s, color=_SOFT, linewidth=1.2, linestyle="--", label="rate limit")
        _finish_axes(axes, timeline, narrow, "messages a second")

    return _make_plot("Submitted", f"Messages submitted a second over time; at most {most:.3g}.", draw)


def draw_arrivals(timeline: Timeline) -> Plot:
    """Draw the messages accepted, delivered and failed so far, over time."""
    outcomes = (
        ("accepted", timeline.accepted, _BAR),
        ("delivered", timeline.delivered, _GOOD),
        ("failed", timeline.failed, _BAD),
    )

    def draw(axes: Axes, narrow: bool) -> None:
        ends = [0.0, *(start + timeline.step_s for start in _bin_starts(timeline))]
        for name, values, colour in outcomes:
            if any(values):
                axes.plot(ends, _running_sums(values), color=colour, label=name)
        _finish_axes(axes, timeline, narrow, "messages so far")

    description = f"{sum(timeline.delivered):,} of {sum(timeline.accepted):,} accepted messages delivered, over time."
    return _make_plot("Accepted and delivered", description, draw)


def draw_latencies(timeline: Timeline) -> Plot:
    """Draw the time to delivery by the time of submission."""
    starts = _bin_starts(timeline)

    def draw(axes: Axes, narrow: bool) -> None:
        for name, values, colour, dash in (
            ("median", timeline.median_s, _BAR, "-"),
            ("95 %", timeline.p95_s, _ACCENT, "--"),
        ):
            points = [
                (at + timeline.step_s / 2, seconds)
                for at, seconds in zip(starts, values, strict=True)
                if seconds is not None
            ]
            times, heights = [at for at, _ in points], [seconds for _, seconds in points]
            axes.plot(times, heights, color=colour, linestyle=dash, label=name, marker="o", markersize=3)
        _finish_axes(axes, timeline, narrow, "seconds")

    description = "Seconds from submission to delivery, the median and the 95th percentile, by time of submission."
    return _make_plot("Time to delivery", description, draw)


def _bin_starts(timeline: Timeline) -> list[float]:
    """The start of each bin, in seconds after the first message."""
    return [timeline.step_s * number for number in range(len(timeline.accepted))]


def _running_sums(values: Sequence[int]) -> list[int]:
    sums = [0]
    for value in values:
        sums.append(sums[-1] + value)
    return sums


def _finish_axes(axes: Axes, timeline: Timeline, narrow: bool, unit: str) -> None:
    """Add axes and legend: round clock times below, the unit and the names above."""
    span_s = timeline.step_s * len(timeline.accepted)
    axes.set_xlim(0, span_s)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.05)
    most = 4 if narrow else 9
    tick_s = next((step for step in STEPS_S if span_s / step <= most), span_s / most)
    start_s = timeline.start.timestamp()
    first_s = -(-start_s // tick_s) * tick_s
    ticks_s = [first_s - start_s + tick_s * number for number in range(most + 1)]
    time_format = "%H:%M:%S" if tick_s < 60 else "%H:%M" if tick_s < 43_200 else "%d %b"
    if tick_s < 1:
        time_format += ".%f"
    labels = [datetime.fromtimestamp(start_s + tick, UTC).strftime(time_format) for tick in ticks_s]
    axes.set_xticks(ticks_s, [label[:-5] if tick_s < 1 else label for label in labels])
    axes.set_xlim(0, span_s)
    axes.locator_params(axis="y", nbins=5)
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.annotate(
        unit, (0, 1), (0, 8), xycoords="axes fraction", textcoords="offset points", color=_SOFT, annotation_clip=False
    )
    if axes.get_legend_handles_labels()[1]:
        axes.legend(
            loc="lower right",
            bbox_to_anchor=(1, 1.0),
            ncols=2 if narrow else 4,
            borderaxespad=0,
            handlelength=1.2,
            columnspacing=1.2,
        )


def _make_plot(title: str, description: str, draw: _Draw) -> Plot:
    wide, narrow = (_draw_svg(size, draw, description) for size in (_WIDE, _NARROW))
    return Plot(title, description, wide, narrow)


def _draw_svg(size: tuple[float, float], draw: _Draw, description: str) -> str:
    style: Any = dict(_STYLE)
    with rc_context(style):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot(), size == _NARROW)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _inline_svg(buffer.getvalue(), description)


def _inline_svg(svg: str, description: str) -> str:
    """Return the SVG element alone, in the page's colours, with ids of its own and nothing that styles the page."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>|<!--.*?-->\s*", "", body, flags=re.DOTALL)
    for paint, variable in _PAINT.items():
        body = body.replace(paint, variable)
    body = re.sub(r" font-family: [^;\"]*;?", "", body)
    width, height = re.findall(r'(?:width|height)="([\d.]+)pt"', body)[:2]
    start = f'<svg role="img" aria-label="{description}" viewBox="0 0 {width} {height}">'
    body = re.sub(r"<svg [^>]*>", start, body, count=1)
    prefix = "p" + hashlib.sha256(body.encode()).hexdigest()[:8]
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    return re.sub(r'(url\(#|xlink:href="#)', rf"\g<1>{prefix}-", body).strip()
