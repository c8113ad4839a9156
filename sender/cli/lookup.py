"""`sender lookup`: what a provider knows of the numbers of a list, for a price that is said first."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click
import polars as pl
from rich.markup import escape

from sender import phone, providers, sandbox
from sender.campaign.load import load_campaign
from sender.campaign.model import Campaign
from sender.cli import console, terminal
from sender.cli.campaign_options import is_campaign
from sender.cli.duration import format_duration, parse_duration_s
from sender.cli.outputs import force_option
from sender.cli.shared_options import env_file_option, environment, state_options
from sender.cli.state_place import MAKE_ONE
from sender.core import money
from sender.core.errors import CostLimit, InputError, UnknownRun
from sender.core.folder_defaults import find_folder_defaults
from sender.core.output_files import OutputKind, Protected
from sender.delivery.number_lookups import LookupResult, LookupTerms, look_up_numbers
from sender.delivery.provider_session import SANDBOX_URL
from sender.planning.build import build_plan
from sender.providers.base import Adapter
from sender.providers.lookups import NumberLookups, number_lookups
from sender.recipients.columns import load_recipients
from sender.reports.table_files import find_format, has_headers, write_table
from sender.state.find_state import is_state
from sender.state.number_facts import LOOKUP, NumberFacts, NumberStore
from sender.state.open import open_numbers
from sender.suppression.looked_up import learn_lookups
from sender.suppression.suppression_list import SuppressionList
from sender.transport.httpx_transport import HttpxTransport

COLUMNS = (
    *("number", "line_type", "carrier", "zone", "reassigned", "reassigned_since", "valid", "problem"),
    *("provider", "looked_up_at", "price", "currency"),
)
_KIND = OutputKind("the output of a lookup", lambda file: has_headers(file, COLUMNS))
_SANDBOX_PRICE = Decimal("0.005")
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class _LookupPlan:
    """What is looked up, and how: `wanted` numbers, of which `due` are not known well enough."""

    wanted: list[str]
    due: list[str]
    terms: LookupTerms

    @property
    def cost(self) -> Decimal:
        return len(self.due) * self.terms.price


@click.command(
    help="Look up what the numbers of a list are: type, carrier, time zone, and whether they have a new owner.\n\n"
    "LIST is a campaign or a recipients file. A lookup costs money at the provider; its answer is kept in the state,"
    " and not asked for again within --max-age. Run the command again to go on with the rest."
)
@click.argument("campaign", metavar="LIST", type=click.Path(path_type=Path))
@click.option("--provider", type=click.Choice(providers.DIALECTS), help="Who is asked. Default: the campaign's.")
@click.option("--price", metavar="AMOUNT", help="What a lookup costs, by your provider's price list: 0.008.")
@click.option("--currency", default="USD", show_default=True, help="Of the price.")
@click.option(
    "--max-cost", metavar="AMOUNT", help="The most that may be spent. Default: the campaign's limits.max_cost."
)
@click.option("--max-age", default="90d", show_default=True, metavar="TIME", help="What is older is looked up again.")
@click.option(
    "--reassigned-since", metavar="DAY", help="Also ask whether numbers have a new owner since then (Twilio)."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Look up the first N numbers that are due.")
@click.option(
    "--rate", type=click.FloatRange(0.1, 100), default=10, show_default=True, help="Lookups a second at most."
)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="Write what is known: .csv, .jsonl, .parquet, .xlsx."
)
@click.option("--default-region", metavar="US", help="Region of numbers without a country code.")
@click.option("--rehearse", is_flag=True, help="Ask the sandbox instead, in the provider's dialect.")
@click.option("--dry-run", is_flag=True, help="Show what it would cost, and ask nobody.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@force_option
@env_file_option()
@state_options
def lookup(campaign: Path, state_dir: Path, debug: bool, **options: object) -> int:
    console.set_up_logs(debug=debug)
    if not is_state(state_dir):
        raise UnknownRun(f"there is no state directory at {state_dir}", fix=MAKE_ONE)
    return _look_up(campaign, state_dir, _LookupOptions(**options))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _LookupOptions:
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


def _look_up(target: Path, state_dir: Path, options: _LookupOptions) -> int:
    if options.output is not None:
        find_format(options.output)
    since = None if options.reassigned_since is None else _read_day(options.reassigned_since)
    loaded = _load(target, state_dir, options)
    provider = options.provider or str(loaded.provider)
    simulated = options.rehearse or provider == "sandbox"
    dialect = str(loaded.sandbox.dialect) if provider == "sandbox" else provider
    env = environment(options.env_file)
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(contextlib.closing(open_numbers(state_dir)))
        terms = _terms(options, loaded, simulated=simulated)
        wanted = _numbers(loaded, target, state_dir)
        since_text = None if since is None else since.isoformat()
        oldest_ms = _now_ms() - round(1000 * parse_duration_s(options.max_age, "--max-age"))
        known = _known(store, wanted, oldest_ms, since_text, simulated=simulated)
        due = [number for number in wanted if number not in known]
        job = _LookupPlan(wanted, due[: options.limit], terms)
        _announce(job, provider, len(wanted) - len(due))
        _check_cost(job)
        result = LookupResult()
        if job.due and not options.dry_run:
            _agree(job, yes=options.yes or simulated)
            adapter = stack.enter_context(_adapter(dialect, env, simulated=simulated))
            lookups = number_lookups(adapter, reassigned_since=since)
            try:
                result = asyncio.run(_ask(store, lookups, job))
            finally:
                _teach(state_dir, store, job)
        facts = list(store.look_up(wanted, simulated=simulated))
    if not options.dry_run:
        _report(job, result, facts)
    if options.output is not None and not options.dry_run:
        write_table(
            _frame(facts, find_format(options.output)),
            options.output,
            _KIND,
            Protected(state_dir=state_dir),
            force=options.force,
        )
        console.err.print(f"wrote {console.many(len(facts), 'number')} to {escape(str(options.output))}")
    return _exit_code(result)


def _exit_code(result: LookupResult) -> int:
    if result.failure is not None:
        return 3
    return 1 if result.failed or result.untold else 0


def _load(target: Path, state_dir: Path, options: _LookupOptions) -> Campaign:
    """The campaign, or one around a list of recipients."""
    defaults = find_folder_defaults((Path.cwd() / target).parent.resolve(), Path.cwd(), state_dir.absolute().parent)
    region = {} if options.default_region is None else {"default_region": options.default_region}
    file = None if defaults is None else defaults.file
    keys: dict[str, Any] = {} if options.provider is None else {"provider": options.provider}
    if is_campaign(target):
        return load_campaign(target, recipients=region or None, defaults=file, **keys)
    source = {"name": target.stem, "recipients": {"file": str(target), **region}, **keys}
    if file is None and options.provider is None:
        raise InputError("nobody is named to ask", where="--provider", fix="add --provider twilio, for example")
    return load_campaign(source, defaults=file)


def _numbers(campaign: Campaign, target: Path, state_dir: Path) -> list[str]:
    """The numbers that would be texted, each once: of a campaign by its plan, of a list those that can be read."""
    if is_campaign(target):
        plan = build_plan(campaign, state_dir=state_dir)
        to = plan.scan().filter(pl.col("seq").is_not_null()).select("to").collect()["to"]
    else:
        recipients = load_recipients(campaign)
        cells = [recipients.cells[header] for header in recipients.phones]
        region = campaign.recipients.default_region
        read = [phone.normalize(column, default_region=region)["to"] for column in cells]
        to = (
            pl.DataFrame([column.alias(str(at)) for at, column in enumerate(read)])
            .select(pl.coalesce(pl.all()))
            .to_series()
        )
    e164 = to.drop_nulls().filter(to.drop_nulls().str.starts_with("+"))
    return e164.unique(maintain_order=True).to_list()


def _terms(options: _LookupOptions, campaign: Campaign, *, simulated: bool) -> LookupTerms:
    limit = campaign.limits.max_cost if options.max_cost is None else options.max_cost
    most = None if limit is None else _amount(str(limit), "--max-cost")
    if options.price is not None:
        price = _amount(options.price, "--price")
    elif simulated:
        price = _SANDBOX_PRICE
    else:
        raise InputError(
            "what a lookup costs is not known: no provider's API says it",
            where="--price",
            fix="add --price 0.008, as your provider's price list has it",
        )
    return LookupTerms(options.rate, price, options.currency, most, simulated)


def _amount(text: str, where: str) -> Decimal:
    try:
        money.parse(text)
        return Decimal(text)
    except (ValueError, InvalidOperation) as error:
        raise InputError(str(error), where=where) from None


def _read_day(text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise InputError(f"`{text}` is not a day", where="--reassigned-since", fix="write it as 2026-05-01") from None


def _known(
    store: NumberStore, numbers: Sequence[str], oldest_ms: int, since: str | None, *, simulated: bool
) -> set[str]:
    """The numbers that need not be looked up again."""
    return {
        fact.number
        for fact in store.look_up(numbers, simulated=simulated)
        if fact.source == LOOKUP and fact.at >= oldest_ms and (since is None or fact.reassigned_since == since)
    }


def _announce(job: _LookupPlan, provider: str, known: int) -> None:
    terms = job.terms
    left_out = f", {known:,} known already" if known else ""
    console.out.print(f"{console.many(len(job.wanted), 'number')}{left_out}; {len(job.due):,} to look up at {provider}")
    if job.due:
        about = format_duration(len(job.due) / terms.per_s)
        simulated = ", simulated" if terms.simulated else ""
        console.out.print(f"cost {job.cost} {terms.currency} ({terms.price} each{simulated}), about {about}")


def _check_cost(job: _LookupPlan) -> None:
    """Raise CostLimit where the lookups would cost more than may be spent."""
    most = job.terms.max_cost
    if most is not None and job.cost > most:
        fits = int(most / job.terms.price)
        raise CostLimit(
            f"{console.many(len(job.due), 'lookup')} would cost {job.cost} {job.terms.currency}, and at most {most} may"
            " be spent; nothing was looked up",
            fix=f"--limit {fits} stays within it" if fits else "raise --max-cost",
        )


def _agree(job: _LookupPlan, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError("there is no terminal to ask on", fix="add --yes; --dry-run shows the cost")
    terminal.ask(f"spend up to {job.cost} {job.terms.currency}?")


@contextlib.contextmanager
def _adapter(dialect: str, env: dict[str, str], *, simulated: bool) -> Iterator[Adapter]:
    """The provider's adapter, or that of a sandbox: the running one, or one for this command."""
    if not simulated:
        yield providers.adapter(dialect, env)
    elif url := env.get(SANDBOX_URL):
        yield providers.sandbox_adapter(dialect, url)
    else:
        with sandbox.embedded() as own:
            yield providers.sandbox_adapter(dialect, own)


async def _ask(store: NumberStore, lookups: NumberLookups, job: _LookupPlan) -> LookupResult:
    async with contextlib.aclosing(HttpxTransport(concurrency=8)) as transport:
        return await look_up_numbers(store, lookups, transport, job.due, job.terms)


def _teach(state_dir: Path, store: NumberStore, job: _LookupPlan) -> None:
    """Enter what is known into the suppression list, also what an earlier command was killed before it could enter."""
    with SuppressionList.open(state_dir) as suppressions:
        learn_lookups(suppressions, store.look_up(job.wanted, simulated=job.terms.simulated))


def _report(job: _LookupPlan, result: LookupResult, facts: Sequence[NumberFacts]) -> None:
    if job.due:
        spent = result.charged * job.terms.price
        console.out.print(
            f"looked up {result.answered:,}, {result.untold:,} of them not known to the provider, {result.failed:,}"
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
        console.out.print("  run the same command again to go on: what was looked up is kept")


def _frame(facts: Sequence[NumberFacts], form: str) -> pl.DataFrame:
    """What is known as a table with COLUMNS: texts, but `valid` (Boolean) and `looked_up_at` (Datetime, ms, UTC).

    In formats without times that one is a text, too.
    """
    rows = [
        (
            *(fact.number, fact.line_type, fact.carrier, fact.zone, fact.reassigned, fact.reassigned_since),
            *(fact.valid, fact.problem, fact.provider, datetime.fromtimestamp(fact.at / 1000, UTC)),
            *(fact.price, fact.currency),
        )
        for fact in facts
    ]
    schema: dict[str, pl.DataType] = dict.fromkeys(COLUMNS, pl.String())
    schema |= {"valid": pl.Boolean(), "looked_up_at": pl.Datetime("ms", "UTC")}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    if form in ("csv", "jsonl"):
        return frame.with_columns(pl.col("looked_up_at").dt.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
    return frame


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
