"""`sender status`, `sender results`, `sender reconcile`: what became of it."""

from __future__ import annotations

import asyncio
import io
import sys
from dataclasses import asdict
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Table

from sender.cli import console, status_view
from sender.cli.listen import seconds
from sender.cli.options import environment, state_options
from sender.core.errors import InputError
from sender.delivery.refresh import reconcile_run, refresh_run
from sender.reports import results as results_module
from sender.reports.run_results import latest_results, run_results, run_summary
from sender.state.state_dir import StateDir

RUN_HELP = (
    "RUN is a run id (or its beginning), a campaign file, a recipients file or a campaign's name;"
    " of several runs the newest is meant."
)


@click.command(help=f"List the runs, or say how one stands.\n\n{RUN_HELP}")
@click.argument("run", required=False)
@click.option("--refresh", is_flag=True, help="Ask the provider's log first what became of the messages.")
@click.option("--wait", metavar="TIME", help="With --refresh: ask again until all are final, for so long (10m).")
@click.option(
    "--env-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --refresh: file of KEY=value lines with the credentials.",
)
@click.option("--watch", is_flag=True, help="Follow the run live, from any terminal; Ctrl-C ends it.")
@click.option(
    "--until",
    type=click.Choice(["submitted", "final"]),
    default="submitted",
    show_default=True,
    help="With --watch: follow until all are submitted, or until all have their final status.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON; with --watch a line each second.")
@state_options
def status(
    run: str | None,
    watch: bool,
    until: str,
    refresh: bool,
    wait: str | None,
    env_file: Path | None,
    as_json: bool,
    debug: bool,
    state_dir: Path,
) -> int:
    console.set_up_logs(debug=debug)
    if watch and run is None:
        raise InputError("--watch follows one run", fix="name it: `sender status RUN --watch`")
    if refresh and run is None:
        raise InputError("--refresh asks about one run", fix="name it: `sender status RUN --refresh`")
    with StateDir(state_dir, create=False, read_only=not refresh) as state:
        if refresh and run is not None:
            wait_s = seconds(wait) if wait else 0.0
            told = asyncio.run(refresh_run(state, state.find(run), environment(env_file), wait_s=wait_s))
            if not as_json:
                console.about_refresh(told)
        if run is None:
            return _list(state, as_json=as_json)
        if watch:
            return status_view.watch(state, state.find(run), as_json=as_json, until=until)
        status_view.one(state, state.find(run), as_json=as_json)
        return 0


def _list(state: StateDir, *, as_json: bool) -> int:
    found = [(run, state.ledger.counts(run.run_id)) for run in reversed(state.ledger.runs())]
    if as_json:
        console.print_json([status_view.run_facts(run, counts) for run, counts in found])
        return 0
    table = Table(box=None, padding=(0, 2), header_style="dim")
    retried = any(run.retry_of for run, _ in found)
    for name in ("run", "campaign", "through", "state"):
        table.add_column(name, no_wrap=name == "run", overflow="fold")
    for name in ("unknown", "accepted", "rejected", "pending", "skipped"):
        table.add_column(name, justify="right", no_wrap=True)
    if retried:
        table.add_column("retry of", no_wrap=True)
    for run, counts in found:
        unknown = f"[bold yellow]{counts.unknown + counts.intent:,}[/]" if counts.unknown + counts.intent else "0"
        through = run.provider if run.kind in ("live", "sandbox") else f"{run.provider} ({run.kind.value})"
        numbers = (f"{n:,}" for n in (counts.accepted, counts.rejected, counts.pending, run.skipped))
        table.add_row(
            run.run_id,
            escape(run.campaign),
            through,
            status_view.run_state(counts),
            unknown,
            *numbers,
            *([run.retry_of or ""] if retried else []),
        )
    console.out.print(table if found else "no runs yet")
    return 0


@click.command(help=f"Write what became of every row: ids, statuses, errors, and all original columns.\n\n{RUN_HELP}")
@click.argument("run")
@click.option(
    "--format",
    "form",
    type=click.Choice(results_module.FORMATS),
    help="Default: by the file's suffix, else csv.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Default: standard output (csv, jsonl).",
)
@click.option("--with-retries", is_flag=True, help="Each row as the newest retry that sent it has it.")
@state_options
def results(run: str, form: str | None, output: Path | None, with_retries: bool, debug: bool, state_dir: Path) -> int:
    console.set_up_logs(debug=debug)
    with StateDir(state_dir, read_only=True) as state:
        found = state.find(run)
        frame = latest_results(state, found) if with_retries else run_results(state, found)
    if output is not None:
        results_module.write(frame, output, form)
        console.err.print(f"wrote {console.many(frame.height, 'row')} to {escape(str(output))}")
    elif form in (None, "csv", "jsonl"):
        buffer = io.BytesIO()
        results_module.dump(frame, buffer, form or "csv")
        sys.stdout.buffer.write(buffer.getvalue())
    else:
        raise InputError(f"{form} is not for a terminal", fix=f"add --output results.{form}")
    return 0


@click.command(
    help=f"Look unknown messages up in the provider's log and settle what it proves. Sends nothing.\n\n{RUN_HELP}"
)
@click.argument("run")
@click.option(
    "--env-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File of KEY=value lines with the credentials.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@state_options
def reconcile(run: str, env_file: Path | None, as_json: bool, debug: bool, state_dir: Path) -> int:
    console.set_up_logs(debug=debug)
    with StateDir(state_dir, create=False) as state:
        found = state.find(run)
        settled = asyncio.run(reconcile_run(state, found, environment(env_file)))
        summary = run_summary(state, found)
    if as_json:
        console.print_json({"run_id": found.run_id, **asdict(settled), "law": summary.law(), **asdict(summary)})
        return summary.exit_code
    console.out.print(
        f"{settled.found:,} found at the provider, {settled.absent:,} proved absent (pending again),"
        f" {settled.doubtful:,} still unknown"
    )
    if settled.failure:
        console.out.print(f"  the log could not be read to its end: {escape(settled.failure)}")
    if settled.decidable_at:
        console.out.print(f"  absence can be proved from {settled.decidable_at.astimezone():%Y-%m-%d %H:%M:%S %Z} on")
    console.run_summary(summary)
    if summary.pending:
        console.out.print(f"{summary.pending:,} pending: send the campaign again to resume")
    return summary.exit_code
