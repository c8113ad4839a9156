"""`sender send`: says what it will do, asks, sends, shows how it goes, and ends with the law."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from sender.cli import console
from sender.cli.duration import format_duration
from sender.cli.invocation import log_format_option
from sender.cli.listen import delivery_options, receiving
from sender.cli.options import TARGET_HELP, campaign_options, environment, read_plan, state_options
from sender.cli.preview import messages_table
from sender.core.errors import InputError
from sender.sending import event_loop
from sender.sending.open_run import open_run
from sender.sending.run import RunSession
from sender.sending.run_result import DeliveryOptions, RunResult
from sender.sending.workers.supervisor import check_workers
from sender.state import heartbeat

log = logging.getLogger("sender.cli")

PROGRESS_EVERY_S = 5.0  # between progress lines where there is no terminal


@click.command(help=f"Send a campaign; run it again to resume.\n\n{TARGET_HELP}")
@campaign_options
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and send nothing.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    help="Send only the first N messages of the plan; run again without it for the rest.",
)
@click.option("--test-to", metavar="NUMBER", help="Send the first message (or --limit N) to this number instead.")
@click.option(
    "--rehearse",
    is_flag=True,
    help="Speak the provider's own dialect to the sandbox: nothing leaves this machine.",
)
@click.option("--again", is_flag=True, help="Send a plan that has been sent once more, to everybody.")
@click.option("--new-run", is_flag=True, help="Start afresh though an unfinished run began with other inputs.")
@click.option("--resume", is_flag=True, help="Finish the unfinished run with the plan it began with.")
@click.option(
    "--on-unknown",
    type=click.Choice(["reconcile", "hold"]),
    default="reconcile",
    show_default=True,
    help="Unknown messages: look them up, or leave them.",
)
@delivery_options
@click.option(
    "--workers",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="Send by N processes, when one cannot keep the pace; limits hold for all of them together.",
)
@click.option(
    "--resend-unknown",
    is_flag=True,
    help="Send unknown messages again if the log does not settle them: some people may get them twice.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Results file (.csv, .jsonl, .parquet, .xlsx).",
)
@click.option(
    "--env-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File of KEY=value lines with the credentials.",
)
@log_format_option
@click.option("--json", "as_json", is_flag=True, help="The summary as JSON on standard output.")
@state_options
def send(
    campaign: Path,
    *,
    yes: bool,
    dry_run: bool,
    limit: int | None,
    test_to: str | None,
    rehearse: bool,
    again: bool,
    new_run: bool,
    resume: bool,
    on_unknown: str,
    workers: int,
    resend_unknown: bool,
    output: Path | None,
    listen: bool,
    listen_port: int | None,
    public_url: str | None,
    signatures: str | None,
    wait: str | None,
    env_file: Path | None,
    log_format: str,
    as_json: bool,
    debug: bool,
    state_dir: Path,
    **options: Any,
) -> int:
    watched = sys.stderr.isatty() and log_format == "text"
    console.set_up_logs(debug=debug, log_format=log_format, quiet=watched)
    check_workers(workers)
    env = environment(env_file)
    plan, built_from = read_plan(
        campaign, options, state_dir=state_dir, limit=limit if test_to else None, test_to=test_to
    )
    simulated = rehearse or plan.manifest.provider == "sandbox"
    if not as_json:
        console.plan_summary(plan, simulated=simulated)
        console.skipped_table(plan, most=10)
    if dry_run:
        if as_json:
            console.print_json({"dry_run": True, **asdict(plan.manifest), "expected_s": plan.manifest.expected_s})
        else:
            messages_table(plan, most=3)
            console.out.print("dry run: nothing was sent")
        return 0
    source = built_from.source if built_from else campaign
    with open_run(
        plan,
        state_dir=state_dir,
        rehearse=rehearse,
        again=again,
        new_run=new_run,
        resume=resume,
        source=source,
    ) as session:
        session.check(env)
        if not as_json:
            _announce(session, limit=None if test_to else limit)
            _announce_unknowns(session, settle=on_unknown == "reconcile", resend=resend_unknown)
        if resend_unknown:
            _warn_of_resending(session, settle=on_unknown == "reconcile")
        if not yes:
            _ask(session, resend_unknown=resend_unknown)
        told = {"listen": listen, "listen_port": listen_port, "signatures": signatures, "wait": wait}
        with receiving(session, built_from, env, told | {"public_url": public_url}) as reports:
            _log_start(session)
            result = event_loop.run(
                _send(
                    session,
                    env,
                    None if test_to else limit,
                    settle=on_unknown == "reconcile",
                    resend_unknown=resend_unknown,
                    output=output,
                    watched=watched,
                    delivery=reports,
                    workers=workers,
                )
            )
    _conclude(result, as_json=as_json)
    return result.exit_code


def _announce(session: RunSession, *, limit: int | None) -> None:
    """What is about to happen, in a sentence or two."""
    counts, run = session.counts(), session.run
    if session.resumed:
        console.out.print(
            f"resuming run {run.run_id}: {counts.accepted:,} accepted, {counts.rejected:,} rejected,"
            f" {counts.unknown:,} unknown, {counts.pending:,} to send"
        )
    elif session.earlier is not None:
        console.out.print(
            f"[yellow]note:[/] run {session.earlier.run_id} of {escape(run.campaign)} has been sent before;"
            " whoever is in both lists gets this one too"
        )
    if limit is not None:
        todo = max(0, min(counts.pending, limit - (run.messages - counts.pending)))
        console.out.print(f"--limit {limit}: {console.many(todo, 'message')} now, the others stay pending")


def _announce_unknowns(session: RunSession, *, settle: bool, resend: bool) -> None:
    """What the last process left in doubt, and what will be done about it."""
    unknown = session.counts().unknown
    if not unknown:
        return
    rest = "the rest is sent again" if resend else "the rest stays unknown and is not sent again"
    if session.orphans:
        died = "was under way" if session.orphans == 1 else "were under way"
        console.out.print(
            f"the last process died or was killed while {console.many(session.orphans, 'message')} {died}:"
            " the provider may have accepted them"
        )
    if settle:
        console.out.print(
            f"{console.many(unknown, 'unknown message')} will be looked up in the provider's log first: what it has"
            f" counts as accepted, what it proves absent is sent, {rest}"
        )
    elif not resend:
        console.out.print("unknown messages are left as they are (--on-unknown hold) and not sent again")


def _warn_of_resending(session: RunSession, *, settle: bool) -> None:
    """What --resend-unknown risks, in the words of the people it concerns."""
    unknown = session.counts().unknown
    if not unknown:
        console.err.print("--resend-unknown: nothing is unknown")
        return
    settled = ", except those that its log settles now" if settle else ""
    people = console.many(unknown, "person", "people")
    console.err.print(
        f"[bold yellow]warning:[/] --resend-unknown sends {console.many(unknown, 'message')} again which the provider"
        f" may have accepted{settled}: up to {people} may get the same text twice, and it is billed twice."
        " Nothing can take that back."
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
            "%s under way when the last process died: looked up before anything is sent",
            "1 message was" if session.orphans == 1 else f"{session.orphans:,} messages were",
            extra={"event": "orphans", "run_id": run.run_id, "unknown": session.orphans},
        )


def _ask(session: RunSession, *, resend_unknown: bool) -> None:
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
    unknown = session.counts().unknown if resend_unknown else 0
    again = f", and up to {console.many(unknown, 'unknown one')} a second time," if unknown else ""
    click.confirm(f"Send {console.many(pending, 'message')}{again} through {reach}?", abort=True)


async def _send(
    session: RunSession,
    env: Mapping[str, str],
    limit: int | None,
    *,
    settle: bool,
    resend_unknown: bool,
    output: Path | None,
    watched: bool,
    delivery: DeliveryOptions,
    workers: int,
) -> RunResult:
    cancel = asyncio.Event()
    with _signals(cancel), _bar() if watched else _lines() as tell:
        return await session.send(
            env=env,
            limit=limit,
            settle_unknowns=settle,
            resend_unknown=resend_unknown,
            on_progress=tell,
            cancel=cancel,
            results_path=output,
            delivery=delivery,
            workers=workers,
        )


@contextmanager
def _signals(cancel: asyncio.Event) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) drains; the second quits at once, which is as safe as a crash.

    Afterwards there is nothing left to stop, and the exit code is to say what came of the run: they count no more.
    """
    loop, asked = asyncio.get_running_loop(), threading.Event()

    def drain() -> None:
        cancel.set()
        log.warning(
            "stopping: waiting for the answers to what has been sent (Ctrl-C again quits at once)",
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


Tell = Callable[[heartbeat.Progress], None]


@contextmanager
def _bar() -> Iterator[Tell]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console.err) as bar:
        task = bar.add_task("sending", total=None, note="")

        def tell(now: heartbeat.Progress) -> None:
            bar.update(task, total=now.total, completed=now.done, note=_note(now))

        yield tell


@contextmanager
def _lines() -> Iterator[Tell]:
    last_s = 0.0

    def tell(now: heartbeat.Progress) -> None:
        nonlocal last_s
        if now.elapsed_s - last_s < PROGRESS_EVERY_S:
            return
        last_s = now.elapsed_s
        log.info(
            "%d/%d %s",
            now.done,
            now.total,
            _note(now),
            extra={
                "event": "progress",
                **{key: value for key, value in asdict(now).items() if value is not None},
            },
        )

    yield tell


def _note(now: heartbeat.Progress) -> str:
    parts = [f"{now.rate_per_s:.1f}/s"] if now.rate_per_s else []
    if now.eta_s is not None and now.done < now.total:
        parts.append(f"{format_duration(now.eta_s)} left")
    parts += [f"{count:,} {name}" for name, count in (("rejected", now.rejected), ("unknown", now.unknown)) if count]
    if now.slowed_to_per_s is not None:
        parts.append(f"slowed to {now.slowed_to_per_s:.3g}/s by the provider")
    if now.paused_s > 0.5:
        parts.append(f"provider asks to wait {format_duration(now.paused_s)}")
    return ", ".join(parts)


def _conclude(result: RunResult, *, as_json: bool) -> None:
    summary, run = result.summary, result.run
    log.info(
        "run %s ends: %s",
        run.run_id,
        summary.law(),
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
                "law": summary.law(),
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
        console.out.print(f"[yellow]taken out of the pool:[/] {escape(f'{number}: {why}')}; the others sent for it")
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
