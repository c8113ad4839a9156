"""Looks up the numbers of a campaign's recipients: which are due, what they cost, and what is known afterwards.

Nobody is asked before the cost is known and within its limit. Sends no message.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from sender import phone, providers
from sender.campaign.model import Campaign
from sender.core import money
from sender.core.durations import read_duration_s
from sender.core.errors import CostLimit, InputError, UnknownRun
from sender.core.lazy_modules import pl
from sender.delivery.number_lookups import LookupResult, LookupTerms, look_up_numbers
from sender.delivery.provider_session import SANDBOX_URL
from sender.planning.build import build_plan
from sender.providers.base import Adapter
from sender.providers.lookups import NumberLookups, number_lookups
from sender.recipients.columns import load_recipients
from sender.state.find_state import is_state
from sender.state.number_facts import LOOKUP, NumberFacts, NumberStore
from sender.state.open import folder_of, local_folder, open_numbers
from sender.state.state_dir import DEFAULT_STATE_DIR
from sender.suppression.looked_up import learn_lookups
from sender.suppression.suppression_list import SuppressionList
from sender.transport.httpx_transport import HttpxTransport

LOOKUP_COLUMNS = (
    *("number", "line_type", "carrier", "zone", "reassigned", "reassigned_since", "valid", "problem"),
    *("provider", "looked_up_at", "price", "currency"),
)
_MAKE_ONE = "`sender init --state-only` creates one in this folder; --state names another one"
_SANDBOX_PRICE = Decimal("0.005")


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupOptions:
    """How numbers are looked up.

    `state_dir` is where answers are kept. `provider` is who is asked (None: the campaign's), with the credentials in
    `env` (None: the process's environment); with `rehearse` the sandbox is asked in its place. `price` is what a lookup
    costs by the provider's price list, in `currency`, and `max_cost` the most that may be spent (None: the campaign's
    `limits.max_cost`). What is older than `max_age` is looked up again; `reassigned_since` also asks whether numbers
    have a new owner since that day (Twilio). `limit` looks up the first numbers that are due, `per_s` a second at most.
    `whole_list` looks up all numbers of the list, not only those whom the campaign would text.
    """

    state_dir: str | Path = DEFAULT_STATE_DIR
    provider: str | None = None
    env: Mapping[str, str] | None = field(default=None, repr=False)
    rehearse: bool = False
    price: str | Decimal | None = None
    currency: str = "USD"
    max_cost: str | Decimal | None = None
    max_age: str = "90d"
    reassigned_since: str | date | None = None
    limit: int | None = None
    per_s: float = 10
    whole_list: bool = False


@dataclass(frozen=True, slots=True)
class LookedUp:
    """What is known of the numbers of a list.

    `frame` has a row for each number that is known (LOOKUP_COLUMNS: String, but `valid` Boolean and `looked_up_at`
    Datetime in UTC). `wanted` numbers are on the list; `due` of them were to be looked up, for `cost` at most.
    `result` counts what became of those; its `failure` says why the rest was not looked up, None where nothing failed.
    """

    frame: pl.DataFrame
    wanted: int
    due: int
    cost: Decimal
    currency: str
    result: LookupResult


class ListLookup:
    """The numbers of one list: `wanted` all of them, `due` those to look up, `known` how many need not be."""

    def __init__(self, campaign: Campaign, options: LookupOptions, store: NumberStore) -> None:
        """Raises InputError for options that cannot be meant, and for what is wrong with the list."""
        self._options = options
        self._store = store
        self.provider = options.provider or str(campaign.provider)
        sandboxed = self.provider == "sandbox"
        self._dialect = str(campaign.sandbox.dialect) if sandboxed else self.provider
        self._since = read_day(options.reassigned_since)
        self.terms = _terms(options, campaign, simulated=options.rehearse or sandboxed)
        self._oldest_ms = time.time_ns() // 1_000_000 - round(1000 * _read_age_s(options.max_age))
        self.wanted = _numbers(campaign, options)
        unknown = self._unknown(self.wanted)
        self.known = len(self.wanted) - len(unknown)
        self.due = unknown[: options.limit]

    def _unknown(self, numbers: Sequence[str]) -> list[str]:
        """Those of `numbers` that are not known as of now, or not as they are wanted."""
        known = _known(self._store, numbers, self._oldest_ms, self._since, simulated=self.terms.simulated)
        return [number for number in numbers if number not in known]

    @property
    def cost(self) -> Decimal:
        return len(self.due) * self.terms.price

    def check_cost(self) -> None:
        """Raise CostLimit where the lookups would cost more than may be spent."""
        most = self.terms.max_cost
        if most is None or self.cost <= most:
            return
        fits = int(most / self.terms.price)
        many = "1 lookup" if len(self.due) == 1 else f"{len(self.due):,} lookups"
        raise CostLimit(
            f"{many} would cost {self.cost} {self.terms.currency}, but at most {most} may be spent;"
            " nothing was looked up",
            fix=f"--limit {fits} stays within it" if fits else "raise --max-cost",
        )

    async def run(self, on_answer: Callable[[LookupResult], None] = lambda _: None) -> LookupResult:
        """Look up what is due, keep each answer, and enter what it says into the suppression list.

        Raises CredentialsError, RunLocked while another process looks numbers up, and StateError where nothing can be
        kept.
        """
        given = os.environ if self._options.env is None else self._options.env
        try:
            with (
                self._store.hold_lookups(),
                _open_adapter(self._dialect, given, simulated=self.terms.simulated) as adapter,
            ):
                self.due = self._unknown(self.due)  # another process may have looked some up since
                lookups = number_lookups(adapter, reassigned_since=self._since)
                return await self._ask(lookups, on_answer)
        finally:  # also what an earlier call was killed before it could enter
            with SuppressionList.open(self._options.state_dir) as suppressions:
                learn_lookups(suppressions, self.facts())

    async def _ask(self, lookups: NumberLookups, on_answer: Callable[[LookupResult], None]) -> LookupResult:
        async with contextlib.aclosing(HttpxTransport(concurrency=8)) as transport:
            return await look_up_numbers(self._store, lookups, transport, self.due, self.terms, on_answer=on_answer)

    def facts(self) -> list[NumberFacts]:
        """What is known of the numbers of the list, in its order."""
        return list(self._store.look_up(self.wanted, simulated=self.terms.simulated))


def check_state(options: LookupOptions) -> None:
    """Raise UnknownRun where there is no state that could keep what is paid for."""
    where = options.state_dir
    if folder_of(where) is not None and not is_state(where := local_folder(where)):
        raise UnknownRun(f"there is no state directory at {where}", fix=_MAKE_ONE)


@contextlib.contextmanager
def open_list_lookup(campaign: Campaign, options: LookupOptions) -> Iterator[ListLookup]:
    """Open the state for the lookups of a campaign's numbers. Raises UnknownRun where there is none."""
    check_state(options)
    with contextlib.closing(open_numbers(options.state_dir)) as store:
        yield ListLookup(campaign, options, store)


async def alookup(campaign: Campaign, options: LookupOptions | None = None, *, dry_run: bool = False) -> LookedUp:
    """Look up the numbers of `campaign` at its provider, for a price, and return what is known of them.

    Each answer is kept in the state as it comes and not paid for again: call it again to go on with the rest. With
    `dry_run` nobody is asked. Raises InputError, also without a price for a live provider, CostLimit before anybody is
    asked, CredentialsError, RunLocked while another process looks numbers up, and StateError.
    """
    options = LookupOptions() if options is None else options
    with open_list_lookup(campaign, options) as lookup:
        result = LookupResult()
        if lookup.due and not dry_run:
            lookup.check_cost()
            result = await lookup.run()
        return LookedUp(
            facts_frame(lookup.facts()),
            len(lookup.wanted),
            len(lookup.due),
            lookup.cost,
            lookup.terms.currency,
            result,
        )


def facts_frame(facts: Sequence[NumberFacts]) -> pl.DataFrame:
    """Return what is known as a frame with LOOKUP_COLUMNS."""
    rows = [
        (
            *(fact.number, fact.line_type, fact.carrier, fact.zone, fact.reassigned, fact.reassigned_since),
            *(fact.valid, fact.problem, fact.provider, datetime.fromtimestamp(fact.at / 1000, UTC)),
            *(fact.price, fact.currency),
        )
        for fact in facts
    ]
    schema: dict[str, pl.DataType] = dict.fromkeys(LOOKUP_COLUMNS, pl.String())
    schema |= {"valid": pl.Boolean(), "looked_up_at": pl.Datetime("ms", "UTC")}
    return pl.DataFrame(rows, schema=schema, orient="row")


def read_day(value: str | date | None) -> date | None:
    """Return the day since which numbers may have a new owner. Raises InputError."""
    if value is None or isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value.strip())
    except ValueError:
        raise InputError(f"`{value}` is not a day", where="--reassigned-since", fix="write it as 2026-05-01") from None


def _read_age_s(text: str) -> float:
    try:
        return read_duration_s(text)
    except ValueError:
        raise InputError(f"--max-age: {text!r} is not a duration", fix="write 90, 90s, 10m or 1h") from None


def _numbers(campaign: Campaign, options: LookupOptions) -> list[str]:
    """The numbers that would be texted, each once; with `whole_list` those that can be read."""
    if options.whole_list:
        recipients = load_recipients(campaign)
        region = campaign.recipients.default_region
        columns = [
            pl.concat([block[str(at)] for block in recipients.table.columns(recipients.phones)])
            for at in range(len(recipients.phones))
        ]
        read = [phone.normalize(column, default_region=region)["to"] for column in columns]
        numbered = pl.DataFrame([column.alias(str(at)) for at, column in enumerate(read)])
        to = numbered.select(pl.coalesce(pl.all())).to_series()
    else:
        plan = build_plan(campaign, state_dir=options.state_dir)
        to = plan.scan().filter(pl.col("seq").is_not_null()).select("to").collect()["to"]
    known = to.drop_nulls()
    return known.filter(known.str.starts_with("+")).unique(maintain_order=True).to_list()


def _terms(options: LookupOptions, campaign: Campaign, *, simulated: bool) -> LookupTerms:
    limit = campaign.limits.max_cost if options.max_cost is None else options.max_cost
    most = None if limit is None else _amount(str(limit), "--max-cost")
    if options.price is not None:
        price = _amount(str(options.price), "--price")
    elif simulated:
        price = _SANDBOX_PRICE
    else:
        raise InputError(
            "the price of a lookup is unknown: no provider's API has it",
            where="--price",
            fix="add the price from your provider's price list, such as --price 0.008",
        )
    return LookupTerms(options.per_s, price, options.currency, most, simulated)


def _amount(text: str, where: str) -> Decimal:
    try:
        money.parse(text)
        return Decimal(text)
    except (ValueError, InvalidOperation) as error:
        raise InputError(str(error), where=where) from None


def _known(
    store: NumberStore, numbers: Sequence[str], oldest_ms: int, since: date | None, *, simulated: bool
) -> set[str]:
    """The numbers that need not be looked up again."""
    day = None if since is None else since.isoformat()
    return {
        fact.number
        for fact in store.look_up(numbers, simulated=simulated)
        if fact.source == LOOKUP and fact.at >= oldest_ms and (day is None or fact.reassigned_since == day)
    }


@contextlib.contextmanager
def _open_adapter(dialect: str, env: Mapping[str, str], *, simulated: bool) -> Iterator[Adapter]:
    """Open the provider's adapter, or that of a sandbox: the running one, or one for this list."""
    if not simulated:
        yield providers.adapter(dialect, env)
    elif url := env.get(SANDBOX_URL):
        yield providers.sandbox_adapter(dialect, url)
    else:
        from sender import sandbox  # noqa: PLC0415 (its web server takes 0.1 s, and live lookups need none)

        with sandbox.embedded() as own:
            yield providers.sandbox_adapter(dialect, own)
