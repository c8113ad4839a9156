"""The campaign, compiled once: everything about it that is the same for every row.

`compile_campaign` settles dialect, fields, senders, templates, prices and limits before the first row is read; later
steps ask the compiled value and never the campaign. Reads the template file and the price table, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import polars as pl

from sender import providers, templating
from sender.campaign import prices
from sender.campaign.model import Campaign
from sender.campaign.prices import PriceTable
from sender.campaign.start_time import StartTime
from sender.campaign.values import Rate, is_template
from sender.core import clock
from sender.core.canary import CanaryTerms
from sender.core.errors import CampaignError, Unsupported, setting
from sender.core.experiment import Experiment
from sender.core.frequency import FrequencyCap
from sender.plan import message_fields
from sender.plan.planned_start import PlannedStart
from sender.plan.sender_pool import SenderPool
from sender.planning.compile_texts import CompiledVariant, compile_texts, find_experiment, note_replies
from sender.planning.edition import find_edition
from sender.planning.link_maker import LinkMaker
from sender.planning.number_rules import NumberRules, compile_number_rules
from sender.planning.row_fields import RowFields, compile_fields
from sender.planning.row_filter import check_filter
from sender.planning.scheduled_at import check_send_at
from sender.planning.sending_times import compile_window
from sender.providers.base import Capabilities, FieldValue, SenderKind
from sender.recipients.columns import Recipients
from sender.recipients.input_file import InputFile
from sender.suppression.live_check import SendContext
from sender.templating import Template


@dataclass(frozen=True, slots=True)
class RateSettings:
    """How fast to send, as the campaign says it: not yet compared with what the provider documents."""

    rate: Rate
    by_number: Mapping[str, Rate | None]
    queue: Literal["auto"] | int | None
    concurrency: int | None
    retries: int
    timeout_s: float
    transport: str
    max_rejected_in_a_row: int | None
    max_failed: float | None


@dataclass(frozen=True, slots=True, eq=False)
class CompiledCampaign:
    """What is the same for every row.

    `senders` is empty where a service in `fields` picks the number, and where each row has its own sender, which
    `sender` renders if the campaign has a template for it. `fields` are the provider fields without a template,
    `row_fields` those with one. `pool` is there where a row may get one of several numbers.
    `inputs` are the files read for it, `notes` what a person should know of them.
    """

    name: str
    edition: str
    start: PlannedStart | None
    begins_ms: int  # when its first request may leave, in milliseconds UTC: at its start, or now
    on_unfinished: str
    provider: str
    dialect: str
    capabilities: Capabilities
    fields: Mapping[str, FieldValue]
    row_fields: RowFields
    senders: tuple[str, ...]
    sender: Template | None
    pool: SenderPool | None
    pool_settings: Mapping[str, Any] | None
    body: Template | None
    media: tuple[Template, ...]
    variants: tuple[CompiledVariant, ...]  # of which each row has one; then there is no other body and no other media
    experiment: Experiment | None
    smart_encoding: bool
    max_segments: int | None
    placeholders: tuple[str, ...]
    lint_off: tuple[str, ...]  # rules of `sender.planning.lint`
    is_marketing: bool
    numbers: NumberRules
    prices: PriceTable | None
    max_cost: Decimal | None
    limits: Mapping[str, Any]  # those on a start, but for the cost of the plan
    per_person: tuple[FrequencyCap, ...]
    window: Mapping[str, Any]  # as the manifest keeps it; empty where messages may leave at any time
    canary: CanaryTerms | None
    rates: RateSettings
    sandbox: Mapping[str, Any]
    send_context: SendContext
    inputs: tuple[InputFile, ...]
    notes: tuple[str, ...]
    source: Path | None
    links: LinkMaker | None = None  # with the state's secret, once a plan is built
    # The routes after this one, as `sender.planning.compiled_routes` has them, and what all of them together may send
    # in a second (None: there is no limit).
    others: tuple[CompiledCampaign, ...] = ()
    overall_per_s: float | None = None

    @property
    def is_mms(self) -> pl.Expr:
        """Whether a row goes as MMS."""
        return message_fields.is_mms(self.fields)

    @property
    def simulated(self) -> bool:
        return self.send_context.simulated

    @property
    def varying(self) -> Mapping[str, FieldValue]:
        """What each row fills in, by campaign key, as the campaign writes it."""
        sender: dict[str, FieldValue] = {} if self.sender is None else {"from": self.sender.source}
        return sender | dict(self.row_fields.sources)

    @property
    def templates(self) -> tuple[Template, ...]:
        """All templates of the campaign."""
        bodies = [variant.body for variant in self.variants]
        single = [template for template in (self.body, *bodies, self.sender) if template is not None]
        media = [template for variant in self.variants for template in variant.media]
        return (*single, *self.media, *media, *self.row_fields.templates)

    @property
    def bodies(self) -> tuple[Template, ...]:
        """The templates of the text: one, or one of each variant that has its own."""
        bodies = [self.body] if not self.variants else [variant.body for variant in self.variants]
        return tuple(body for body in bodies if body is not None)

    @property
    def all_senders(self) -> tuple[str, ...]:
        """The senders that are fixed, those of the variants too."""
        own = [variant.sender for variant in self.variants if variant.sender is not None]
        return tuple(dict.fromkeys((*self.senders, *own)))

    def of_variant(self, variant: CompiledVariant) -> CompiledCampaign:
        """Return the campaign in which everybody gets that variant."""
        own = replace(self, body=variant.body, media=variant.media, variants=(), experiment=None)
        if variant.sender is None:
            return own
        return replace(own, senders=(variant.sender,), sender=None, pool=None, pool_settings=None)

    def find_used_columns(self, recipients: Recipients) -> frozenset[str]:
        """Return the headers of the columns that a template or the filter uses."""
        names, headers = recipients.names, recipients.headers
        used = {header for template in self.templates for header in template.used_headers(names, headers)}
        if self.numbers.where is not None:
            used |= {*self.numbers.where.find_columns(names, headers)}
        return frozenset(used)

    @property
    def provider_writes_text(self) -> bool:
        """Whether messages are the provider's own content template."""
        return "content_sid" in self.fields or "content_sid" in self.row_fields.sources


def compile_campaign(campaign: Campaign, *, at: StartTime | Literal["now"] | None = None) -> CompiledCampaign:
    """Return the campaign compiled for its provider, to begin `at` a time (None: as it says itself).

    Raises CampaignError, TemplateError, PricesError or Unsupported for what is wrong with the campaign whatever its
    recipients are.
    """
    start = _find_start(campaign, at)
    dialect = campaign.sandbox.dialect if campaign.provider == "sandbox" else campaign.provider
    way, prices_input = _compile_sending(campaign, dialect)
    texts = compile_texts(campaign)
    return CompiledCampaign(
        name=campaign.name,
        edition=find_edition(campaign, begins=None if start is None else start.at),
        start=start,
        begins_ms=clock.time_of_day_ms() if start is None else max(start.at_ms, clock.time_of_day_ms()),
        on_unfinished=campaign.on_unfinished,
        body=texts.body,
        media=texts.media,
        variants=texts.variants,
        experiment=find_experiment(campaign),
        smart_encoding=campaign.message.smart_encoding,
        max_segments=campaign.message.max_segments,
        placeholders=campaign.recipients.placeholders,
        lint_off=campaign.lint,
        is_marketing=campaign.purpose == "marketing",
        numbers=compile_number_rules(campaign, way["capabilities"]),
        max_cost=campaign.limits.max_cost,
        limits=campaign.limits.to_manifest(),
        per_person=() if campaign.purpose == "transactional" else campaign.limits.per_person,
        window=compile_window(campaign),
        canary=None if campaign.canary is None else campaign.canary.terms,
        sandbox=_sandbox_settings(campaign),
        inputs=(*texts.inputs, *prices_input),
        notes=(*campaign.notes, *texts.notes, *note_replies(campaign)),
        source=campaign.source,
        **way,
    )


def compile_way(campaign: Campaign, first: CompiledCampaign) -> CompiledCampaign:
    """Return what `campaign` sends by: `first` with its provider, fields, senders, prices and pace. Raises InputError.

    `inputs` are the files that it adds.
    """
    way, prices_input = _compile_sending(campaign, campaign.provider)
    return replace(first, **way, variants=(), inputs=prices_input)


def _compile_sending(campaign: Campaign, dialect: str) -> tuple[dict[str, Any], tuple[InputFile, ...]]:
    """Return the parts of a CompiledCampaign that are another route's own, and the files read for them."""
    capabilities = providers.capabilities(dialect)
    placeholders = campaign.recipients.placeholders
    with _naming_the_dialect(campaign.provider, dialect):
        written, senders = _place_senders(campaign, capabilities)
    fields, row_fields = compile_fields(written, placeholders)
    sender, senders = _compile_sender(senders, placeholders)
    pool_settings, pool = _compile_pool(campaign) if len(senders) > 1 else (None, None)
    table, prices_input = _load_prices(campaign)
    way = {
        "provider": campaign.provider,
        "dialect": dialect,
        "capabilities": capabilities,
        "fields": fields,
        "row_fields": row_fields,
        "senders": senders,
        "sender": sender,
        "pool": pool,
        "pool_settings": pool_settings,
        "prices": table,
        "rates": _rate_settings(campaign),
        "send_context": _send_context(campaign, fields),
    }
    return way, prices_input


def _send_context(campaign: Campaign, fields: Mapping[str, FieldValue]) -> SendContext:
    service, simulated = message_fields.find_service(fields), campaign.provider == "sandbox"
    return SendContext(campaign.name, campaign.provider, service, simulated, campaign.skip_dead)


def _load_prices(campaign: Campaign) -> tuple[PriceTable | None, tuple[InputFile, ...]]:
    """Return the price table, if there is one, and the file it is in."""
    _check_prices(campaign)
    if campaign.prices is None:
        return None, ()
    table = prices.load_prices(campaign.path(campaign.prices), name=campaign.prices.as_posix())
    return table, (InputFile("prices", table.name, table.size, table.sha256),)


def _compile_sender(senders: tuple[str, ...], placeholders: tuple[str, ...]) -> tuple[Template | None, tuple[str, ...]]:
    """Return the template of each row's sender, if there is one, and the senders that are fixed."""
    if senders and is_template(senders[0]):
        return templating.compile_template(senders[0], where="from", placeholders=placeholders), ()
    return None, senders


def _find_start(campaign: Campaign, at: StartTime | Literal["now"] | None) -> PlannedStart | None:
    """When the campaign begins; None: when it is sent."""
    own = campaign.start if at is None else at
    if own is None or own == "now":
        return None
    late = campaign.schedule.late if campaign.schedule is not None else None
    return PlannedStart.of(own, late or campaign.late)


def check_columns(compiled: CompiledCampaign, recipients: Recipients) -> None:
    """Raise InputError for what would be wrong with every row of `recipients`."""
    with _naming_the_dialect(compiled.provider, compiled.dialect):
        for variant in compiled.variants:
            _check_provider(compiled.of_variant(variant), recipients)
        if not compiled.variants:
            _check_provider(compiled, recipients)
    if compiled.provider_writes_text and (compiled.bodies or recipients.body is not None):
        raise Unsupported(
            "the provider would send its own template, not the body",
            where="content_sid",
            fix="remove the body or `content_sid`",
        )
    for template in compiled.templates:
        template.check(recipients.names, recipients.headers)
    if compiled.numbers.where is not None:
        check_filter(compiled.numbers.where, recipients)
    own = compiled.body is not None or compiled.media or compiled.variants
    has_content = own or recipients.body is not None or recipients.media is not None
    if not has_content and not compiled.provider_writes_text:
        raise CampaignError(
            "the campaign has no message: no template, no body and no media",
            where=str(compiled.source) if compiled.source else None,
            fix="set `message: {body: 'Hi {{ name }}'}` or `message: {template: file.j2}` (or --body, --template)",
        )


def _check_provider(compiled: CompiledCampaign, recipients: Recipients) -> None:
    check_send_at(compiled.capabilities, compiled.fields, compiled.begins_ms)
    varying = {*compiled.row_fields.sources}
    if varying or compiled.sender is not None:  # what a row fills in is checked row by row
        known = {**compiled.fields, **compiled.row_fields.probe}
        providers.check_parts(compiled.capabilities, senders=compiled.senders, fields=known, varying=varying)
        return
    any_number = ("+12025550100",) if recipients.sender and not compiled.senders else ()  # checked row by row
    providers.check(
        compiled.capabilities,
        senders=compiled.senders or any_number,
        fields=compiled.fields,
        media_count=len(compiled.media),
    )


@contextmanager
def _naming_the_dialect(provider: str, dialect: str) -> Iterator[None]:
    """Refusals in a campaign for the sandbox name the provider whose API it speaks, and how to choose another."""
    try:
        yield
    except Unsupported as error:
        if provider != "sandbox":
            raise
        fix = (error.fix or "").replace(
            "use a provider that carries it", "set `sandbox.dialect` to one that carries it"
        )
        what = f"the sandbox speaks {dialect} (`sandbox.dialect`): {error.what}"
        raise Unsupported(what, where=error.where, fix=fix or None) from None


def _check_prices(campaign: Campaign) -> None:
    for name in ("max_cost", "max_cost_per_day"):
        if getattr(campaign.limits, name) is None or campaign.prices is not None:
            continue
        raise CampaignError(
            f"`limits.{name}` is set without `prices`, so the plan's cost is unknown",
            where=f"limits.{name}",
            fix=f"set {setting('prices', 'prices.yaml')}; campaigns/prices.example.yaml is an example",
        )


def _place_senders(campaign: Campaign, capabilities: Capabilities) -> tuple[dict[str, FieldValue], tuple[str, ...]]:
    """Return the provider fields and the senders; a service id given as `from` is moved to the provider's field."""
    fields: dict[str, FieldValue] = campaign.fields()
    senders = campaign.senders
    templates = [sender for sender in senders if is_template(sender)]
    services = [
        sender for sender in senders if sender not in templates and providers.sender_kind(sender) is SenderKind.SERVICE
    ]
    if len(senders) > 1 and (services or templates):
        what = "a service id" if services else "a template"
        raise CampaignError(
            f"`from` mixes {what} with other senders", where="from", fix="keep only that one, or only numbers"
        )
    if not services:
        return fields, senders
    if capabilities.service_field is None:
        providers.check(capabilities, senders=services, fields=fields, media_count=0)  # its error names who has it
    else:
        fields[capabilities.service_field] = services[0]
    return fields, ()


def _compile_pool(campaign: Campaign) -> tuple[dict[str, Any], SenderPool]:
    weights = {sender.number: sender.weight for sender in campaign.from_.numbers}
    return {"weights": weights, "match": campaign.from_.match}, SenderPool(weights, campaign.from_.match)


def _rate_settings(campaign: Campaign) -> RateSettings:
    return RateSettings(
        rate=campaign.rate,
        by_number={sender.number: sender.rate for sender in campaign.from_.numbers},
        queue=campaign.limits.queue,
        concurrency=campaign.concurrency,
        retries=campaign.retries,
        timeout_s=campaign.timeout_s,
        transport=campaign.transport,
        max_rejected_in_a_row=campaign.limits.max_rejected_in_a_row,
        max_failed=campaign.limits.max_failed,
    )


def _sandbox_settings(campaign: Campaign) -> dict[str, Any]:
    sandbox = campaign.sandbox
    return {"latency_ms": sandbox.latency_ms, "rate_per_s": sandbox.rate.per_s if sandbox.rate else None}
