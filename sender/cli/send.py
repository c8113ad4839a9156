"""`sender send`: announces what it will do, asks, sends, shows progress, and ends with the totals."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from sender.campaign.model import ListenSpec
from sender.cli import console, terminal
from sender.cli.listen import receiving
from sender.cli.outputs import protected_inputs
from sender.cli.preview import messages_table
from sender.cli.progress_display import progress_bar, progress_lines
from sender.cli.send_options import SendRequest, send_options
from sender.cli.shared_options import TARGET_HELP, campaign_options, only_new_option, read_plan
from sender.core.errors import InputError
from sender.core.outcomes import SkipReason
from sender.plan.plan import Plan
from sender.sending import event_loop
from sender.sending.open_run import open_run
from sender.sending.options import SendOptions
from sender.sending.run import RunSession
from sender.sending.run_result import RunResult

log = logging.getLogger("sender.cli")

_HELD_BACK_BY_RUNS = {SkipReason.ALREADY_SENT, SkipReason.FREQUENCY_CAP}


@click.command(help=f"Send a campaign; run it again to resume.\n\n{TARGET_HELP}")
@campaign_options
@click.option("--test-to", metavar="NUMBER", help="Send the first message (or --limit N) to this number instead.")
@only_new_option
@click.option("--again", is_flag=True, help="Send once more, to everybody, also to those who have had it.")
@click.option("--new-run", is_flag=True, help="Start over although a run is unfinished: people may get it twice.")
@click.option("--resume", is_flag=True, help="Finish the unfinished run with the plan it began with.")
@send_options
def send(
    campaign: Path,
    *,
    test_to: str | None,
    again: bool,
    new_run: bool,
    resume: bool,
    only_new: bool,
    request: SendRequest,
    **campaign_keys: Any,
) -> int:
    if only_new and again:
        raise InputError("--only-new and --again contradict each other", fix="choose one of them")
    options = request.options
    plan, built_from = read_plan(
        campaign,
        campaign_keys,
        state_dir=Path(options.state_dir),
        limit=options.limit if test_to else None,
        test_to=test_to,
        only_new=only_new,
        rehearse=options.rehearse,
    )
    options = replace(
        options,
        limit=None if test_to else options.limit,
        again=again,
        new_run=new_run,
        resume=resume,
        source=built_from.source if built_from else campaign,
    )
    inputs = (*request.inputs, *protected_inputs(campaign, plan, built_from))
    return send_plan(
        plan, replace(request, options=options, inputs=inputs), built_from.listen if built_from else ListenSpec()
    )


def send_plan(plan: Plan, request: SendRequest, listen: ListenSpec) -> int:
    """Show what will be done, ask, send `plan`, show the result, and return the exit code.

    `listen` is the campaign's own setting of where delivery reports come in.
    """
    options = request.options
    if not request.as_json:
        console.plan_summary(plan, simulated=options.rehearse or plan.manifest.provider == "sandbox")
        console.skipped_table(plan, most=10)
    if not plan.manifest.messages and plan.manifest.skipped.keys() & _HELD_BACK_BY_RUNS:
        _show_nobody_new(plan, as_json=request.as_json)
        return 0
    if request.dry_run:
        _show_dry_run(plan, as_json=request.as_json)
        return 0
    with open_run(plan, options) as session:
        session.check_credentials(options)
        session.check_results_path(options, request.inputs)
        if not request.as_json:
            _announce(session, options)
            _announce_unknowns(session, options)
        if options.resend_unknown:
            _warn_of_resending(session, options)
        if not request.yes:
            _ask(session, options)
        with receiving(session, options, listen, request.listen) as receiving_options:
            _log_start(session)
            result = event_loop.run(_send(session, receiving_options, show_bar=request.show_bar))
    _conclude(result, as_json=request.as_json)
    return result.exit_code


def _show_nobody_new(plan: Plan, *, as_json: bool) -> None:
    if as_json:
        console.print_json({"nobody_new": True, **asdict(plan.manifest), "expected_s": plan.manifest.expected_s})
    else:
        capped = SkipReason.FREQUENCY_CAP in plan.manifest.skipped
        enough = ", or as many messages as limits.per_person allows" if capped else ""
        console.out.print(f"everybody who can be texted has had it{enough}: nothing was sent")


def _show_dry_run(plan: Plan, *, as_json: bool) -> None:
    if as_json:
        console.print_json({"dry_run": True, **asdict(plan.manifest), "expected_s": plan.manifest.expected_s})
    else:
        messages_table(plan, most=3)
        console.out.print("dry run: nothing was sent")


def _announce(session: RunSession, options: SendOptions) -> None:
    """Print what is about to happen."""
    counts, run = session.counts(), session.run
    if session.resumed:
        console.out.print(
            f"resuming run {run.run_id}: {counts.accepted:,} accepted, {counts.rejected:,} rejected,"
            f" {counts.unknown:,} unknown, {counts.pending:,} to send"
        )
    elif session.repeated:
        people = console.many(session.repeated, "person", "people")
        have, get = ("has", "gets") if session.repeated == 1 else ("have", "get")
        console.out.print(
            f"[yellow]note:[/] {people} who {have} had {escape(run.campaign)}, or may have had it, {get} it once more"
        )
    if options.limit is not None:
        todo = max(0, min(counts.pending, options.limit - (run.messages - counts.pending)))
        console.out.print(f"--limit {options.limit}: {console.many(todo, 'message')} now, the others stay pending")


def _announce_unknowns(session: RunSession, options: SendOptions) -> None:
    """Print what the last process left unknown, and what will be done about it."""
    unknown = session.counts().unknown
    if not unknown:
        return
    rest = "the rest is sent again" if options.resend_unknown else "the rest stays unknown and is not sent again"
    if session.orphans:
        were_in_flight = "was in flight" if session.orphans == 1 else "were in flight"
        console.out.print(
            f"the last process died or was killed while {console.many(session.orphans, 'message')} {were_in_flight}:"
            " the provider may have accepted them"
        )
    if options.settle_unknowns:
        console.out.print(
            f"{console.many(unknown, 'unknown message')} will be looked up in the provider's log first: those found"
            f" there count as accepted, those proved absent are sent, {rest}"
        )
    elif not options.resend_unknown:
        console.out.print("unknown messages are left as they are (--on-unknown hold) and not sent again")


def _warn_of_resending(session: RunSession, options: SendOptions) -> None:
    """Print what --resend-unknown means for the people who get these messages."""
    unknown = session.counts().unknown
    if not unknown:
        console.err.print("--resend-unknown: no message is unknown")
        return
    settled = ", except those that its log settles now" if options.settle_unknowns else ""
    people = console.many(unknown, "person", "people")
    console.err.print(
        f"[bold yellow]warning:[/] --resend-unknown sends {console.many(unknown, 'message')} again which the provider"
        f" may have accepted{settled}: up to {people} may get the same text twice, and it is billed twice."
        " This cannot be undone."
    )


def _log_start(session: RunSession) -> None:
    counts, run = session.counts(), session.run
    log.info(
        "run %s %s: %d of %d messages pending",
        run.run_id,
        "resumed" if session.resumed else "starts",
        counts.pending,
        run.messages,
        extra={
            "event": "run_resumed" if session.resumed else "run_started",
            "run_id": run.run_id,
            "campaign": run.campaign,
        },
    )
    if session.orphans:
        log.warning(
            "%s in flight when the last process died: looked up before anything is sent",
            "1 message was" if session.orphans == 1 else f"{session.orphans:,} messages were",
            extra={"event": "orphans", "run_id": run.run_id, "unknown": session.orphans},
        )


def _ask(session: RunSession, options: SendOptions) -> None:
    pending = session.counts().pending
    if not sys.stdin.isatty():
        raise InputError(
            "there is no terminal to ask on",
            fix="add --yes (a cron job always needs it), or look first with --dry-run",
        )
    reach = "the sandbox" if session.simulated else session.run.provider
    # polars' own handler would swallow Ctrl-C here until Enter is pressed.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "siginterrupt"):
        signal.siginterrupt(signal.SIGINT, True)
    unknown = session.counts().unknown if options.resend_unknown else 0
    again = f", and up to {console.many(unknown, 'unknown one')} a second time," if unknown else ""
    terminal.ask(f"Send {console.many(pending, 'message')}{again} through {reach}?")


async def _send(session: RunSession, options: SendOptions, *, show_bar: bool) -> RunResult:
    cancel = asyncio.Event()
    with _signals(cancel), progress_bar() if show_bar else progress_lines() as show:
        return await session.send(options, on_progress=show, cancel=cancel)


@contextmanager
def _signals(cancel: asyncio.Event) -> Iterator[None]:
    """Drain on the first Ctrl-C (or SIGTERM), and quit at once on the second, which is as safe as a crash.

    Afterwards both signals are ignored: there is nothing left to stop, and the exit code must be that of the run.
    """
    loop, asked = asyncio.get_running_loop(), threading.Event()

    def drain() -> None:
        cancel.set()
        log.warning(
            "stopping: waiting for the answers to requests in flight (Ctrl-C again quits at once)",
            extra={"event": "stopping"},
        )

    def on_signal(number: int, _frame: object) -> None:
        if asked.is_set():
            os._exit(128 + number)
        asked.set()
        loop.call_soon_threadsafe(drain)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def _conclude(result: RunResult, *, as_json: bool) -> None:
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
        console.print_json(
            {
                "run_id": run.run_id,
                "campaign": run.campaign,
                "kind": run.kind.value,
                "results": str(result.results_path),
                "exit_code": result.exit_code,
                "stopped": str(result.stopped) if result.stopped else None,
                "interrupted": result.interrupted,
                "resent": result.resent,
                "taken_out": dict(result.taken_out),
                "law": summary.totals_line(),
                **json.loads(json.dumps(asdict(summary), default=str)),
            }
        )
        return
    if result.resent:
        console.out.print(f"{console.many(result.resent, 'unknown message')} sent again on request (--resend-unknown)")
    settled = result.reconciled
    console.about_unknowns(summary.unknown, run.run_id, decidable_at=settled.decidable_at, failure=settled.failure)
    console.run_summary(summary)
    for number, why in result.taken_out.items():
        console.out.print(
            f"[yellow]taken out of the pool:[/] {escape(f'{number}: {why}')}; the others carried its messages"
        )
    console.about_delivery(result.refreshed, summary, run.run_id)
    console.out.print(f"results: {escape(str(result.results_path))}")
    if run.kind in ("sandbox", "rehearsal") or run.provider == "sandbox":
        console.out.print("[dim]simulated by the sandbox: no message left this machine[/]")
    if result.stopped is not None:
        log.error("stopped: %s", result.stopped, extra={"event": "stopped", "fix": result.stopped.fix})
    elif summary.pending:
        why = f"--limit {result.limit} is done" if result.limit and not result.interrupted else "interrupted"
        again = "the same command without --limit" if result.limit else "the same command"
        console.out.print(f"{why}: {summary.pending:,} pending; {again} sends the rest")
