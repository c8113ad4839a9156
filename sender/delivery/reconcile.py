"""Settles unknown messages from the provider's own log.

A message that is found was accepted, and has the provider's id. Absence counts only after a complete walk of the log,
once the log can no longer lag, and where no entry is left that may be the message; it is then pending again. Everything
else stays `unknown`. Doubts of all runs are compared, because they share the log. Sends nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import polars as pl

from sender.core import numbers
from sender.core.errors import PlanError
from sender.core.outcomes import Accepted, Status, SubmissionState
from sender.core.refs import make_ref
from sender.delivery.log_evidence import DoubtfulMessage, Evidence, KnownMessage, LoggedMessage, decidable_at, weigh
from sender.delivery.provider_log import SKEW, LogReader
from sender.delivery.provider_session import ProviderSession
from sender.plan.plan import Plan
from sender.providers import account_family
from sender.providers.base import LogEntry, LogFacts, LogQuery, Request, Response
from sender.state.ledger import JOURNAL_SCHEMA, Ledger, LogFinding, Run
from sender.state.ledger_values import IdHolder, RunRoute
from sender.transport.base import TransportFailure

log = logging.getLogger("sender.delivery.reconcile")

QUERY_PAGES_MAX = 200  # of a query for one number: more of them are not about that number
WALK_PAGES_MAX = 2_000  # in all, besides the first of each query: a million entries
WALK_MAX_S = 1_800.0


@dataclass(frozen=True, slots=True)
class ReconcileResult:
    """Counts of unknown messages: found at the provider, proved absent (pending again), still doubtful.

    `decidable_at` is when the doubtful ones can be decided (None when there are none, or when the provider's log never
    proves absence). `failure` is why the log could not be read to its end. `contested` of the doubtful ones may be an
    entry of the log that cannot be attributed: no wait decides these.
    """

    found: int = 0
    absent: int = 0
    doubtful: int = 0
    decidable_at: datetime | None = None
    failure: str | None = None
    contested: int = 0


@dataclass(frozen=True, slots=True)
class _DatedPage:
    entries: tuple[LogEntry, ...]
    next: Request | None
    dated: bool


@dataclass(slots=True)
class _Walk:
    """What a walk met, and why it did not reach its end (None: it did)."""

    logged: list[LoggedMessage] = field(default_factory=list)
    failure: str | None = None


async def reconcile(
    *,
    ledger: Ledger,
    run: Run,
    plan: Plan,
    provider: ProviderSession,
    cancel: asyncio.Event,
    plan_of: Callable[[Run], Plan] | None = None,
    route: int | None = None,
    unreadable: str | None = None,
) -> ReconcileResult:
    """Settle those of `run`'s unknown messages that the provider's log decides.

    `route` is the place of the one whose provider, run and plan these are (`sender.delivery.route_sessions`); None for
    a run with one way to send.

    `plan_of` reads the plans of other runs, whose messages in doubt are compared as well; without it, these may be to
    anybody. Setting `cancel` ends the walk: what was found by then is settled, and absence proves nothing. With
    `unreadable`, which is why the log could not be read a moment ago, it is not asked, and nothing is settled.
    Raises StateError when the ledger cannot be written.
    """
    unknown = ledger.journal(run.run_id, states=[SubmissionState.UNKNOWN])
    messages = _doubtful(unknown if route is None else unknown.filter(route=route), plan, run)
    if not messages:
        return ReconcileResult()
    facts, now = provider.facts, _now(ledger.now_ms)
    walk = _Walk(failure=unreadable)
    if unreadable is None:
        walk = await _walk(provider, _queries(messages, facts, now), messages, ledger.now_ms, cancel)
    # Read after the walk, doubts before ids: whatever of ours the log shows has an intent or an id by then.
    others = _other_doubts(ledger, run, provider, plan_of, now) if walk.logged else []
    known = _known_messages(ledger, walk.logged, lambda one: plan if one.run_id == run.run_id else _plan(plan_of, one))
    evidence = weigh(messages, others, walk.logged, known, facts)
    absent, decidable = _decide_absence(messages, evidence, facts, now, complete=walk.failure is None)
    _record(ledger, run, messages, evidence, absent)
    _warn_of_shared_ids(evidence, known)
    result = ReconcileResult(
        found=len(evidence.entries),
        absent=len(absent),
        doubtful=len(messages) - len(evidence.entries) - len(absent),
        decidable_at=decidable,
        failure=walk.failure,
        contested=len(evidence.rivalled),
    )
    _log_result(result)
    return result


# -- messages in doubt ----------------------------------------------------------------------------------------------


def _doubtful(rows: pl.DataFrame, plan: Plan, run: Run) -> list[DoubtfulMessage]:
    """The messages of a run with these rows of its journal, earliest first."""
    run_id = run.run_id
    rows = rows.with_columns(_doubted_since(run)).select(
        "seq", "intent_at", "updated_at", "attempts", "sender", "route"
    )
    if rows.is_empty():
        return []
    # The number that really sent it; the plan's are those of the first route.
    sender = pl.when(pl.col("route") == 0).then(pl.coalesce("sender", "from_number")).otherwise("sender")
    planned = (
        plan.scan()
        .select("seq", "to", "from_number", "body")
        .filter(pl.col("seq").is_in(rows["seq"].implode()) & pl.col("to").is_not_null())  # else it was erased
        .collect()
        .join(rows, on="seq")
        .with_columns(from_number=sender)
        .drop("sender", "route")
    )
    return [
        DoubtfulMessage(run_id, seq, make_ref(run_id, seq), to, sender, body, intent_at, doubted_at, attempt)
        for seq, to, sender, body, intent_at, doubted_at, attempt in planned.sort("intent_at", "seq").iter_rows()
    ]


def _doubted_since(run: Run) -> pl.Expr:
    """`intent_at` as the time from which on the log may show the message.

    One that a person had sent again may be an entry from the first time, whenever in the run that was.
    """
    begun = pl.lit(datetime.fromtimestamp(run.created_at_ms / 1000, UTC), JOURNAL_SCHEMA["intent_at"])
    first = pl.when(pl.col("resent") > 0).then(pl.min_horizontal(begun, "intent_at"))
    return first.otherwise("intent_at").alias("intent_at")


def _other_doubts(
    ledger: Ledger, run: Run, provider: ProviderSession, plan_of: Callable[[Run], Plan] | None, now: datetime
) -> list[DoubtfulMessage]:
    """The messages in doubt of all other runs that the same log shows. A request in flight is in doubt until now."""
    doubts = ledger.doubts().filter(pl.col("run_id") != run.run_id)
    others: list[DoubtfulMessage] = []
    for (run_id,), rows in doubts.group_by("run_id", maintain_order=True):
        other = ledger.run(str(run_id))
        shared = _routes_with_log(run, other, ledger.routes(other.run_id), provider)
        rows = rows.filter(pl.col("route").is_in(shared))  # noqa: PLW2901
        if rows.is_empty():
            continue
        until = pl.when(pl.col("state") == SubmissionState.INTENT.value).then(now).otherwise("updated_at")
        rows = rows.with_columns(updated_at=until)  # noqa: PLW2901
        plan = _plan(plan_of, other)
        if plan is not None:
            others += _doubtful(rows, plan, other)
        else:
            rows = rows.with_columns(_doubted_since(other))  # noqa: PLW2901
            others += (
                DoubtfulMessage(other.run_id, seq, make_ref(other.run_id, seq), None, None, None, begun, ended, attempt)
                for seq, begun, ended, attempt in rows.select("seq", "intent_at", "updated_at", "attempts").iter_rows()
            )
    return others


def _plan(plan_of: Callable[[Run], Plan] | None, run: Run) -> Plan | None:
    """The plan of another run; None where it cannot be read."""
    with contextlib.suppress(PlanError):
        return None if plan_of is None else plan_of(run)
    return None


def _known_messages(
    ledger: Ledger, logged: Sequence[LoggedMessage], plan_of: Callable[[Run], Plan | None]
) -> dict[str, list[KnownMessage]]:
    """The messages of any run that have the id of an entry, by that id."""
    by_run: dict[str, list[IdHolder]] = {}
    for holder in ledger.holders_of({one.entry.message_id for one in logged}):
        by_run.setdefault(holder.run_id, []).append(holder)
    known: dict[str, list[KnownMessage]] = {}
    for run_id, holders in by_run.items():
        plan = plan_of(ledger.run(run_id))
        seqs = [holder.seq for holder in holders]
        texts: dict[int, KnownMessage] = {}
        if plan is not None:
            rows = plan.scan().select("seq", "to", "body").filter(pl.col("seq").is_in(seqs)).collect()
            texts = {seq: KnownMessage(to, body) for seq, to, body in rows.iter_rows()}
        for holder in holders:
            known.setdefault(holder.message_id, []).append(texts.get(holder.seq, KnownMessage(None, None)))
    return known


def _routes_with_log(run: Run, other: Run, routes: Sequence[RunRoute], provider: ProviderSession) -> list[int]:
    """The places of the other run's `routes` whose messages the log of `run` may show; a single one is 0."""
    ways = [replace(other, **route._asdict()) for route in routes] or [other]
    return [place for place, way in enumerate(ways) if _shares_log(run, way, provider)]


def _shares_log(run: Run, other: Run, provider: ProviderSession) -> bool:
    """Whether the log of `run` may show messages of the other run."""
    if run.simulated is not other.simulated or (run.simulated and not provider.shares_sandbox):
        return False
    same_account = _may_be_equal(run.account, other.account) and _may_be_equal(run.base_url, other.base_url)
    return same_account and (run.simulated or account_family(run.provider) == account_family(other.provider))


def _may_be_equal(one: str | None, other: str | None) -> bool:
    return one == other or one is None or other is None


# -- the log --------------------------------------------------------------------------------------------------------


def _queries(messages: Sequence[DoubtfulMessage], facts: LogFacts, now: datetime) -> list[LogQuery]:
    since, until = min(message.intent_at for message in messages) - SKEW, now + SKEW
    if facts.filters_by_recipient:
        return [LogQuery(since, until, to=to) for to in sorted({message.to or "" for message in messages})]
    return [LogQuery(since, until)]


async def _walk(
    provider: ProviderSession,
    queries: Sequence[LogQuery],
    messages: Sequence[DoubtfulMessage],
    now_ms: Callable[[], int],
    cancel: asyncio.Event,
) -> _Walk:
    """Read every page of every query, and keep the entries that may be about `messages`."""
    facts, adapter = provider.facts, provider.adapter
    reader = LogReader(
        provider.transport,
        pause_s=1 / facts.requests_per_s,
        cancel=cancel,
        pages_max=WALK_PAGES_MAX + len(queries),
        query_pages_max=QUERY_PAGES_MAX if facts.filters_by_recipient else None,
        seconds_max=WALK_MAX_S,
    )

    def read_page(response: Response, request: Request) -> _DatedPage:
        check_clock(response, now_ms())
        page = adapter.log_page(response, request)
        dated = _answered_at(response) is not None
        if not dated and not facts.filters_by_recipient:  # else a window by another clock
            raise ValueError("the provider's answer has no date, so times cannot be compared")
        return _DatedPage(page.entries, page.next, dated)

    walk = _Walk()
    try:
        for query in queries:
            met: dict[str, LoggedMessage] = {}  # also of a walk that ends early
            try:
                async with contextlib.aclosing(reader.pages_from(adapter.log_request(query), read_page)) as pages:
                    async for page in pages:
                        _meet(met, page, query.to)
            finally:
                walk.logged += _relevant(met.values(), messages)
    except (TransportFailure, ValueError) as error:
        walk.failure = str(error) or type(error).__name__
        log.warning(
            "the provider's log could not be read to its end: %s", walk.failure, extra={"event": "reconcile_failed"}
        )
    return walk


def _meet(met: dict[str, LoggedMessage], page: _DatedPage, asked_for: str | None) -> None:
    """Add the entries of a page to those of the pages before it."""
    before = set(met)
    for entry in page.entries:
        if entry.message_id in before:
            met[entry.message_id] = replace(met[entry.message_id], repeated=True)
        else:
            met.setdefault(entry.message_id, LoggedMessage(entry, asked_for, page.dated))


def _relevant(logged: Iterable[LoggedMessage], messages: Sequence[DoubtfulMessage]) -> list[LoggedMessage]:
    """Without the entries that are readably to somebody else; a walk of a whole account meets many of these."""
    recipients = {message.to for message in messages}
    refs = {message.ref for message in messages}
    return [
        one
        for one in logged
        if one.entry.to in recipients or one.entry.ref in refs or not numbers.is_canonical(one.entry.to)
    ]


def _decide_absence(
    messages: Sequence[DoubtfulMessage], evidence: Evidence, facts: LogFacts, now: datetime, *, complete: bool
) -> tuple[list[DoubtfulMessage], datetime | None]:
    """The messages that are proved absent, and when all others could be (None: there are none, or never)."""
    if facts.settle_s is None:
        return [], None
    absent: list[DoubtfulMessage] = []
    waiting: list[datetime] = []
    for message in messages:
        if message.seq in evidence.entries or message.seq in evidence.rivalled:
            continue
        decidable = decidable_at(message, facts.settle_s)
        if complete and decidable <= now:
            absent.append(message)
        else:
            waiting.append(decidable)
    return absent, max(waiting, default=None)


def _record(
    ledger: Ledger,
    run: Run,
    messages: Sequence[DoubtfulMessage],
    evidence: Evidence,
    absent: Iterable[DoubtfulMessage],
) -> None:
    attempts = {message.seq: message.attempt for message in messages}
    findings = [LogFinding(seq, _accepted(entry), attempts[seq]) for seq, entry in evidence.entries.items()]
    findings += [LogFinding(message.seq, None, message.attempt) for message in absent]
    ledger.reconcile(run.run_id, findings)


def _warn_of_shared_ids(evidence: Evidence, known: Mapping[str, Sequence[KnownMessage]]) -> None:
    shared = sum(entry.message_id in known for entry in evidence.entries.values())
    if shared:
        log.warning(
            "%s got the id of another message in the provider's answer: the delivery status shown is that one's",
            "1 message" if shared == 1 else f"{shared:,} messages",
            extra={"event": "shared_id", "messages": shared},
        )


def _log_result(result: ReconcileResult) -> None:
    log.info(
        "%d unknown looked up in the provider's log: %d found, %d proved absent (pending again), %d still unknown",
        result.found + result.absent + result.doubtful,
        result.found,
        result.absent,
        result.doubtful,
        extra={
            "event": "reconciled",
            "found": result.found,
            "absent": result.absent,
            "unknown": result.doubtful,
        },
    )


# -- clocks ---------------------------------------------------------------------------------------------------------


def clocks_apart_s(response: Response, now_ms: int) -> float | None:
    """Seconds between the answer's own date and our clock if they are more than SKEW, else None (also without a date).

    Times in the provider's log could then not be compared with ours.
    """
    answered_at = _answered_at(response)
    if answered_at is None:
        return None
    apart_s = abs(answered_at.timestamp() - now_ms / 1000)
    return apart_s if apart_s > SKEW.total_seconds() else None


def _answered_at(response: Response) -> datetime | None:
    """The answer's own date; None without one that can be read and has an offset."""
    try:
        answered_at = parsedate_to_datetime(response.headers.get("date", ""))
    except (ValueError, OverflowError):
        return None
    return answered_at if answered_at.tzinfo is not None else None


def check_clock(response: Response, now_ms: int) -> None:
    """Raise ValueError when the answer's date is further than SKEW from our clock: times could not be compared."""
    apart_s = clocks_apart_s(response, now_ms)
    if apart_s is not None:
        raise ValueError(f"the provider's clock and ours are {apart_s:.0f} s apart: set this machine's clock")


def _now(now_ms: Callable[[], int]) -> datetime:
    return datetime.fromtimestamp(now_ms() / 1000, UTC)


def _accepted(entry: LogEntry) -> Accepted:
    return Accepted(
        message_id=entry.message_id,
        status=entry.status or Status.QUEUED,
        provider_status=entry.provider_status,
        segments=entry.segments,
        price=entry.price,
        currency=entry.currency,
        created_at=entry.created_at.isoformat() if entry.created_at else None,
        sent_at=entry.sent_at.isoformat() if entry.sent_at else None,
        reason=entry.reason,
        error_code=entry.error_code,
        error_message=entry.error_message,
        line_type=entry.line_type,
        carrier=entry.carrier,
        smart_encoded=entry.smart_encoded,
    )
