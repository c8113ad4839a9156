"""Builds a Plan from a campaign: load, clean, render, measure. Columns all the way.

Never touches the network and needs no credentials. A bad row stays in the plan with its reason; what is wrong with
more than a row is an InputError, raised before anything is sent.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import polars as pl

from sender import audience, phone, providers, recipients, segments, text
from sender.campaign import Campaign
from sender.errors import CampaignError, InputError, TemplateError
from sender.outcomes import SkipReason
from sender.plan import PLAN_SCHEMA, Manifest, Pace, Plan, content_hash
from sender.providers.base import Capabilities, FieldValue, SenderKind
from sender.recipients import InputFile, Recipients


def build_plan(campaign: Campaign, *, limit: int | None = None, test_to: str | None = None) -> Plan:
    """The plan of `campaign`. Raises InputError for whatever is wrong with more than a row.

    `limit` plans only the first so many messages (the others are skipped as `limit`). `test_to` sends what it plans
    to that one number instead of the recipients.
    """
    dialect = campaign.sandbox.dialect if campaign.provider == "sandbox" else campaign.provider
    capabilities = providers.capabilities(dialect)
    fields, senders = _fields_and_senders(campaign, capabilities)
    body_template, template_input = _body_template(campaign)
    media_templates = [text.compile_template(url, where="message.media") for url in campaign.message.media]
    people = recipients.load(campaign)
    providers.check(
        capabilities,
        senders=senders or (("+12025550100",) if people.sender else ()),  # each row's own is checked below
        fields=fields,
        media_count=len(media_templates),
    )
    names = set(people.names)
    for template in [body_template, *media_templates]:
        if template is not None:
            template.check(names)
    if (
        body_template is None
        and people.body is None
        and not media_templates
        and people.media is None
        and "content_sid" not in fields
    ):
        raise CampaignError(
            "there is nothing to say: no template, no body, no media",
            where=str(campaign.source) if campaign.source else None,
            fix="set `message: {body: 'Hi {{ name }}'}` or `message: {template: file.j2}` (or --body, --template)",
        )
    frame, suppression = _audience(campaign, people, capabilities)
    frame = _rendered(frame, people, body_template, media_templates)
    frame, replacements = _measured(frame, campaign, capabilities, fields)
    frame = _with_senders(frame, people, senders, capabilities)
    if limit is not None or test_to is not None:
        frame = audience.limit(frame, 1 if limit is None else limit)
    if test_to is not None:
        frame = frame.with_columns(
            to=pl.when(pl.col("reason").is_null())
            .then(pl.lit(_test_number(campaign, capabilities, test_to)))
            .otherwise("to")
        )
    frame = frame.with_columns(
        seq=pl.when(pl.col("reason").is_null()).then(pl.col("reason").is_null().cum_sum() - 1).cast(pl.UInt32)
    ).select(
        *[pl.col(name).cast(dtype) for name, dtype in PLAN_SCHEMA.items()],
        recipient=pl.struct(people.cells) if people.cells.width else pl.lit(None),
    )
    inputs = (*people.inputs, *template_input, *suppression)
    return Plan(
        _manifest(campaign, dialect, capabilities, fields, senders, frame, people, inputs, replacements, test_to),
        frame,
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


def _audience(
    campaign: Campaign, people: Recipients, capabilities: Capabilities
) -> tuple[pl.DataFrame, tuple[InputFile, ...]]:
    """row_number, to, region, number_type, reason, detail: who can be reached, suppressed and repeated ones marked."""
    numbers = phone.normalize(
        people.cells[people.phone],
        default_region=campaign.recipients.default_region,
        regions=people.cells[people.region] if people.region else None,
        passthrough=capabilities.passthrough,
        short_codes=capabilities.short_code_recipients,
    )
    frame = numbers.with_columns(row_number=people.row_numbers)
    read: list[InputFile] = []
    for path in campaign.suppress:
        raw, given = recipients.load_numbers(campaign.path(path), role="suppress", name=path.as_posix())
        read.append(given)
        cleaned = phone.normalize(
            raw, default_region=campaign.recipients.default_region, passthrough=capabilities.passthrough
        )
        frame = audience.suppress(frame, cleaned["to"].drop_nulls(), source=path.name)
    return audience.dedupe(frame, campaign.dedupe), tuple(read)


def _rendered(
    frame: pl.DataFrame, people: Recipients, body: text.Template | None, media: list[text.Template]
) -> pl.DataFrame:
    """`frame` with `body` and `media`; only rows that still get a message are rendered."""
    frame = frame.with_row_index("_index")
    wanted = frame.filter(pl.col("reason").is_null())
    cells = people.cells[wanted["_index"]] if wanted.height < frame.height else people.cells
    columns = [_text_column(body, people, cells).rename({"text": "body"})]
    urls: list[pl.Series] = []
    for number, template in enumerate(media):
        url = text.render(template, cells, people.names)
        urls.append(url["text"].rename(f"_url{number}"))
        columns.append(url.select("reason", "detail"))
    if not media and people.media is not None:
        lists = (
            cells[people.media]
            .fill_null("")
            .str.strip_chars()
            .str.replace_all(r"[,;\s]+(https?://)", " $1")
            .str.split(" ")
        )
    elif urls:
        lists = (
            pl.DataFrame(urls).select(pl.concat_list(pl.all().str.strip_chars()))[:, 0]
            if cells.height
            else pl.Series([], dtype=pl.List(pl.String))
        )
    else:
        lists = pl.Series([None] * cells.height, dtype=pl.List(pl.String)).fill_null([])
    rendered = wanted.select("_index").with_columns(
        body=columns[0]["body"],
        media=lists.list.eval(pl.element().filter(pl.element().is_not_null() & (pl.element() != ""))),
        _reason=_first_of(columns, "reason"),
        _detail=_first_of(columns, "detail"),
    )
    bad_url = (
        pl.col("media")
        .list.eval(~pl.element().str.contains(r"^(?i)https?://[^\s/]+\S*$"))
        .list.any()
        .fill_null(value=False)
    )
    nothing = (pl.col("body").fill_null("").str.strip_chars() == "") & (pl.col("media").list.len() == 0)
    rendered = rendered.with_columns(
        _reason=pl.coalesce(
            "_reason",
            pl.when(bad_url).then(pl.lit(SkipReason.RENDER_ERROR.value)),
            pl.when(nothing).then(pl.lit(SkipReason.MISSING_DATA.value)),
        ),
        _detail=pl.coalesce(
            "_detail",
            pl.when(bad_url).then(pl.format("media is not an http or https URL: {}", pl.col("media").list.join(" "))),
            pl.when(nothing).then(pl.lit("the message would be empty: no text and no media")),
        ),
    )
    return (
        frame.join(rendered, on="_index", how="left", maintain_order="left")
        .with_columns(reason=pl.coalesce("reason", "_reason"), detail=pl.coalesce("detail", "_detail"))
        .drop("_index", "_reason", "_detail")
    )


def _text_column(body: text.Template | None, people: Recipients, cells: pl.DataFrame) -> pl.DataFrame:
    if body is not None:
        return text.render(body, cells, people.names)
    empty = pl.Series([None] * cells.height, dtype=pl.String)
    plain = cells[people.body] if people.body is not None else empty
    return pl.DataFrame({"text": plain, "reason": empty, "detail": empty})


def _first_of(columns: list[pl.DataFrame], name: str) -> pl.Series:
    return pl.DataFrame([frame[name].alias(str(index)) for index, frame in enumerate(columns)]).select(
        pl.coalesce(pl.all())
    )[:, 0]


def _measured(
    frame: pl.DataFrame, campaign: Campaign, capabilities: Capabilities, fields: Mapping[str, FieldValue]
) -> tuple[pl.DataFrame, tuple[dict[str, Any], ...]]:
    """`frame` with `encoding` and `segments`; what is longer than allowed is skipped. An MMS counts as one segment."""
    replaced: tuple[dict[str, Any], ...] = ()
    if campaign.message.smart_encoding:
        bodies, replacements = segments.smart_encode(frame["body"])
        frame = frame.with_columns(body=bodies)
        replaced = tuple(replacements.to_dicts())
    mms = (
        pl.lit(value=True)
        if fields.get("send_as_mms") or fields.get("message_type") == "MMS"
        else pl.col("media").list.len() > 0
    )
    frame = pl.concat(
        [frame, segments.measure(frame["body"]).select("encoding", "segments")], how="horizontal"
    ).with_columns(segments=pl.when(mms).then(pl.lit(1, pl.UInt32)).otherwise("segments"))
    most = campaign.message.max_segments or math.inf
    long_text = pl.col("body").str.len_chars() > capabilities.body_max_chars
    many_parts = (pl.col("segments") > most) if math.isfinite(most) else pl.lit(value=False)
    crowded = pl.col("media").list.len() > capabilities.media_max
    live = pl.col("reason").is_null()
    frame = frame.with_columns(
        _why=pl.when(live & long_text)
        .then(
            pl.format(
                "{} characters; {} takes {}",
                pl.col("body").str.len_chars(),
                pl.lit(capabilities.title),
                capabilities.body_max_chars,
            )
        )
        .when(live & many_parts)
        .then(
            pl.format(
                "{} segments ({}); max_segments is {}",
                "segments",
                "encoding",
                pl.lit(str(campaign.message.max_segments)),
            )
        )
        .when(live & crowded)
        .then(
            pl.format(
                "{} media; {} takes {}",
                pl.col("media").list.len(),
                pl.lit(capabilities.title),
                capabilities.media_max,
            )
        )
    )
    skipped = pl.col("_why").is_not_null()
    return frame.with_columns(
        reason=pl.when(skipped).then(pl.lit(SkipReason.TOO_LONG.value)).otherwise("reason"),
        detail=pl.coalesce("_why", "detail"),
    ).drop("_why"), replaced


def _with_senders(
    frame: pl.DataFrame, people: Recipients, senders: tuple[str, ...], capabilities: Capabilities
) -> pl.DataFrame:
    """`frame` with `from_number`: from a pool the same recipient always gets the same number."""
    if len(senders) > 1:
        digits = pl.col("to").str.replace("+", "", literal=True).cast(pl.UInt64, strict=False).fill_null(0)
        pick = (digits * 2_654_435_761 % 4_294_967_296 // 65_536 % len(senders)).cast(pl.UInt32)
        return frame.with_columns(
            from_number=pick.replace_strict(list(range(len(senders))), list(senders), return_dtype=pl.String)
        )
    if senders or people.sender is None:
        return frame.with_columns(from_number=pl.lit(senders[0] if senders else None, pl.String))
    own = people.cells[people.sender].str.strip_chars()
    allowed: dict[str, str | None] = {}
    for one in own.drop_nulls().unique():
        try:
            providers.check(capabilities, senders=(one,), fields={}, media_count=0)
            allowed[one] = None
        except InputError as error:  # stays with its rows
            allowed[one] = str(error).splitlines()[0]
    live = pl.col("reason").is_null()
    why = pl.col("from_number").replace_strict(
        list(allowed), list(allowed.values()), default=None, return_dtype=pl.String
    )
    blank = pl.col("from_number").fill_null("") == ""
    return frame.with_columns(from_number=own).with_columns(
        reason=pl.when(live & (blank | why.is_not_null()))
        .then(pl.lit(SkipReason.MISSING_DATA.value))
        .otherwise("reason"),
        detail=pl.when(live & blank)
        .then(pl.lit(f"no sender: the cell in {people.sender!r} is blank and the campaign has no `from`"))
        .when(live & why.is_not_null())
        .then(why)
        .otherwise("detail"),
    )


def _test_number(campaign: Campaign, capabilities: Capabilities, number: str) -> str:
    row = phone.normalize(
        pl.Series([number]),
        default_region=campaign.recipients.default_region,
        passthrough=capabilities.passthrough,
    ).row(0, named=True)
    if row["to"] is None:
        raise CampaignError(f"--test-to {number}: {row['detail']}", fix="write it as +12025550100")
    return str(row["to"])


def _manifest(
    campaign: Campaign,
    dialect: str,
    capabilities: Capabilities,
    fields: dict[str, FieldValue],
    senders: tuple[str, ...],
    frame: pl.DataFrame,
    people: Recipients,
    inputs: tuple[InputFile, ...],
    replacements: tuple[dict[str, Any], ...],
    test_to: str | None,
) -> Manifest:
    sent = frame.filter(pl.col("seq").is_not_null())
    settings = {
        "provider": campaign.provider,
        "dialect": dialect,
        "senders": senders,
        "fields": fields,
        "test_to": test_to,
    }
    mms = (
        sent.height
        if fields.get("send_as_mms") or fields.get("message_type") == "MMS"
        else int((sent["media"].list.len() > 0).sum())
    )
    return Manifest(
        campaign=campaign.name,
        provider=campaign.provider,
        dialect=dialect,
        senders=senders,
        fields=fields,
        test_to=test_to,
        rows=frame.height,
        messages=sent.height,
        blank_rows=people.blank_rows,
        skipped=_counted(frame.filter(pl.col("seq").is_null())["reason"]),
        segments=int(sent["segments"].sum()),
        segment_counts=_counted(sent["segments"]),
        encodings=_counted(sent["encoding"].drop_nulls()),
        mms=mms,
        replacements=replacements,
        pace=resolve_pace(campaign, capabilities, senders),
        sandbox=campaign.sandbox.model_dump(exclude={"rate"})
        | {"rate_per_s": campaign.sandbox.rate.per_s if campaign.sandbox.rate else None},
        inputs=inputs,
        versions={name: version(name) for name in ("campaign-sender", "jinja2", "phonenumbers", "polars")},
        plan_hash=content_hash(frame, settings),
    )


def resolve_pace(campaign: Campaign, capabilities: Capabilities, senders: tuple[str, ...]) -> Pace:
    """The campaign's pace in the provider's own unit; `auto` becomes the documented limit of that kind of sender."""
    kind = providers.rate_kind(senders[0]) if senders else "service"
    documented = capabilities.rates.get(kind) or capabilities.rates["long_code"]
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


def _counted(column: pl.Series) -> dict[str, int]:
    """How often each value stands in `column`, by value."""
    counts = column.value_counts(name="n").sort(column.name)
    return {str(value): int(count) for value, count in counts.iter_rows()}
