"""`sender plan diff`: the differences between two plans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from sender.cli import console
from sender.cli.campaign_options import TARGET_HELP, campaigns_options, is_written_plan, read_plan
from sender.cli.shared_options import state_options

if TYPE_CHECKING:
    from sender.planning.diff import PlanDiff


@click.command(
    help="Show the differences between two plans: recipients added and removed, messages and costs changed."
    f" Sends nothing, writes nothing.\n\nA and B are like CAMPAIGN. {TARGET_HELP} The options set campaign keys; they"
    " do not change a written plan."
)
@campaigns_options
@click.option("--examples", type=click.IntRange(0), default=5, show_default=True, help="Examples of each kind.")
@click.option("--json", "as_json", is_flag=True, help="Counts and examples as JSON.")
@state_options
def plan_diff(
    a: Path, b: Path, examples: int, as_json: bool, debug: bool, state_dir: Path | str, **options: Any
) -> int:
    from sender.planning.diff import diff_plans

    console.set_up_logs(debug=debug)
    written = [is_written_plan(target) for target in (a, b)]
    no_options: dict[str, Any] = {}
    before, after = (
        read_plan(target, no_options if is_written and not all(written) else options, state_dir=state_dir)[0]
        for target, is_written in zip((a, b), written, strict=True)
    )
    diff = diff_plans(before, after)
    if as_json:
        console.print_json(diff.to_dict(examples))
    else:
        _print_sizes(diff, str(a), str(b))
        _print_differences(diff, examples)
    return 0


def _print_sizes(diff: PlanDiff, a: str, b: str) -> None:
    for letter, name, side in (("A", a, diff.a), ("B", b, diff.b)):
        cost = f", {side.cost} {side.currency}" if side.cost is not None else ""
        sizes = f"{console.many(side.messages, 'message')}, {console.many(side.segments, 'segment')}{cost}"
        console.out.print(f"[bold]{letter}[/] {escape(name)}: {console.many(side.rows, 'row')}, {escape(sizes)}")


def _print_differences(diff: PlanDiff, examples: int) -> None:
    """Print counts, and the first examples of each kind."""
    out, facts = console.out, diff.to_dict(examples)
    for kind, other in (("added", "A"), ("removed", "B")):
        out.print(f"[bold]{kind}[/] {facts['counts'][kind]:,}")
        for row in facts[kind]:
            why = f" (in {other} {row['reason']}: {row['detail']})" if row["reason"] else ""
            out.print(f"  row {row['row_number']} {escape(row['to'] + why)}")
    fields = ", ".join(f"{count:,} in {name}" for name, count in diff.changes.items() if count)
    out.print(f"[bold]changed[/] {facts['counts']['changed']:,}{f': {fields}' if fields else ''}")
    for change in facts["changed"]:
        rows = change["row_number"]
        where = f"row {rows['a']}" if rows["a"] == rows["b"] else f"row {rows['a']}, now {rows['b']}"
        out.print(f"  {where} {escape(change['to'])}")
        for name in diff.compared:
            if name in change:
                out.print(f"    {name} [red]{escape(repr(change[name]['a']))}[/]")
                out.print(f"    {' ' * len(name)} [green]{escape(repr(change[name]['b']))}[/]")
    out.print(f"[bold]same[/] {diff.same:,}")
    if "cost" not in diff.compared:
        out.print("  [dim]costs are not compared: both plans need prices in one currency[/]")
