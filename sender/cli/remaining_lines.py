"""What `--resume` would send, for a person and as JSON: the rest of the unfinished run."""

from __future__ import annotations

from dataclasses import asdict

from rich.markup import escape

from sender.cli import console, plan_lines
from sender.cli.row_lines import print_messages, print_skipped
from sender.planning.forecast import foresee
from sender.sending.remaining import Remaining

_SHOWN = 3


def show_remaining(remaining: Remaining, *, as_json: bool) -> None:
    """Print the run that would be finished, and its messages that are still to be sent."""
    run, counts, plan = remaining.run, remaining.counts, remaining.plan
    if as_json:
        when = foresee(plan)
        console.print_json(
            {
                "resumes": run.run_id,
                "accepted": counts.accepted,
                "rejected": counts.rejected,
                "canceled": counts.canceled,
                "unknown": counts.unknown + counts.intent,
                "changes": list(remaining.changes),
                **asdict(plan.manifest),
                "expected_s": plan.manifest.expected_s,
                "when": None if when is None else when.to_dict(),
            }
        )
        return
    unknown = counts.unknown + counts.intent
    console.out.print(
        f"run {run.run_id} is unfinished: {counts.accepted:,} accepted, {counts.rejected:,} rejected,"
        f" {counts.canceled:,} canceled, {unknown:,} unknown, {plan.manifest.rows:,} pending; --resume would send:"
    )
    if remaining.changes:
        changes = escape("; ".join(remaining.changes))
        console.out.print(
            f"  [yellow]note:[/] the inputs have changed since it began ({changes}); it keeps its own plan"
        )
    if unknown:
        console.out.print(
            f"  [yellow]note:[/] {console.many(unknown, 'unknown message')} will be looked up in the provider's log"
            " first; those proved absent are sent, too"
        )
    plan_lines.plan_summary(plan, simulated=run.simulated)
    print_messages(plan, most=_SHOWN)
    print_skipped(plan)
