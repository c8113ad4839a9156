"""Builds a Plan from a campaign: load, clean, render, measure. Columns all the way, a block at a time.

Never touches the network and needs no credentials. A bad row stays in the plan with its reason; what is wrong with
more than a row is an InputError, raised before anything is sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import polars as pl

from sender import audience, blame, cost, phone, prices, providers, recipients, segments, text
from sender.campaign import Campaign
from sender.compose import Offer, compose
from sender.errors import CampaignError, InputError, TemplateError, Unsupported
from sender.outcomes import SkipReason
from sender.plan import PLAN_SCHEMA, Manifest, Pace, Plan
from sender.plan_rows import ContentHash, StoredRows, gather
from sender.providers.base import Capabilities, FieldValue, SenderKind
from sender.recipients import InputFile, Recipients
from sender.spool import Spool

_NUMBERS_AT_ONCE = 1_000_000
_BLAMED_ROWS = 100_000  # whose texts are in memory at once


def build_plan(campaign: Campaign, *, limit: int | None = None, test_to: str | None = None) -> Plan:
    """The plan of `campaign`. Raises InputError for whatever is wrong with more than a row.

    `limit` plans only the first so many messages (the others are skipped as `limit`). `test_to` sends what it plans
    to that one number instead of the recipients.
    """
    with _located(campaign):
        offer, template_input = make_offer(campaign)
        people = recipients.load(campaign)
        _check(offer, people)
    table = _price_table(campaign)  # a broken one tells its own file and line
    reached = _audience(offer, people)
    settings = {
        "provider": campaign.provider,
        "dialect": offer.dialect,
        "senders": offer.senders,
        "fields": offer.fields,
        "test_to": test_to,
    }
    number = None if test_to is None else _test_number(offer, test_to)
    composer = _Composer(offer, people, reached, table, limit=1 if number and limit is None else limit, number=number)
    digest = ContentHash(settings)
    rows = gather(composer.blocks(), digest)
    scan = rows.scan() if isinstance(rows, StoredRows) else rows.lazy()
    sent = scan.filter(pl.col("seq").is_not_null())
    segment_counts = _counted(sent, "segments")
    manifest = Manifest(
        campaign=campaign.name,
        provider=campaign.provider,
        dialect=offer.dialect,
        senders=offer.senders,
        fields=offer.fields,
        test_to=test_to,
        rows=people.table.height,
        messages=composer.messages,
        blank_rows=people.blank_rows,
        skipped=_counted(scan, "reason"),
        segments=sum(int(segments) * count for segments, count in segment_counts.items()),
        segment_counts=segment_counts,
        encodings=_counted(sent, "encoding"),
        mms=composer.messages if offer.always_mms else _height(sent.filter(pl.col("media").list.len() > 0)),
        replacements=composer.replacements(),
        blame=_blame(sent, offer),
        cost=_totals(sent, table, campaign),
        notes=(*people.notes, *reached.notes),
        pace=resolve_pace(offer),
        sandbox={
            "latency_ms": campaign.sandbox.latency_ms,
            "rate_per_s": campaign.sandbox.rate.per_s if campaign.sandbox.rate else None,
        },
        inputs=(*people.inputs, *template_input, *reached.inputs, *_price_input(table)),
        versions={name: version(name) for name in ("babel", "campaign-sender", "jinja2", "phonenumbers", "polars")},
        plan_hash=digest.hexdigest(),
    )
    return Plan(manifest, rows)


@dataclass(frozen=True, slots=True, eq=False)
class _Reached:
    """What is known of each row before it is composed.

    `numbers` has a frame for each block of the recipients, as `sender.phone` has it; `out` the whole list's `reason`
    and `detail` by suppression and repetition (`reason` also where the number is at fault); `inputs` are the
    suppression lists, and `notes` what a person should know of them.
    """

    numbers: Spool
    out: pl.DataFrame
    inputs: tuple[InputFile, ...]
    notes: tuple[str, ...]


class _Composer:
    """Composes the plan's rows a block at a time, and remembers what goes on from block to block.

    `number` (a row of `sender.phone`) stands in for every recipient in a test.
    """

    def __init__(
        self,
        offer: Offer,
        people: Recipients,
        reached: _Reached,
        table: prices.PriceTable | None,
        *,
        limit: int | None,
        number: Mapping[str, Any] | None,
    ) -> None:
        self._offer = offer
        self._people = people
        self._reached = reached
        self._table = table
        self._limit = limit
        self._number = number
        self._replaced: dict[str, Mapping[str, Any]] = {}  # by character
        self._composed = 0  # rows that would be sent if there were no limit
        self.messages = 0

    def blocks(self) -> Iterator[pl.DataFrame]:
        """The plan's rows in order, as PLAN_SCHEMA says, and `recipient`."""
        start = 0
        for block, numbers in zip(self._people.blocks(), self._reached.numbers.frames(), strict=True):
            out = self._reached.out[start : start + numbers.height]
            start += numbers.height
            yield self._block(block, numbers, out)

    def replacements(self) -> tuple[Mapping[str, Any], ...]:
        """What smart encoding replaced, as `segments.smart_encode` tells it, in all blocks."""
        order = {character: place for place, character in enumerate(segments.LOOK_ALIKES)}
        rows = sorted(self._replaced.values(), key=lambda one: (-one["messages"], order[one["character"]]))
        return tuple(rows)

    def _block(self, people: Recipients, numbers: pl.DataFrame, out: pl.DataFrame) -> pl.DataFrame:
        frame = numbers.with_columns(
            people.row_numbers,
            reason=out["reason"],
            detail=pl.when(pl.col("reason").is_null()).then(out["detail"]).otherwise("detail"),
        )
        cells = people.cells
        frame, replaced = compose(frame, people, self._offer)
        for one in replaced:
            earlier = self._replaced.get(one["character"], {"messages": 0})
            self._replaced[one["character"]] = {**one, "messages": one["messages"] + earlier["messages"]}
        if self._limit is not None:
            sendable = audience.sendable(frame)
            frame = audience.limit(frame, self._limit, before=self._composed)
            self._composed += sendable
        live = pl.col("reason").is_null()
        if self._number is not None:
            frame = frame.with_columns(
                pl.when(live).then(pl.lit(self._number[name], pl.String)).otherwise(name).alias(name)
                for name in ("to", "region", "number_type")
            )
        if self._table is None:
            frame = frame.with_columns(cost_micros=pl.lit(None, pl.Int64))
        else:
            frame = cost.price(frame, self._table, all_mms=self._offer.always_mms)
        frame = frame.with_columns(seq=pl.when(live).then(live.cum_sum() - 1 + self.messages))
        self.messages += frame["seq"].count()
        return frame.select(
            *[pl.col(name).cast(dtype) for name, dtype in PLAN_SCHEMA.items()],
            recipient=pl.struct(cells) if cells.width else pl.lit(None),
        )


@contextmanager
def _located(campaign: Campaign) -> Iterator[None]:
    """Gives an error that names a key of the campaign the file and line where it stands."""
    try:
        yield
    except InputError as error:
        if error.where is not None and (place := campaign.locate(error.where)):
            error.where = place
        raise


def make_offer(campaign: Campaign) -> tuple[Offer, tuple[InputFile, ...]]:
    """The campaign with its provider's dialect and its templates compiled; and the template file that was read."""
    dialect = campaign.sandbox.dialect if campaign.provider == "sandbox" else campaign.provider
    capabilities = providers.capabilities(dialect)
    fields, senders = _fields_and_senders(campaign, capabilities)
    body, template_input = _body_template(campaign)
    media = [text.compile_template(url, where="message.media") for url in campaign.message.media]
    return Offer(campaign, dialect, capabilities, fields, senders, body, media), template_input


def _price_table(campaign: Campaign) -> prices.PriceTable | None:
    if campaign.prices is None:
        return None
    return prices.load_prices(campaign.path(campaign.prices), name=campaign.prices.as_posix())


def _price_input(table: prices.PriceTable | None) -> tuple[InputFile, ...]:
    return () if table is None else (InputFile("prices", table.name, table.size, table.sha256),)


def _totals(sent: pl.LazyFrame, table: prices.PriceTable | None, campaign: Campaign) -> dict[str, Any] | None:
    if table is None:
        return None
    most = campaign.limits.max_cost
    spent = cost.totals(sent.select("region", "segments", "cost_micros").collect(engine="streaming"), table)
    return {**spent, "max_cost": None if most is None else f"{most:f}", "table": table.name}


def _blame(sent: pl.LazyFrame, offer: Offer) -> dict[str, Any]:
    """What characters cost in the texts that go as SMS; an MMS has no alphabet and no segments to pay for."""
    may_cost = (pl.col("encoding") == segments.UCS_2) | (pl.col("segments") > 1)  # the rest need no second measuring
    texts = sent.filter((pl.col("media").list.len() == 0) & may_cost).select("body")

    def measured() -> Iterator[pl.DataFrame]:
        for part in texts.collect_batches(chunk_size=_BLAMED_ROWS, engine="streaming"):
            yield segments.measure(part["body"]).with_columns(part)

    return blame.blame_all(measured if not offer.always_mms else lambda: iter(()))


def _check(offer: Offer, people: Recipients) -> None:
    """Raises InputError for what would be wrong with every row."""
    if offer.campaign.limits.max_cost is not None and offer.campaign.prices is None:
        raise CampaignError(
            "`limits.max_cost` without prices: nobody can say what the plan costs",
            where="limits.max_cost",
            fix="set `prices: prices.yaml`; campaigns/prices.example.yaml shows how one is written",
        )
    each_rows_own = ("+12025550100",) if people.sender and not offer.senders else ()  # judged row by row
    providers.check(
        offer.capabilities,
        senders=offer.senders or each_rows_own,
        fields=offer.fields,
        media_count=len(offer.media),
    )
    if "content_sid" in offer.fields and (offer.body is not None or people.body is not None):
        raise Unsupported(
            "the provider's template would be sent, not the body",
            where="content_sid",
            fix="keep the body or `content_sid`",
        )
    for key, value in offer.fields.items():
        if "{{" in str(value) or "{%" in str(value):
            raise Unsupported("is not a template: it would go out as it stands", where=key, fix="write the text itself")
    templates = [one for one in (offer.body, *offer.media) if one is not None]
    for template in templates:
        template.check(people.names, people.headers)
    if not templates and people.body is None and people.media is None and "content_sid" not in offer.fields:
        source = offer.campaign.source
        raise CampaignError(
            "there is nothing to say: no template, no body, no media",
            where=str(source) if source else None,
            fix="set `message: {body: 'Hi {{ name }}'}` or `message: {template: file.j2}` (or --body, --template)",
        )


def _fields_and_senders(
    campaign: Campaign, capabilities: Capabilities
) -> tuple[dict[str, FieldValue], tuple[str, ...]]:
    """Provider fields, with a service id given as `from` put where the provider has it; and the other senders."""
    fields: dict[str, FieldValue] = campaign.fields()
    services = [one for one in campaign.from_ if providers.sender_kind(one) is SenderKind.SERVICE]
    if not services:
        return fields, campaign.from_
    if len(campaign.from_) > 1:
        raise CampaignError(
            "`from` mixes a service id with other senders", fix="give one service id, or a list of numbers"
        )
    if capabilities.service_field is None:
        providers.check(capabilities, senders=services, fields=fields, media_count=0)  # says who has it
    else:
        fields[capabilities.service_field] = services[0]
    return fields, ()


def _body_template(campaign: Campaign) -> tuple[text.Template | None, tuple[InputFile, ...]]:
    message = campaign.message
    if message.body is not None:
        source, where = message.body, "message.body"
        given = InputFile(
            "template", "(message.body)", len(source.encode()), hashlib.sha256(source.encode()).hexdigest()
        )
    elif message.template is not None:
        path = campaign.path(message.template)
        try:
            raw = path.read_bytes()
            source, where = raw.decode("utf-8-sig"), str(path)
        except UnicodeDecodeError as error:
            raise TemplateError(
                f"not UTF-8 (byte {error.start})", where=str(path), fix="save the file as UTF-8"
            ) from None
        except OSError as error:
            raise TemplateError(
                f"the template cannot be read: {error.strerror}",
                where=str(path),
                fix="the path is relative to the campaign file",
            ) from None
        given = InputFile("template", message.template.as_posix(), len(raw), hashlib.sha256(raw).hexdigest())
    else:
        return None, ()
    return text.compile_template(source, where=where), (given,)


def _audience(offer: Offer, people: Recipients) -> _Reached:
    """Who can be reached; suppressed and repeated numbers are marked. Of the whole list only the numbers are held."""
    campaign = offer.campaign
    numbers = _numbers(offer, people)
    known = zip(people.table.columns([]), numbers.frames(["to", "reason"]), strict=True)
    frame = pl.concat([rows.hstack(part) for rows, part in known], rechunk=True).with_columns(
        detail=pl.lit(None, pl.String)
    )
    read: list[InputFile] = []
    notes: list[str] = []
    for path in campaign.suppress:
        raw, given = recipients.load_numbers(campaign.path(path), role="suppress", name=path.as_posix())
        read.append(given)
        listed, unread = _listed(offer, raw)
        if unread.len():
            shown = ", ".join(f"`{one}`" for one in unread.head(3))
            notes.append(f"{unread.len()} of {path.name} are no numbers and suppress nobody: {shown}")
        frame = audience.suppress(frame, listed, source=path.name)
    frame = audience.dedupe(frame, campaign.dedupe)
    return _Reached(numbers, frame.select("reason", "detail"), tuple(read), tuple(notes))


def _numbers(offer: Offer, people: Recipients) -> Spool:
    """The numbers of each block of the recipients. Read by the million: the reader's tables pay for many rows only."""
    headers = [people.phone] if people.region is None else [people.phone, people.region]
    spool = Spool()
    waiting: list[pl.DataFrame] = []

    def read() -> None:
        raw = pl.concat(waiting)
        found = _normalized(offer, raw["0"], raw["1"] if people.region else None)
        start = 0
        for block in waiting:
            spool.append(found[start : start + block.height])
            start += block.height
        waiting.clear()

    for block in people.table.columns(headers):
        waiting.append(block)
        if sum(one.height for one in waiting) >= _NUMBERS_AT_ONCE:
            read()
    if waiting:
        read()
    return spool


def _listed(offer: Offer, raw: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The numbers of a suppression list as they are compared, and the cells that hold none."""
    listed, unread = [], []
    for start in range(0, max(raw.len(), 1), _NUMBERS_AT_ONCE):
        part = raw.slice(start, _NUMBERS_AT_ONCE)
        cleaned = _normalized(offer, part)
        listed.append(cleaned["to"].drop_nulls())
        unread.append(part.filter(cleaned["reason"] == SkipReason.INVALID_NUMBER.value))
    return pl.concat(listed), pl.concat(unread)


def _normalized(offer: Offer, raw: pl.Series, regions: pl.Series | None = None) -> pl.DataFrame:
    """`raw` numbers as the campaign and its provider read them: `phone.normalize`'s columns."""
    spec, capabilities = offer.campaign.recipients, offer.capabilities
    return phone.normalize(
        raw,
        default_region=spec.default_region,
        regions=regions,
        passthrough=capabilities.passthrough,
        short_codes=capabilities.short_code_recipients,
    )


def _test_number(offer: Offer, number: str) -> dict[str, Any]:
    row = phone.normalize(
        pl.Series([number]),
        default_region=offer.campaign.recipients.default_region,
        passthrough=offer.capabilities.passthrough,
    ).row(0, named=True)
    if row["to"] is None:
        raise CampaignError(f"--test-to {number}: {row['detail']}", fix="write it as +12025550100")
    return row


def resolve_pace(offer: Offer) -> Pace:
    """The campaign's pace in the provider's own unit; `auto` becomes the documented limit of that kind of sender."""
    campaign, rates = offer.campaign, offer.capabilities.rates
    kinds = [providers.rate_kind(one) for one in offer.senders] or ["service"]
    known = [rates.get(kind) or rates["long_code"] for kind in kinds]
    documented = min(known, key=lambda rate: rate.per_s)  # a mixed pool goes at the pace of its slowest
    per_s, source = campaign.rate.per_s, None
    if campaign.rate.auto and campaign.provider == "sandbox":
        per_s, source = 50.0, "the sandbox's own default"
    elif campaign.rate.auto:
        per_s, source = documented.per_s, documented.source
    return Pace(
        campaign.rate.text,
        per_s,
        documented.unit,
        campaign.concurrency,
        campaign.retries,
        campaign.timeout_s,
        source,
    )


def _counted(rows: pl.LazyFrame, column: str) -> dict[str, int]:
    """How often each value stands in `column`, by value."""
    counts = rows.drop_nulls(column).group_by(column).agg(n=pl.len()).sort(column).collect(engine="streaming")
    return {str(value): int(count) for value, count in counts.iter_rows()}


def _height(rows: pl.LazyFrame) -> int:
    return int(rows.select(pl.len()).collect(engine="streaming").item())
