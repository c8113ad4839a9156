"""The campaign's texts and media as templates, and its experiment: compiled once, before the first row is read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from sender import providers, templating
from sender.campaign.experiment_spec import ExperimentSpec, VariantSpec
from sender.campaign.model import Campaign
from sender.campaign.values import is_template
from sender.core.errors import CampaignError, TemplateError
from sender.core.experiment import REPLY, Experiment, VariantShare
from sender.planning.link_maker import mark_links
from sender.providers.base import SenderKind
from sender.recipients.input_file import InputFile
from sender.templating import Template

_COMPOSED = "the message was written with separate accents, which were joined to their letters (NFC)"


@dataclass(frozen=True, slots=True, eq=False)
class CompiledVariant:
    """One of several messages. `sender` is its own number or name; None: the campaign's `from`."""

    name: str
    body: Template | None
    media: tuple[Template, ...]
    sender: str | None


@dataclass(frozen=True, slots=True, eq=False)
class CompiledTexts:
    """What the messages say. `body` and `media` are those of a campaign without `variants`.

    `inputs` are the files that the texts are in, `notes` what a person should know of them.
    """

    body: Template | None
    media: tuple[Template, ...]
    variants: tuple[CompiledVariant, ...]
    inputs: tuple[InputFile, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Text:
    """A body's template, the file that it is in, and whether its accents were joined to their letters."""

    body: Template
    file: InputFile
    composed: bool


def compile_texts(campaign: Campaign) -> CompiledTexts:
    """Return the templates of the campaign's message, or of each of its variants.

    A variant has the body and the media of the message where it has none of its own. Raises CampaignError and
    TemplateError.
    """
    message = campaign.message
    common = _compile_text(campaign, message.body, message.template, where="message.body", name="message.body")
    media = _compile_media(campaign, message.media, where="message.media")
    texts, variants = [common], []
    for spec in message.variants:
        where = f"message.variants, `{spec.name}`"
        own = _compile_text(campaign, spec.body, spec.template, where=where, name=f"variant {spec.name}")
        own_media = media if spec.media is None else _compile_media(campaign, spec.media, where=where)
        text = own or common
        if text is None and not own_media:
            raise CampaignError(
                f"the variant `{spec.name}` has no message: no template, no body and no media",
                where="message.variants",
                fix="give it a `body` or a `template`, or give `message` one for all variants",
            )
        variants.append(CompiledVariant(spec.name, None if text is None else text.body, own_media, _read_sender(spec)))
        texts.append(own)
    found = [text for text in texts if text is not None]
    return CompiledTexts(
        body=None if variants or common is None else common.body,
        media=() if variants else media,
        variants=tuple(variants),
        inputs=tuple({text.file.path: text.file for text in found}.values()),
        notes=(_COMPOSED,) if any(text.composed for text in found) else (),
    )


def _read_sender(spec: VariantSpec) -> str | None:
    """Return the variant's own sender. Raises CampaignError for what is not a number or a name."""
    if spec.from_ is None:
        return None
    if is_template(spec.from_) or providers.sender_kind(spec.from_) is SenderKind.SERVICE:
        raise CampaignError(
            f"the variant `{spec.name}` is from {spec.from_!r}, which is not one number or name",
            where="message.variants",
            fix="give it a number or a name, and put the service or the template into the campaign's `from`",
        )
    return spec.from_


def _compile_text(
    campaign: Campaign, body: str | None, template: Path | None, *, where: str, name: str
) -> _Text | None:
    """Return the text in `body` or in the file `template`; None without either."""
    if body is not None:
        source, data, name = body, body.encode(), f"({name})"
    elif template is not None:
        path = campaign.path(template)
        data, name, where = _read_template(path), template.as_posix(), str(path)
        try:
            source = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise TemplateError(f"not UTF-8 (byte {error.start})", where=where, fix="save the file as UTF-8") from None
    else:
        return None
    text = mark_links(source, campaign, where)
    compiled = templating.compile_template(text, where=where, placeholders=campaign.recipients.placeholders)
    file = InputFile("template", name, len(data), hashlib.sha256(data).hexdigest())
    return _Text(compiled, file, composed=compiled.source != text)


def _compile_media(campaign: Campaign, media: tuple[str, ...], *, where: str) -> tuple[Template, ...]:
    placeholders = campaign.recipients.placeholders
    return tuple(templating.compile_template(url, where=where, placeholders=placeholders) for url in media)


def _read_template(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TemplateError(
            f"the template cannot be read: {error.strerror}",
            where=str(path),
            fix="the path is relative to the campaign file",
        ) from None


def find_experiment(campaign: Campaign) -> Experiment | None:
    """Return the campaign's experiment; None where everybody gets the same. Raises CampaignError."""
    variants, spec = campaign.message.variants, campaign.experiment
    names = [variant.name for variant in variants]
    if campaign.variant is not None and campaign.variant not in names:
        listed = f"choose one of {', '.join(names)}" if names else "list them as `message.variants`"
        raise CampaignError(f"there is no variant `{campaign.variant}`", where="variant", fix=listed)
    if not variants and not campaign.holdout and campaign.share is None:
        if spec is not None:
            raise CampaignError(
                "an experiment needs `message.variants` or a `holdout` to compare", where="experiment", fix="add one"
            )
        return None
    spec = spec or ExperimentSpec()
    return Experiment(
        key=spec.key or campaign.name,
        variants=tuple(VariantShare(variant.name, variant.weight) for variant in variants),
        holdout=campaign.holdout,
        share=1.0 if campaign.share is None else campaign.share,
        only=campaign.variant,
        event=spec.event,
        base=spec.base,
        lift=spec.lift,
        wait_s=spec.wait,
    )


def note_replies(campaign: Campaign) -> tuple[str, ...]:
    """Return what a person should know of an experiment whose success is a reply."""
    if campaign.experiment is None or campaign.experiment.event != REPLY or campaign.listen.keep_replies:
        return ()
    where = "`sender listen --keep-replies` (listen.keep_replies)"
    return (f"replies count in the report only where a receiver keeps them: {where}",)
