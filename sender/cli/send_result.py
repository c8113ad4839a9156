"""What `send`, `retry` and `resume` print at their end."""

from __future__ import annotations

import logging

from rich.markup import escape

from sender.cli import console, run_lines
from sender.reports.labels import held_until
from sender.sending.choose_run import format_utc
from sender.sending.run_result import RunResult

log = logging.getLogger("sender.cli")


def conclude(result: RunResult, *, as_json: bool) -> None:
    """Print what came of the run."""
    summary, run = result.summary, result.run
    log.info(
        "run %s ends: %s",
        run.run_id,
        summary.totals_line(),
        extra={
            "event": "run_ended",
            "run_id": run.run_id,
            "exit_code": result.exit_code,
            "results": str(result.results_path),
        },
    )
    if as_json:
        console.print_json(result.to_dict())
        _log_stop(result)
        return
    if result.resent:
        console.out.print(f"{console.many(result.resent, 'unknown message')} sent again on request (--resend-unknown)")
    settled = result.reconciled
    run_lines.about_unknowns(
        summary.unknown,
        run.run_id,
        decidable_at=settled.decidable_at,
        failure=settled.failure,
        contested=min(settled.contested, summary.unknown),
    )
    run_lines.run_summary(summary)
    run_lines.about_canary(run.canary)
    for number, why in result.taken_out.items():
        console.out.print(
            f"[yellow]taken out of the pool:[/] {escape(f'{number}: {why}')}; the other numbers sent its messages"
        )
    run_lines.about_delivery(result.refreshed, summary, run.run_id)
    console.out.print(f"results: {escape(str(result.results_path))}")
    if run.kind in ("sandbox", "rehearsal") or run.provider == "sandbox":
        console.out.print("[dim]simulated by the sandbox: no message left this machine[/]")
    if result.stopped is not None:
        _log_stop(result)
    else:
        _say_what_is_left(result)


def _log_stop(result: RunResult) -> None:
    """Log why the run stopped, if it did."""
    if result.stopped is not None:
        log.error("stopped: %s", result.stopped.sentence(), extra={"event": "stopped", "fix": result.stopped.fix})


def _say_what_is_left(result: RunResult) -> None:
    """Print, as the last line, why messages were not sent, and how they would be."""
    run, summary = result.run, result.summary
    if result.is_handed_over:
        console.out.print(
            f"the other machines continue: {summary.pending:,} pending; `sender status {run.run_id}` shows"
            f" the progress, `sender pause {run.run_id}` pauses the run"
        )
    elif run.closed_at_ms is not None:
        canceled = console.many(summary.canceled, "message")
        console.out.print(
            f"closed on {format_utc(run.closed_at_ms)} by {escape(run.closed_by or '')}: {canceled} canceled;"
            f" `sender retry {run.run_id} --status canceled` would send them"
        )
    elif run.paused_at_ms is not None:
        console.out.print(
            f"paused on {format_utc(run.paused_at_ms)} by {escape(run.paused_by or '')}: {summary.pending:,} pending;"
            f" `sender resume {run.run_id}` sends the rest"
        )
    elif summary.pending and result.held and not (result.interrupted or result.limit):
        waiting = sum(group.messages for group in result.held)
        console.out.print(
            f"--no-hold: {console.many(waiting, 'message')} held, the first until {held_until(result.held[0])};"
            " run the same command then"
        )
    elif summary.pending:
        why = f"--limit {result.limit} is done" if result.limit and not result.interrupted else "interrupted"
        again = "the same command without --limit" if result.limit else "the same command"
        console.out.print(f"{why}: {summary.pending:,} pending; {again} sends the rest")
