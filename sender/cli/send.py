"""`sender send`: announces what it will do, asks, sends, shows progress, and ends with the totals."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from sender.campaign.model import ListenSpec
from sender.cli import console, plan_lines, terminal
from sender.cli.approval_lines import describe_run_approval
from sender.cli.campaign_options import (
    TARGET_HELP,
    campaign_options,
    is_written_plan,
    only_new_option,
    read_plan,
    with_hidden_rows,
)
from sender.cli.consent import (
    agree_to_missed_windows,
    agree_to_name,
    agree_to_new_state,
    agree_to_skips,
    warn_of_new_state,
)
from sender.cli.delivery_options import receiving
from sender.cli.detach import leave_to_workers, refuse_detached
from sender.cli.outputs import protected_inputs
from sender.cli.progress_display import progress_bar, progress_lines
from sender.cli.remaining_lines import show_remaining
from sender.cli.row_lines import print_messages, print_skipped
from sender.cli.send_options import SendRequest, send_options
from sender.cli.send_result import conclude
from sender.cli.start_options import (
    StartRequest,
    agree_to_late_start,
    announce_dry_start,
    announce_start,
    is_ahead,
    read_start,
    start_options,
    wait_and_read_again,
)
from sender.core.errors import InputError, SenderError
from sender.core.outcomes import SkipReason
from sender.plan.plan import Plan
from sender.plan.planned_start import PlannedStart
from sender.planning.brakes import Stop
from sender.planning.forecast import foresee
from sender.reports.labels import describe_held
from sender.schedule import waiting
from sender.schedule.waiting import refuse_late
from sender.sending import event_loop
from sender.sending.approval import find_approved_plan
from sender.sending.foresee_start import find_refusal, foresee_stops
from sender.sending.open_run import open_run
from sender.sending.options import OnUnfinished, SendOptions
from sender.sending.remaining import find_remaining
from sender.sending.run import RunSession
from sender.sending.run_result import RunResult
from sender.state.ledger import RunKind

log = logging.getLogger("sender.cli")

_HELD_BACK_BY_RUNS = {SkipReason.ALREADY_SENT, SkipReason.FREQUENCY_CAP}


@click.command(help=f"Send a campaign; run it again to resume.\n\n{TARGET_HELP}")
@campaign_options
@click.option("--test-to", metavar="NUMBER", help="Send the first message (or --limit N) to this number instead.")
@start_options
@only_new_option
@click.option("--again", is_flag=True, help="Send to everybody once more, also to people who have had the campaign.")
@click.option("--new-run", is_flag=True, help="Start over although a run is unfinished: people may get a text twice.")
@click.option(
    "--on-unfinished",
    type=click.Choice(["resume", "close", "refuse"]),
    help="If an earlier run is unfinished and the inputs changed: finish it, end it, or stop. Default: refuse.",
)
@click.option(
    "--same-campaign", is_flag=True, help="Confirm, once, that another file with this name was the same campaign."
)
@click.option(
    "--init-state", is_flag=True, help="Create a new state directory, once, without earlier runs and opt-outs."
)
@click.option("--resume", is_flag=True, help="Finish the unfinished run with its own plan.")
@click.option(
    "--detach", is_flag=True, help="Over a database: let the machines with `sender worker` send, and end at once."
)
@send_options
def send(
    campaign: Path,
    *,
    test_to: str | None,
    start: StartRequest,
    again: bool,
    new_run: bool,
    resume: bool,
    only_new: bool,
    on_unfinished: OnUnfinished | None,
    init_state: bool,
    same_campaign: bool,
    detach: bool,
    request: SendRequest,
    **campaign_keys: Any,
) -> int:
    if only_new and again:
        raise InputError("--only-new and --again contradict each other", fix="choose one of them")
    options = request.options
    keys = campaign_keys | ({} if is_written_plan(campaign) else {"late": start.late})
    starting = read_start(campaign, keys, state_dir=options.state_path, request=start)
    read = partial(
        read_plan,
        campaign,
        state_dir=options.state_path,
        limit=options.limit if test_to else None,
        test_to=test_to,
        only_new=only_new,
        rehearse=options.rehearse,
        at=starting.at,
        ask=not request.yes,
    )
    plan, built_from = read(keys)
    if built_from is None:
        plan = starting.lay_over(plan)
    if starting.at is None and (test_to or options.rehearse):  # to see it now is what they are for
        plan = plan.with_manifest(replace(plan.manifest, start=None))
    sending = replace(
        options,
        limit=None if test_to else options.limit,
        again=again,
        new_run=new_run,
        resume=resume,
        on_unfinished=on_unfinished,
        init_state=init_state,
        same_campaign=same_campaign,
        source=built_from.source if built_from else campaign,
    )
    inputs = (*request.inputs, *protected_inputs(campaign, plan, built_from))
    return send_plan(
        find_approved_plan(plan, sending),
        replace(request, options=sending, inputs=inputs, detach=detach),
        built_from.listen if built_from else ListenSpec(),
        read_again=lambda: read(with_hidden_rows(keys, built_from))[0],
    )


def send_plan(
    plan: Plan, request: SendRequest, listen: ListenSpec, *, read_again: Callable[[], Plan] | None = None
) -> int:
    """Show what will be done, ask, send `plan`, show the result, and return the exit code.

    `listen` is the campaign's own setting of where delivery reports come in. `read_again` makes the plan anew from the
    same files, after a wait for its start.
    """
    options = request.options
    if request.detach:
        refuse_detached(request, plan)
    if request.dry_run and options.resume and (remaining := find_remaining(plan, options)) is not None:
        show_remaining(remaining, as_json=request.as_json)
        if not request.as_json:
            console.out.print("dry run: nothing was sent")
        return 0
    stops = foresee_stops(plan, options) if request.dry_run else None
    if not request.as_json:
        simulated = options.rehearse or plan.manifest.provider == "sandbox"
        plan_lines.plan_summary(plan, simulated=simulated, stops=stops)
        print_skipped(plan, most=10)
    if not plan.manifest.messages and plan.manifest.skipped.keys() & _HELD_BACK_BY_RUNS:
        _show_nobody_new(plan, as_json=request.as_json)
        return 0
    if request.dry_run:
        _show_dry_run(plan, find_refusal(plan, options), options, stops or (), as_json=request.as_json)
        return 0
    options = agree_to_new_state(plan, options, yes=request.yes)
    plan = agree_to_skips(plan, yes=request.yes)
    options = agree_to_name(plan, options, yes=request.yes)
    options = agree_to_missed_windows(plan, options, yes=request.yes)
    request = replace(request, options=options)
    start = PlannedStart.from_manifest(plan.manifest.start)
    with open_run(plan, options) as session:
        if session.resumed:
            start = None  # it has begun
        if start is not None:
            agree_to_late_start(start, yes=request.yes)
        if request.detach:
            prepare_session(session, request, start)
            return leave_to_workers(session, request.options, as_json=request.as_json)
        if start is None or not is_ahead(start):
            result = send_session(session, request, listen)
            start = None
        else:
            prepare_session(session, request, start)
    if start is not None:
        plan = wait_and_read_again(plan, start, options, read_again)
        with open_run(plan, options) as session:
            refuse_late(start, waiting.CLOCK.now_ms())
            result = run_session(session, request, listen)
    request.monitor.result = result
    conclude(result, as_json=request.as_json)
    return result.exit_code


def send_session(session: RunSession, request: SendRequest, listen: ListenSpec) -> RunResult:
    """Say what will be done, ask, and send the run that `session` holds. A pause of it is lifted."""
    prepare_session(session, request)
    return run_session(session, request, listen)


def prepare_session(session: RunSession, request: SendRequest, start: PlannedStart | None = None) -> None:
    """Check what can be checked before, say what will be done, and ask. `start` is when it begins, if not now."""
    options = request.options
    session.check_credentials(options)
    session.check_results_path(options, request.inputs)
    if not request.as_json:
        _announce(session, options)
        _announce_unknowns(session, options)
        if start is not None:
            announce_start(start)
    if options.resend_unknown:
        _warn_of_resending(session, options)
    if not request.yes:
        _ask(session, options, start)


def run_session(session: RunSession, request: SendRequest, listen: ListenSpec) -> RunResult:
    """Send the run that `session` holds. A pause of it is lifted."""
    with receiving(session, request.options, listen, request.listen) as receiving_options:
        session.lift_holds()
        return event_loop.run(_send(session, receiving_options, show_bar=request.show_bar))


def _show_nobody_new(plan: Plan, *, as_json: bool) -> None:
    if as_json:
        console.print_json({"nobody_new": True, **asdict(plan.manifest), "expected_s": plan.manifest.expected_s})
    else:
        capped = SkipReason.FREQUENCY_CAP in plan.manifest.skipped
        enough = ", or as many messages as limits.per_person allows" if capped else ""
        console.out.print(f"everybody who can be texted has had this campaign{enough}: nothing was sent")


def _show_dry_run(
    plan: Plan, refusal: SenderError | None, options: SendOptions, stops: Sequence[Stop], *, as_json: bool
) -> None:
    remaining = None if refusal is not None else find_remaining(plan, options)
    if as_json:
        refused = None if refusal is None else refusal.sentence()
        when = foresee(plan)
        about = {
            "dry_run": True,
            "refused": refused,
            "resumes": None if remaining is None else remaining.run.run_id,
            "stops": [asdict(stop) for stop in stops],
            "when": None if when is None else when.to_dict(),
        }
        console.print_json({**about, **asdict(plan.manifest), "expected_s": plan.manifest.expected_s})
        return
    print_messages(plan, most=3)
    warn_of_new_state(plan, options)
    console.out.print("dry run: nothing was sent")
    if refusal is not None:
        console.out.print(f"[yellow]note:[/] a real start would be refused: {escape(refusal.sentence())}")
    elif remaining is not None:
        console.out.print(
            f"[yellow]note:[/] a real start would resume run {remaining.run.run_id}:"
            f" {console.many(remaining.plan.manifest.messages, 'message')} still to be sent;"
            " --resume shows which"
        )
    elif (start := PlannedStart.from_manifest(plan.manifest.start)) is not None:
        announce_dry_start(start)


def _announce(session: RunSession, options: SendOptions) -> None:
    """Print what is about to happen."""
    counts, run = session.counts(), session.run
    if session.resumed:
        console.out.print(
            f"resuming run {run.run_id}: {counts.accepted:,} accepted, {counts.rejected:,} rejected,"
            f" {counts.unknown:,} unknown, {counts.pending:,} to send"
        )
        _announce_left_out(session)
        for group in session.held():
            console.out.print(f"  held: {escape(describe_held(group))}", highlight=False)
    elif session.repeated:
        people = console.many(session.repeated, "person", "people")
        have, get = ("has", "gets") if session.repeated == 1 else ("have", "get")
        console.out.print(
            f"[yellow]note:[/] {people} who {have} had {escape(run.campaign)}, or may have had it, {get} it again"
        )
    if (approval := session.replaces.approval) is not None:
        console.out.print(escape(describe_run_approval(approval)), highlight=False)
    elif session.plan.manifest.approval is not None and run.kind is not RunKind.LIVE:
        console.out.print("no approval is needed, since no message reaches anybody")
    if (stop := session.stopped_by) is not None:
        console.out.print(f"[bold yellow]continuing in spite of this:[/] {escape(stop.what)}")
    for run_id in session.replaces.closes:
        console.out.print(f"run {run_id} is unfinished; it ends now, and its pending messages are canceled")
    if options.limit is not None:
        todo = max(0, min(counts.pending, options.limit - (run.messages - counts.pending)))
        console.out.print(f"--limit {options.limit}: {console.many(todo, 'message')} now, the others stay pending")


def _announce_left_out(session: RunSession) -> None:
    """Say of a run that was begun with --only-new whom it leaves out."""
    left_out = session.plan.manifest.skipped.get(SkipReason.ALREADY_SENT, 0)
    if left_out:
        people = console.many(left_out, "person", "people")
        console.out.print(
            f"  it began with --only-new, which left out {people} who had had {escape(session.run.campaign)}"
        )


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


def _ask(session: RunSession, options: SendOptions, start: PlannedStart | None) -> None:
    pending = session.counts().pending
    if not sys.stdin.isatty():
        raise InputError(
            "there is no terminal to ask on",
            fix="add --yes (a cron job always needs it), or look first with --dry-run",
        )
    reach = "the sandbox" if session.simulated else session.plan.manifest.through
    unknown = session.counts().unknown if options.resend_unknown else 0
    again = f", and up to {console.many(unknown, 'unknown one')} a second time," if unknown else ""
    when = "" if start is None else f" on {start}"
    terminal.ask(f"Send {console.many(pending, 'message')}{again} through {reach}{when}?")


async def _send(session: RunSession, options: SendOptions, *, show_bar: bool) -> RunResult:
    cancel = asyncio.Event()
    with _signals(cancel), progress_bar() if show_bar else progress_lines() as display:
        return await session.send(options, on_progress=display.show, on_wait=display.wait, cancel=cancel)


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
