"""`sender lookup`: what a provider knows of the numbers of a list, for a price that is said first."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import polars as pl
from rich.markup import escape

from sender import providers
from sender.campaign.load import load_campaign
from sender.campaign.model import Campaign
from sender.cli import console, terminal
from sender.cli.campaign_options import is_campaign
from sender.cli.duration import format_duration
from sender.cli.outputs import campaign_files, force_option
from sender.cli.shared_options import env_file_option, environment, state_options
from sender.core.errors import InputError
from sender.core.folder_defaults import find_folder_defaults
from sender.core.output_files import OutputKind, Protected, check_output
from sender.delivery.list_lookups import (
    LOOKUP_COLUMNS,
    ListLookup,
    LookupOptions,
    check_state,
    facts_frame,
    open_list_lookup,
    read_day,
)
from sender.delivery.number_lookups import LookupResult
from sender.reports.table_files import find_format, has_headers, write_table
from sender.state.number_facts import NumberFacts
from sender.state.open import folder_of, folders_above

_KIND = OutputKind("the output of a lookup", lambda file: has_headers(file, LOOKUP_COLUMNS))


@click.command(
    help="Look up the numbers of a list: type, carrier, time zone, and whether they have a new owner.\n\n"
    "LIST is a campaign or a recipients file. The provider charges for lookups. The state keeps each answer, and does"
    " not ask again within --max-age. Run the command again to continue with the rest."
)
@click.argument("campaign", metavar="LIST", type=click.Path(path_type=Path))
@click.option("--provider", type=click.Choice(providers.DIALECTS), help="Provider to ask. Default: the campaign's.")
@click.option("--price", metavar="AMOUNT", help="Price of a lookup, from your provider's price list: 0.008.")
@click.option("--currency", default="USD", show_default=True, help="Currency of the price.")
@click.option(
    "--max-cost", metavar="AMOUNT", help="The most that may be spent. Default: the campaign's limits.max_cost."
)
@click.option("--max-age", default="90d", show_default=True, metavar="TIME", help="Ask again if an answer is older.")
@click.option(
    "--reassigned-since", metavar="DAY", help="Also ask whether numbers have a new owner since then (Twilio)."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Look up only the first N numbers that are left.")
@click.option("--rate", type=click.FloatRange(0.1, 100), default=10, show_default=True, help="Most lookups a second.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="Write all answers to FILE (.csv, .jsonl, .parquet, .xlsx)."
)
@click.option("--default-region", metavar="US", help="Region of numbers without a country code.")
@click.option("--rehearse", is_flag=True, help="Ask the sandbox instead of the provider.")
@click.option("--dry-run", is_flag=True, help="Show the cost, and look nothing up.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@force_option
@env_file_option()
@state_options
def lookup(campaign: Path, state_dir: Path | str, debug: bool, **options: object) -> int:
    console.set_up_logs(debug=debug)
    return _look_up(campaign, state_dir, _CommandOptions(**options))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _CommandOptions:
    provider: str | None
    price: str | None
    currency: str
    max_cost: str | None
    max_age: str
    reassigned_since: str | None
    limit: int | None
    rate: float
    output: Path | None
    default_region: str | None
    rehearse: bool
    dry_run: bool
    yes: bool
    force: bool
    env_file: Path | None

    def to_library(self, target: Path, state_dir: Path | str) -> LookupOptions:
        return LookupOptions(
            state_dir=state_dir,
            provider=self.provider,
            env=environment(self.env_file),
            rehearse=self.rehearse,
            price=self.price,
            currency=self.currency,
            max_cost=self.max_cost,
            max_age=self.max_age,
            reassigned_since=read_day(self.reassigned_since),
            limit=self.limit,
            per_s=self.rate,
            whole_list=not is_campaign(target),
        )


def _look_up(target: Path, state_dir: Path | str, options: _CommandOptions) -> int:
    form = None if options.output is None else find_format(options.output)
    terms = options.to_library(target, state_dir)
    check_state(terms)
    campaign = _load(target, state_dir, options)
    protected = Protected((target, *campaign_files(campaign)), folder_of(state_dir))
    if options.output is not None:
        if options.dry_run:
            raise InputError("--dry-run looks nothing up, so there is nothing to write", fix="leave out --output")
        check_output(options.output, _KIND, protected, force=options.force)  # before anything is paid for
    with open_list_lookup(campaign, terms) as job:
        _announce(job)
        job.check_cost()
        result = LookupResult()
        if job.due and not options.dry_run:
            _agree(job, yes=options.yes or job.terms.simulated)
            result = asyncio.run(job.run())
        facts = job.facts()
        if options.dry_run:
            return 0
        _report(job, result, facts)
    if options.output is not None and form is not None:
        write_table(_frame(facts, form), options.output, _KIND, protected, force=options.force)
        console.err.print(f"wrote {console.many(len(facts), 'number')} to {escape(str(options.output))}")
    return _exit_code(result)


def _exit_code(result: LookupResult) -> int:
    if result.failure is not None:
        return 3
    return 1 if result.failed or result.untold else 0


def _load(target: Path, state_dir: Path | str, options: _CommandOptions) -> Campaign:
    """The campaign, or one around a list of recipients."""
    defaults = find_folder_defaults((Path.cwd() / target).parent.resolve(), Path.cwd(), *folders_above(state_dir))
    region = {} if options.default_region is None else {"default_region": options.default_region}
    file = None if defaults is None else defaults.file
    keys: dict[str, Any] = {} if options.provider is None else {"provider": options.provider}
    if is_campaign(target):
        return load_campaign(target, recipients=region or None, defaults=file, **keys)
    source = {"name": target.stem, "recipients": {"file": str(target), **region}, **keys}
    if file is None and options.provider is None:
        raise InputError("the provider to ask is missing", where="--provider", fix="add --provider twilio, for example")
    return load_campaign(source, defaults=file)


def _announce(job: ListLookup) -> None:
    terms = job.terms
    left_out = f", {job.known:,} already known" if job.known else ""
    wanted = console.many(len(job.wanted), "number")
    console.out.print(f"{wanted}{left_out}; {len(job.due):,} to look up at {job.provider}")
    if job.due:
        about = format_duration(len(job.due) / terms.per_s)
        simulated = ", simulated" if terms.simulated else ""
        console.out.print(f"cost {job.cost} {terms.currency} ({terms.price} each{simulated}), about {about}")


def _agree(job: ListLookup, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError("there is no terminal to ask on", fix="add --yes; --dry-run shows the cost")
    terminal.ask(f"Spend up to {job.cost} {job.terms.currency}?")


def _report(job: ListLookup, result: LookupResult, facts: Sequence[NumberFacts]) -> None:
    if job.due:
        spent = result.charged * job.terms.price
        console.out.print(
            f"looked up {result.answered:,}, {result.untold:,} of them unknown to the provider, {result.failed:,}"
            f" without an answer; up to {spent} {job.terms.currency} spent"
        )
    types = Counter(fact.line_type or "unknown" for fact in facts)
    if facts:
        console.out.print(f"known: {console.counted(types)}")
    if owners := sum(fact.reassigned == "yes" for fact in facts):
        console.out.print(f"  {console.many(owners, 'number')} with a new owner: suppressed")
    if result.failure is not None:
        left = len(job.due) - result.answered
        console.out.print(f"[bold yellow]stopped:[/] {escape(result.failure)}; {console.many(left, 'number')} left")
        console.out.print("  run the same command again to continue: all answers so far are kept")


def _frame(facts: Sequence[NumberFacts], form: str) -> pl.DataFrame:
    """What is known as a table; in formats without times `looked_up_at` is a text, too."""
    frame = facts_frame(facts)
    if form in ("csv", "jsonl"):
        return frame.with_columns(pl.col("looked_up_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
    return frame
