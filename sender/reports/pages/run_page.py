"""A run as a page: one HTML file, complete in itself, for whoever wants to know how it went.

Shows what `sender.reports.figures` found and nothing else. Needs matplotlib (the extra `report`).
"""

from __future__ import annotations

from collections.abc import Mapping

from babel import Locale

from sender import providers
from sender.reports.figures import Figures
from sender.reports.labels import LEADS, amounts, share
from sender.reports.pages import page, plots

_GROUPS = 12  # countries, and senders, in a table


def run_html(found: Figures) -> str:
    """The page; the same figures give the same bytes."""
    return page.render(
        "run.html.j2",
        found=found,
        summary=found.summary,
        law=found.summary.law(),
        title=_title(found),
        plots=_plots(found),
        leads=LEADS,
        countries=[(_country(one.name), one) for one in found.countries[:_GROUPS]],
        more_countries=max(0, len(found.countries) - _GROUPS),
        senders_named=[(one.name, one) for one in found.senders[:_GROUPS]],
        more_senders=max(0, len(found.senders) - _GROUPS),
        price=amounts(found.summary.price),
        amounts=amounts,
        share=share,
        has_prices=any(one.price for one in found.countries),
        has_plan=found.cost_planned is not None,
    )


def _title(found: Figures) -> str:
    if found.run.simulated or found.provider == "sandbox":
        return "the sandbox"
    return providers.capabilities(found.provider).title


def _plots(found: Figures) -> list[plots.Plot]:
    line = found.timeline
    if line is None:
        return []
    drawn = [plots.throughput(line, found.planned_per_s if found.unit == "messages" else None)]
    if any(line.delivered) or any(line.failed):
        drawn.append(plots.arrivals(line))
    if found.latency is not None:
        drawn.append(plots.latencies(line))
    return drawn


def _country(code: str) -> str:
    """`US` as `United States`."""
    names: Mapping[str, str] = Locale("en").territories
    return names.get(code, code)
