"""A plan in a few lines, for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape
from rich.table import Table

from sender.cli import console
from sender.cli.duration import format_duration
from sender.cli.variant_lines import variant_rows
from sender.core.canary import CanaryTerms
from sender.core.durations import describe_duration
from sender.plan.manifest import Manifest
from sender.plan.plan import Plan
from sender.plan.planned_start import PlannedStart
from sender.plan.routes import route_manifest
from sender.planning import brakes
from sender.planning.scheduled_at import describe_send_at
from sender.planning.throughput import format_rate
from sender.segments.advice import advise

_MOST_BLAMED, _MOST_REGIONS, _MOST_SENDERS = 8, 6, 20  # shown in a summary; the manifest has all


def rate_line(manifest: Manifest) -> str:
    """Return `4 segments/s, about 3 min 20 s`, and what limits the rate."""
    pace = manifest.pace
    per_s, bound = manifest.per_s, manifest.feasibility.get("bound_by")
    if per_s is None:
        return "unlimited" + (f", up to {pace.concurrency} requests at once" if pace.concurrency else "")
    if bound is not None:
        limit = f"{bound} sends {pace.senders[bound] / per_s:.0%} of it at {format_rate(pace.senders[bound])}"
        return f"{format_rate(per_s, pace.unit)}, about {format_duration(manifest.expected_s)}: {limit}"
    own = "the sandbox's own" if manifest.provider == "sandbox" else "the documented limit"
    auto = f" (auto: {own})" if pace.rate == "auto" else ""
    unit = pace.unit.rstrip("s") if per_s == 1 else pace.unit
    return f"{per_s:g} {unit}/s{auto}, about {format_duration(manifest.expected_s)}"


def senders_line(manifest: Manifest) -> str:
    """Return the sender, the pool of senders, or the template that names one in each row."""
    if len(manifest.senders) > 1:
        more = f" and {len(manifest.senders) - _MOST_SENDERS} more" if len(manifest.senders) > _MOST_SENDERS else ""
        if manifest.pool is None:
            return f"by variant: {', '.join(manifest.senders[:_MOST_SENDERS])}{more}"
        match = manifest.pool.get("match")
        near = f", by {match.replace('_', ' ')}" if match else ""
        return f"a pool of {len(manifest.senders)}{near}: {', '.join(manifest.senders[:_MOST_SENDERS])}{more}"
    if "from" in manifest.templates:
        return f"{manifest.templates['from']}, in each row"
    return manifest.senders[0] if manifest.senders else manifest.service or "each row's own"


def plan_summary(
    plan: Plan, *, simulated: bool, where: str | None = None, stops: Sequence[brakes.Stop] | None = None
) -> None:
    """Print the plan in a few lines. `stops` are the limits that a start would pass; None: those of the plan alone."""
    manifest = plan.manifest
    channel = (
        f"sandbox, speaking {manifest.dialect}: simulated, nothing leaves this machine"
        if simulated
        else manifest.through
    )
    console.out.print(f"[bold]{escape(manifest.campaign)}[/] [dim]through {escape(channel)}[/]")
    console.out.print(_plan_table(manifest, where))
    if manifest.window:
        _print_times(plan)
    for note in (*manifest.notes, *manifest.feasibility.get("warnings", ())):
        console.out.print(f"  [yellow]note:[/] {escape(note)}")
    for entry in manifest.lint:
        console.out.print(f"  [yellow]text:[/] {escape(entry['warning'])} [dim](lint: {entry['rule']})[/]")
    for repair in manifest.numbers.get("repairs", ()):
        example = f"row {repair['row_number']}, `{repair['cell']}` to {repair['to']}"
        line = f"{console.many(repair['rows'], 'number')} repaired: {repair['repair']}, as in {example}"
        console.out.print(f"  [yellow]repair:[/] {escape(line)}")
    for swap in manifest.replacements:
        messages = console.many(swap["messages"], "message")
        line = f"replaced {swap['character']!r} with {swap['replacement']!r} in {messages}"
        console.out.print(f"  [dim]{escape(line)}[/]")
    for line in advise(manifest.blame, _MOST_BLAMED):
        console.out.print(f"  [dim]{escape(line)}[/]")
    for stop in brakes.find_stops(brakes.Start(manifest)) if stops is None else stops:
        console.out.print(f"  [bold red]would {'ask first' if stop.asks else 'not be sent'}:[/] {escape(stop.found)}")
        console.out.print(f"    [dim]{escape(stop.fix)}[/]")


def _print_times(plan: Plan) -> None:
    """Print when the messages would leave, if the plan were started now."""
    from sender.cli.window_lines import describe_forecast
    from sender.planning.forecast import foresee

    forecast = foresee(plan)
    for line in () if forecast is None else describe_forecast(forecast):
        console.out.print(f"      {escape(line)}" if line.startswith(" ") else f"  [bold]when:[/] {escape(line)}")


def _plan_table(manifest: Manifest, where: str | None) -> Table:
    """Return the totals, a line each; `where` is the folder of a written plan."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    files = ", ".join(file.path for file in manifest.inputs if file.role == "recipients")
    blank = f", {console.many(manifest.blank_rows, 'blank row')} left out" if manifest.blank_rows else ""
    parts = (
        ""
        if not manifest.messages
        else f"{console.many(manifest.segments, 'segment')}; {console.counted(manifest.encodings)}"
    )
    mms = f"; {manifest.mms:,} MMS" if manifest.mms else ""
    table.add_row("rows", f"{manifest.rows:,}", escape(f"from {files}{blank}"))
    table.add_row("messages", f"{manifest.messages:,}", escape(parts + mms))
    if manifest.messages:
        table.add_row("segments", f"{manifest.segments:,}", escape(_distribution(manifest)))
    if manifest.cost is not None:
        most = "at most, each by its most expensive route; " if manifest.routes else ""
        table.add_row("cost", manifest.cost["total"], escape(most + _cost_line(manifest.cost)))
    for number, text in variant_rows(manifest):
        table.add_row("variant", number, escape(text))
    table.add_row("skipped", f"{manifest.rows - manifest.messages:,}", escape(console.counted(manifest.skipped)))
    for place, route in enumerate(manifest.routes):
        table.add_row(f"route {place + 1}", route["cost"] or "", escape(_route_line(route_manifest(manifest, place))))
    if not manifest.routes:
        table.add_row("from", "", escape(senders_line(manifest)))
    if manifest.test_to:
        table.add_row("test to", "", escape(f"{manifest.test_to}, not the recipients"))
    table.add_row("rate", "", escape(rate_line(manifest)))
    if (terms := manifest.canary_terms) is not None:
        table.add_row("canary", f"{min(terms.first, manifest.messages):,}", escape(_canary_line(terms, manifest)))
    if (start := PlannedStart.from_manifest(manifest.start)) is not None:
        table.add_row("start", "", escape(f"{start}, at most {describe_duration(start.late_s)} late"))
    if (send_at := describe_send_at(manifest)) is not None:
        table.add_row("send at", "", escape(f"{send_at}, held by the provider until then"))
    table.add_row("plan", "", escape(f"{manifest.plan_hash[:12]}{f' in {where}' if where else ''}"))
    return table


def _route_line(manifest: Manifest) -> str:
    """Return `twilio, from +12125550142, 1 segment/s`, of a manifest from `route_manifest`."""
    per_s, unit = manifest.pace.per_s, manifest.pace.unit
    pace = "unlimited" if per_s is None else format_rate(per_s, unit)
    return f"{manifest.provider}, from {senders_line(manifest)}, {pace}"


def _canary_line(terms: CanaryTerms, manifest: Manifest) -> str:
    """Return `first, then up to 15 min for receipts; stops above 10 % failed, 5 % opted out`."""
    if terms.first >= manifest.messages:
        return "all of them: there are no others to hold back"
    limits = ", ".join(f"{100 * limit:g} % {name.value.replace('_', ' ')}" for name, limit in terms.stop_if.items())
    stops = f"; stops above {limits}" if limits else ""
    return f"first, then up to {format_duration(terms.wait_s)} for their receipts{stops}"


def _distribution(manifest: Manifest) -> str:
    """Return how many messages have how many segments: `37 messages of 1, 2 of 2`."""
    parts = [f"{count:,} of {size}" for size, count in manifest.segment_counts.items()]
    first, *rest = parts
    count = next(iter(manifest.segment_counts.values()))
    return ", ".join([first.replace(" of", " message of" if count == 1 else " messages of", 1), *rest])


def _cost_line(cost: Mapping[str, Any]) -> str:
    """Return `USD by prices.yaml: US 0.52, GB 0.05; 2 messages have no price (FR 2); at most 10.00`."""
    shares = list(cost["by_region"].items())
    shown = ", ".join(f"{region} {part['cost']}" for region, part in shares[:_MOST_REGIONS])
    more = f" and {len(shares) - _MOST_REGIONS} more" if len(shares) > _MOST_REGIONS else ""
    line = f"{cost['currency']} by {cost['table']}" + (f": {shown}{more}" if shown else "")
    if cost["unpriced"]:
        missing = sum(cost["unpriced"].values())
        where = ", ".join(f"{region} {count:,}" for region, count in list(cost["unpriced"].items())[:_MOST_REGIONS])
        line += f"; {console.many(missing, 'message')} without a price ({where}), not in the total"
    return line + (f"; at most {cost['max_cost']}" if cost["max_cost"] is not None else "")
