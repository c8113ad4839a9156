"""A run as a page: one self-contained HTML file that shows how the run went.

Shows the values of `sender.reports.figures` and nothing else. Needs matplotlib (the extra `report`).
"""

from __future__ import annotations

from collections.abc import Mapping

from babel import Locale

from sender import providers
from sender.reports.canary_lines import canary_lines
from sender.reports.comparison import comparison_lines
from sender.reports.figures import Figures
from sender.reports.labels import LEADS, amounts, share, share_delivered
from sender.reports.pages import page, plots

_GROUPS = 12  # countries, and senders, in a table


def run_html(figures: Figures) -> str:
    """Return the page. The same figures give the same bytes in the same time zone: this machine's is shown, too."""
    return page.render(
        "run.html.j2",
        figures=figures,
        summary=figures.summary,
        totals=figures.summary.totals_line(),
        title=_provider_title(figures),
        plots=_draw_plots(figures),
        leads=LEADS,
        comparison_lines=[] if figures.comparison is None else [*comparison_lines(figures.comparison)],
        canary=[] if figures.run.canary is None else canary_lines(figures.run.canary),
        countries=[(_country_name(group.name), group) for group in figures.countries[:_GROUPS]],
        more_countries=max(0, len(figures.countries) - _GROUPS),
        routes=[(providers.capabilities(group.name).title, group) for group in figures.routes],
        senders_named=[(group.name, group) for group in figures.senders[:_GROUPS]],
        more_senders=max(0, len(figures.senders) - _GROUPS),
        price=amounts(figures.summary.price),
        amounts=amounts,
        share=share,
        share_delivered=share_delivered,
        local_offset=_local_offset(figures),
        has_prices=any(group.price for group in figures.countries),
        has_plan=figures.cost_planned is not None,
    )


def _local_offset(figures: Figures) -> str:
    """`CET is UTC+01:00`: this machine's zone when the run began; blank where it is UTC."""
    local = None if figures.begun is None else figures.begun.astimezone()
    if local is None or not local.utcoffset():
        return ""
    offset = f"{local:%z}"
    return f"{local.tzname()} is UTC{offset[:3]}:{offset[3:5]}"


def _provider_title(figures: Figures) -> str:
    if figures.run.simulated or figures.provider == "sandbox":
        return "the sandbox"
    return providers.capabilities(figures.provider).title


def _draw_plots(figures: Figures) -> list[plots.Plot]:
    timeline = figures.timeline
    if timeline is None:
        return []
    drawings = [plots.draw_throughput(timeline, figures.planned_per_s if figures.unit == "messages" else None)]
    if any(timeline.delivered) or any(timeline.failed):
        drawings.append(plots.draw_arrivals(timeline))
    if figures.latency is not None:
        drawings.append(plots.draw_latencies(timeline))
    return drawings


def _country_name(code: str) -> str:
    """`US` as `United States`."""
    names: Mapping[str, str] = Locale("en").territories
    return names.get(code, code)
