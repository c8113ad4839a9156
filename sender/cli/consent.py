"""What a person has to agree to before a start may go on, and what refuses it where nobody can be asked."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace

from rich.markup import escape

from sender.cli import console, terminal
from sender.core.errors import NewState, UnknownRun
from sender.plan.plan import Plan
from sender.planning.brakes import Start, find_stops, with_limits
from sender.sending.choose_run import find_run_kind
from sender.sending.missed_windows import find_missed
from sender.sending.namesakes import find_namesake
from sender.sending.options import SendOptions
from sender.state.ledger import RunKind
from sender.state.new_state import NewStateNotice, find_new_state
from sender.state.open import open_state

log = logging.getLogger("sender.cli")


def agree_to_new_state(plan: Plan, options: SendOptions, *, yes: bool) -> SendOptions:
    """Return `options` with which a live run may begin a new state, if a person agrees; unchanged where it need not.

    Raises NewState where nobody is asked (`yes`, or no terminal) and --init-state is not given.
    """
    notice = _find_notice(plan, options)
    if notice is None:
        return options
    if options.init_state:
        log.warning("%s", notice.sentence, extra={"event": "new_state", "state": str(notice.path)})
        return options
    if yes or not sys.stdin.isatty():
        ways = (
            "`--init-state` creates it, once; never put it into a scheduled command",
            "`sender init --state-only` creates it beforehand",
            "--state names another one",
        )
        raise NewState(notice.sentence, fix="; ".join((*ways, *notice.hints)))
    console.err.print(f"[bold yellow]{escape(notice.sentence)}[/]")
    for hint in notice.hints:
        console.err.print(f"  {escape(hint)}")
    terminal.ask("Create it?")
    return replace(options, init_state=True)


def agree_to_skips(plan: Plan, *, yes: bool) -> Plan:
    """Return the plan with leave to skip the rows of a broken export, if a person agrees.

    Where nobody is asked it is unchanged, and `open_run` refuses it.
    """
    for stop in find_stops(Start(plan.manifest)):
        if stop.asks and not yes and sys.stdin.isatty():
            terminal.ask(f"{stop.found}. Send to the others?")
            plan = with_limits(plan, {stop.limit: "100%"})
    return plan


def agree_to_name(plan: Plan, options: SendOptions, *, yes: bool) -> SendOptions:
    """Return `options` with leave to use the name of another file's campaign, if that is needed and a person agrees.

    Where nobody is asked they are unchanged, and `open_run` refuses the start.
    """
    if yes or options.same_campaign or not sys.stdin.isatty():
        return options
    try:
        with open_state(options.state_path, read_only=True) as state:
            kind = find_run_kind(plan.manifest, rehearse=options.rehearse)
            other = find_namesake(state, plan, kind, options.source)
    except UnknownRun:  # nothing has been sent from here
        return options
    if other is None:
        return options
    terminal.ask(f"{other.campaign} has been sent from {other.source}, to other people. Is this the same campaign?")
    return replace(options, same_campaign=True)


def agree_to_missed_windows(plan: Plan, options: SendOptions, *, yes: bool) -> SendOptions:
    """Return `options` with leave to start though some messages would not be sent, if a person agrees.

    Where nobody is asked they are unchanged, and `open_run` refuses the start.
    """
    if yes or options.allow_missed or not sys.stdin.isatty():
        return options
    missed = find_missed(plan, options)
    if missed is None:
        return options
    terminal.ask(f"{missed.what}. Send the others?")
    return replace(options, allow_missed=True)


def warn_of_new_state(plan: Plan, options: SendOptions) -> None:
    """Print what would stop a live start, for --dry-run."""
    notice = None if options.init_state else _find_notice(plan, options)
    if notice is not None:
        console.out.print(f"  [bold red]would ask first:[/] {escape(notice.sentence)} (--init-state)")


def _find_notice(plan: Plan, options: SendOptions) -> NewStateNotice | None:
    if find_run_kind(plan.manifest, rehearse=options.rehearse) is not RunKind.LIVE:
        return None
    return find_new_state(options.state_path)
