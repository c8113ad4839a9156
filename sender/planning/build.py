"""Builds a Plan from a campaign: load, clean, render, measure. Columns all the way, a block at a time.

Never touches the network and needs no credentials. A bad row stays in the plan with its reason; what is wrong with
more than a row is an InputError, raised before anything is sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from sender import providers, templating
from sender.campaign import prices
from sender.campaign.model import Campaign
from sender.campaign.values import is_template
from sender.core.errors import CampaignError, InputError, TemplateError, Unsupported, setting
from sender.plan import message_fields
from sender.plan.manifest import Manifest
from sender.plan.message_fields import SERVICE_FIELDS, service_of
from sender.plan.plan import Plan
from sender.plan.sender_pool import SenderPool
from sender.plan.stored_rows import StoredRows, gather
from sender.planning import costs, row_fields
from sender.planning.compiled import CompiledCampaign
from sender.planning.eligibility import reach, read_test_number
from sender.planning.messages import MessageBuilder
from sender.planning.throughput import feasibility
from sender.planning.totals import PlanTotals
from sender.providers.base import Capabilities, FieldValue, SenderKind
from sender.recipients import columns
from sender.recipients.columns import InputFile, Recipients
from sender.suppression.entries import SuppressionList
from sender.suppression.live_check import SendContext, apply_suppression


def build_plan(
    campaign: Campaign,
    *,
    limit: int | None = None,
    test_to: str | None = None,
    state_dir: str | Path | None = None,
) -> Plan:
    """The plan of `campaign`. Raises InputError for whatever is wrong with more than a row.

    `limit` plans only the first so many messages (the others are skipped as `limit`). `test_to` sends what it plans
    to that one number instead of the recipients. Whoever is on the suppression list in `state_dir` is skipped; it
    need not exist. The list is not in the hash: a STOP after a run must not make the same campaign look unsent.
    """
    with _located(campaign):
        offer, template_input = make_offer(campaign)
        people = columns.load(campaign)
        _check(offer, people)
    table = _price_table(campaign)  # a broken one tells its own file and line
    reached = reach(offer, people)
    settings = {
        "provider": campaign.provider,
        "dialect": offer.dialect,
        "senders": offer.senders,
        "fields": offer.fields,
        "test_to": test_to,
    }
    number = None if test_to is None else read_test_number(offer, test_to)
    limit = 1 if number and limit is None else limit
    tally = PlanTotals(offer, settings, phone=people.phone)
    with _suppressions(offer, state_dir) as (held_back, suppressed):
        composer = MessageBuilder(offer, people, reached, table, limit=limit, number=number, held_back=held_back)
        rows = gather(composer.blocks(), tally.add)
    scan = rows.scan() if isinstance(rows, StoredRows) else rows.lazy()
    sent = scan.filter(pl.col("seq").is_not_null())
    pace, feasible = feasibility(offer, sent, mms=tally.mms > 0)
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
        skipped=tally.skipped,
        segments=tally.segments,
        segment_counts=tally.segment_counts,
        encodings=tally.encodings,
        mms=tally.mms,
        replacements=composer.replacements(),
        blame=tally.blame,
        cost=_totals(sent, table, campaign),
        numbers={
            "caution": campaign.recipients.caution,
            "skip_types": list(campaign.recipients.skip_types),
            "repairs": tally.repairs,
        },
        notes=(*people.notes, *reached.notes),
        pace=pace,
        feasibility=feasible,
        templates=_template_sources(offer),
        pool=_pool_settings(campaign) if offer.pool is not None else None,
        sandbox={
            "latency_ms": campaign.sandbox.latency_ms,
            "rate_per_s": campaign.sandbox.rate.per_s if campaign.sandbox.rate else None,
        },
        inputs=(*people.inputs, *template_input, *reached.inputs, *_price_input(table)),
        versions={name: version(name) for name in ("babel", "campaign-sender", "jinja2", "phonenumbers", "polars")},
        suppression=suppressed,
        plan_hash=tally.plan_hash,
        identity=tally.identity,
    )
    return Plan(manifest, rows)


@contextmanager
def _suppressions(
    offer: CompiledCampaign, state_dir: str | Path | None
) -> Iterator[tuple[Callable[[pl.DataFrame], pl.DataFrame] | None, dict[str, Any] | None]]:
    """Who on the suppression list is held back, as a function of rows; and what of it the send loop need not look at
    again. Both None without a list."""
    campaign = offer.campaign
    if state_dir is None:
        yield None, None
        return
    sending = SendContext(
        campaign=campaign.name,
        provider=campaign.provider,
        service=service_of(offer.fields),
        simulated=campaign.provider == "sandbox",
        skip_dead=campaign.skip_dead,
    )
    with SuppressionList.open(state_dir, create=False) as suppressions:
        mark = suppressions.mark()  # before it is read: what comes in between is looked at twice, never not at all
        yield (
            lambda frame: apply_suppression(
                frame, suppressions, sending, own_service=message_fields.own_service(SERVICE_FIELDS)
            ),
            {"mark": mark, "skip_dead": campaign.skip_dead},
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


def make_offer(campaign: Campaign) -> tuple[CompiledCampaign, tuple[InputFile, ...]]:
    """The campaign with its provider's dialect and its templates compiled; and the template file that was read."""
    dialect = campaign.sandbox.dialect if campaign.provider == "sandbox" else campaign.provider
    capabilities = providers.capabilities(dialect)
    given, senders = _fields_and_senders(campaign, capabilities)
    constant, templates = row_fields.compile_fields(given)
    sender = None
    if senders and is_template(senders[0]):
        sender, senders = templating.compile_template(senders[0], where="from"), ()
    pool = SenderPool(_pool_settings(campaign)["weights"], campaign.from_.match) if len(senders) > 1 else None
    body, template_input = _body_template(campaign)
    media = [templating.compile_template(url, where="message.media") for url in campaign.message.media]
    return CompiledCampaign(
        campaign, dialect, capabilities, constant, senders, body, media, sender, templates, pool
    ), template_input


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
    spent = costs.totals(sent, table)
    return {**spent, "max_cost": None if most is None else f"{most:f}", "table": table.name}


def _check(offer: CompiledCampaign, people: Recipients) -> None:
    """Raises InputError for what would be wrong with every row."""
    if offer.campaign.limits.max_cost is not None and offer.campaign.prices is None:
        raise CampaignError(
            "`limits.max_cost` without prices: nobody can say what the plan costs",
            where="limits.max_cost",
            fix=f"set {setting('prices', 'prices.yaml')}; campaigns/prices.example.yaml shows how one is written",
        )
    varying = {*offer.templates.sources}
    if varying or offer.sender is not None:  # the rest is judged row by row
        known = {**offer.fields, **offer.templates.probe}
        providers.check_parts(offer.capabilities, senders=offer.senders, fields=known, varying=varying)
    else:
        each_rows_own = ("+12025550100",) if people.sender and not offer.senders else ()  # judged row by row
        providers.check(
            offer.capabilities,
            senders=offer.senders or each_rows_own,
            fields=offer.fields,
            media_count=len(offer.media),
        )
    if "content_sid" in {*offer.fields, *varying} and (offer.body is not None or people.body is not None):
        raise Unsupported(
            "the provider's template would be sent, not the body",
            where="content_sid",
            fix="keep the body or `content_sid`",
        )
    saying = [one for one in (offer.body, *offer.media) if one is not None]
    for template in (*saying, *([offer.sender] if offer.sender else ()), *offer.templates.templates):
        template.check(people.names, people.headers)
    says_nothing = not saying and people.body is None and people.media is None
    if says_nothing and "content_sid" not in {*offer.fields, *varying}:
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
    given: dict[str, FieldValue] = campaign.fields()
    senders = campaign.senders
    written = [one for one in senders if is_template(one)]
    services = [one for one in senders if one not in written and providers.sender_kind(one) is SenderKind.SERVICE]
    if len(senders) > 1 and (services or written):
        what = "a service id" if services else "a template"
        raise CampaignError(
            f"`from` mixes {what} with other senders", where="from", fix="give it alone, or a list of numbers"
        )
    if not services:
        return given, senders
    if capabilities.service_field is None:
        providers.check(capabilities, senders=services, fields=given, media_count=0)  # says who has it
    else:
        given[capabilities.service_field] = services[0]
    return given, ()


def _pool_settings(campaign: Campaign) -> dict[str, Any]:
    weights = {one.number: one.weight for one in campaign.from_.numbers}
    return {"weights": weights, "match": campaign.from_.match}


def _template_sources(offer: CompiledCampaign) -> dict[str, FieldValue]:
    """What each row fills in, as the campaign has it."""
    own: dict[str, FieldValue] = {} if offer.sender is None else {"from": offer.sender.source}
    return own | dict(offer.templates.sources)


def _body_template(campaign: Campaign) -> tuple[templating.Template | None, tuple[InputFile, ...]]:
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
    return templating.compile_template(source, where=where), (given,)
