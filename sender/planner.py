"""Builds a Plan from a campaign: load, clean, render, measure. Columns all the way.

Never touches the network and needs no credentials. A bad row stays in the plan with its reason; what is wrong with
more than a row is an InputError, raised before anything is sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import polars as pl

from sender import audience, blame, cost, phone, prices, providers, recipients, segments, text
from sender.campaign import Campaign
from sender.compose import Offer, compose
from sender.errors import CampaignError, InputError, TemplateError, Unsupported
from sender.outcomes import SkipReason
from sender.plan import PLAN_SCHEMA, Manifest, Pace, Plan, content_hash
from sender.providers.base import Capabilities, FieldValue, SenderKind
from sender.recipients import InputFile, Recipients


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
    frame, suppression, notes = _audience(offer, people)
    frame, replacements = compose(frame, people, offer)
    if limit is not None or test_to is not None:
        frame = audience.limit(frame, 1 if limit is None else limit)
    live = pl.col("reason").is_null()
    if test_to is not None:
        number = _test_number(offer, test_to)
        frame = frame.with_columns(
            pl.when(live).then(pl.lit(number[name], pl.String)).otherwise(name).alias(name)
            for name in ("to", "region", "number_type")
        )
    if table is None:
        frame = frame.with_columns(cost_micros=pl.lit(None, pl.Int64))
    else:
        frame = cost.price(frame, table, all_mms=offer.always_mms)
    frame = frame.with_columns(seq=pl.when(live).then(live.cum_sum() - 1)).select(
        *[pl.col(name).cast(dtype) for name, dtype in PLAN_SCHEMA.items()],
        recipient=pl.struct(people.cells) if people.cells.width else pl.lit(None),
    )
    sent = frame.filter(pl.col("seq").is_not_null())
    settings = {
        "provider": campaign.provider,
        "dialect": offer.dialect,
        "senders": offer.senders,
        "fields": offer.fields,
        "test_to": test_to,
    }
    manifest = Manifest(
        campaign=campaign.name,
        provider=campaign.provider,
        dialect=offer.dialect,
        senders=offer.senders,
        fields=offer.fields,
        test_to=test_to,
        rows=frame.height,
        messages=sent.height,
        blank_rows=people.blank_rows,
        skipped=_counted(frame["reason"].drop_nulls()),
        segments=int(sent["segments"].sum()),
        segment_counts=_counted(sent["segments"]),
        encodings=_counted(sent["encoding"].drop_nulls()),
        mms=sent.height if offer.always_mms else int((sent["media"].list.len() > 0).sum()),
        replacements=replacements,
        blame=_blame(sent, offer),
        cost=_totals(sent, table, campaign),
        notes=notes,
        pace=resolve_pace(offer),
        sandbox={
            "latency_ms": campaign.sandbox.latency_ms,
            "rate_per_s": campaign.sandbox.rate.per_s if campaign.sandbox.rate else None,
        },
        inputs=(*people.inputs, *template_input, *suppression, *_price_input(table)),
        versions={name: version(name) for name in ("babel", "campaign-sender", "jinja2", "phonenumbers", "polars")},
        plan_hash=content_hash(frame.drop("cost_micros"), settings),
    )
    return Plan(manifest, frame)


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


def _totals(sent: pl.DataFrame, table: prices.PriceTable | None, campaign: Campaign) -> dict[str, Any] | None:
    if table is None:
        return None
    most = campaign.limits.max_cost
    return {**cost.totals(sent, table), "max_cost": None if most is None else f"{most:f}", "table": table.name}


def _blame(sent: pl.DataFrame, offer: Offer) -> dict[str, Any]:
    """What characters cost in the texts that go as SMS; an MMS has no alphabet and no segments to pay for."""
    if offer.always_mms:
        sent = sent.clear()
    may_cost = (pl.col("encoding") == segments.UCS_2) | (pl.col("segments") > 1)  # the rest need no second measuring
    texts = sent.filter((pl.col("media").list.len() == 0) & may_cost)["body"]
    return blame.blame(segments.measure(texts).with_columns(body=texts))


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
        template.check(people.names, people.cells.columns)
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


def _audience(offer: Offer, people: Recipients) -> tuple[pl.DataFrame, tuple[InputFile, ...], tuple[str, ...]]:
    """row_number, to, region, number_type, reason, detail: who can be reached, suppressed and repeated marked."""
    campaign, capabilities = offer.campaign, offer.capabilities
    numbers = phone.normalize(
        people.cells[people.phone],
        default_region=campaign.recipients.default_region,
        regions=people.cells[people.region] if people.region else None,
        passthrough=capabilities.passthrough,
        short_codes=capabilities.short_code_recipients,
    )
    frame = numbers.with_columns(row_number=people.row_numbers)
    read: list[InputFile] = []
    notes: list[str] = []
    for path in campaign.suppress:
        raw, given = recipients.load_numbers(campaign.path(path), role="suppress", name=path.as_posix())
        read.append(given)
        cleaned = phone.normalize(
            raw,
            default_region=campaign.recipients.default_region,
            passthrough=capabilities.passthrough,
            short_codes=capabilities.short_code_recipients,
        )
        unread = raw.filter(cleaned["reason"] == SkipReason.INVALID_NUMBER.value)
        if unread.len():
            shown = ", ".join(f"`{one}`" for one in unread.head(3))
            notes.append(f"{unread.len()} of {path.name} are no numbers and suppress nobody: {shown}")
        frame = audience.suppress(frame, cleaned["to"].drop_nulls(), source=path.name)
    return audience.dedupe(frame, campaign.dedupe), tuple(read), tuple(notes)


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
        campaign.transport,
    )


def _counted(column: pl.Series) -> dict[str, int]:
    """How often each value stands in `column`, by value."""
    counts = column.value_counts(name="n").sort(column.name)
    return {str(value): int(count) for value, count in counts.iter_rows()}
