"""Provider fields that each row fills in: campaign values with templates in them, rendered as a column.

The plan's column `fields` holds a message's own fields as a JSON object, in the types that a campaign has them in, and
null where it has none. A row whose value has the wrong type keeps the sentence and stops no other. Reads no files;
which fields a provider takes is for `sender.providers`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from sender import templating
from sender.campaign.values import is_template, is_text, typed
from sender.core.errors import CampaignError
from sender.core.outcomes import SkipReason
from sender.providers.base import FieldValue
from sender.recipients.columns import Recipients

# How a sentence about a field begins; one about the body never does.
FIELD_PREFIX = "field `"


@dataclass(frozen=True, slots=True)
class _FieldPart:
    """A value, or one of a mapping (`name`) or of a list (no name): a template, or constant text."""

    name: str | None
    value: str
    template: templating.Template | None


@dataclass(frozen=True, slots=True, eq=False)
class RowFields:
    """The fields of a campaign that have templates. `sources` are their values as the campaign has them, by key."""

    sources: Mapping[str, FieldValue] = field(default_factory=dict)
    _parts: Mapping[str, tuple[_FieldPart, ...]] = field(default_factory=dict)

    @property
    def templates(self) -> Iterator[templating.Template]:
        return (part.template for parts in self._parts.values() for part in parts if part.template is not None)

    @property
    def probe(self) -> dict[str, FieldValue]:
        """The mappings with some text for each template, to check whether a provider takes their names."""
        return {
            key: {name: "x" if is_template(value) else value for name, value in source.items()}
            for key, source in self.sources.items()
            if isinstance(source, Mapping)
        }

    def render(self, cells: pl.DataFrame, recipients: Recipients) -> pl.DataFrame:
        """Return `fields`, `reason`, `detail` (String) for each row of `cells`: a JSON object or null; why a row fails.

        A value that renders blank is left out, and so is a mapping or list with nothing left in it. White space around
        a value is dropped. Raises TemplateError as `sender.templating.render` does.
        """
        members = [
            (key, *_render_member(key, self.sources[key], parts, cells, recipients))
            for key, parts in self._parts.items()
        ]
        if not members:
            nothing = _nulls(cells)
            return pl.DataFrame({"fields": nothing, "reason": nothing, "detail": nothing})
        failures = _first_failure([failure for _, _, failure in members])
        objects = pl.DataFrame([member.alias(key) for key, member, _ in members])
        inside = objects.select(inside=pl.concat_str(pl.all(), separator=",", ignore_nulls=True))["inside"]
        return failures.with_columns(inside=inside.cast(pl.String)).select(
            fields=pl.when((pl.col("inside") != "") & pl.col("detail").is_null()).then(
                pl.concat_str(pl.lit("{"), "inside", pl.lit("}"))
            ),
            reason="reason",
            detail="detail",
        )


def compile_fields(
    fields: Mapping[str, FieldValue], placeholders: Collection[str] = ()
) -> tuple[dict[str, FieldValue], RowFields]:
    """Return the fields that are the same for every row, and those that are not.

    `placeholders` are those of `templating.compile_template`.

    Raises TemplateError, and CampaignError for a template where a name must be.
    """
    constant: dict[str, FieldValue] = {}
    templated: dict[str, tuple[_FieldPart, ...]] = {}
    for key, value in fields.items():
        parts = tuple(_compile_parts(key, value, placeholders))
        if any(part.template is not None for part in parts):
            templated[key] = parts
        else:
            constant[key] = value
    return constant, RowFields({key: fields[key] for key in templated}, templated)


def _compile_parts(key: str, value: FieldValue, placeholders: Collection[str]) -> Iterator[_FieldPart]:
    if isinstance(value, Mapping):
        for name, text in value.items():
            if is_template(name):
                raise CampaignError("a name cannot be a template", where=f"{key}.{name}", fix="write the name itself")
            yield _compile_part(name, text, f"{key}.{name}", placeholders)
    elif isinstance(value, list | tuple):
        for place, text in enumerate(value):
            yield _compile_part(None, text, f"{key}.{place}", placeholders)
    else:
        yield _compile_part(None, str(value), key, placeholders)


def _compile_part(name: str | None, value: str, where: str, placeholders: Collection[str]) -> _FieldPart:
    if not is_template(value):
        return _FieldPart(name, value, None)
    return _FieldPart(name, value, templating.compile_template(value, where=where, placeholders=placeholders))


def _render_member(
    key: str, source: FieldValue, parts: tuple[_FieldPart, ...], cells: pl.DataFrame, recipients: Recipients
) -> tuple[pl.Series, pl.DataFrame]:
    """Return `"key":value` for each row, null where it is left out; and `reason` and `detail` where a row fails."""
    values: list[pl.Series] = []
    whys: list[pl.DataFrame] = []
    for place, part in enumerate(parts):
        value, failures = _render_part(key, part, cells, recipients)
        values.append(value.alias(str(place)))
        where = key if part.name is None else f"{key}.{part.name}"
        named = pl.lit(f"{FIELD_PREFIX}{where}`: ") + pl.col("detail")
        whys += [failure.select("reason", detail=named) for failure in failures]
    failed = _first_failure(whys) if whys else pl.DataFrame({"reason": _nulls(cells), "detail": _nulls(cells)})
    member = values[0]
    if not isinstance(source, str):
        opening, closing = "{}" if isinstance(source, Mapping) else "[]"
        inside = pl.DataFrame(values).select(inside=pl.concat_str(pl.all(), separator=",", ignore_nulls=True))
        member = inside.select(
            pl.when(pl.col("inside") != "").then(pl.concat_str(pl.lit(opening), "inside", pl.lit(closing)))
        ).to_series()
    return pl.select(pl.lit(f'"{key}":') + member).to_series(), failed


def _first_failure(failures: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return each row's first `reason` and `detail`, which are null together."""
    return pl.DataFrame(
        {
            name: pl.select(pl.coalesce([failure[name] for failure in failures])).to_series()
            for name in ("reason", "detail")
        }
    )


def _render_part(
    key: str, part: _FieldPart, cells: pl.DataFrame, recipients: Recipients
) -> tuple[pl.Series, list[pl.DataFrame]]:
    """Return the part as JSON for each row, with its name if it has one; and frames of why a row fails."""
    failures: list[pl.DataFrame] = []
    if part.template is None:
        texts = pl.repeat(part.value, cells.height, dtype=pl.String, eager=True)
    else:
        rendered = templating.render(part.template, cells, recipients.names, nested=recipients.nested_cells)
        texts = rendered["text"].str.strip_chars()
        failures.append(rendered.select("reason", "detail"))
    texts = texts.replace("", None).alias("text")
    if is_text(key):
        value = _encode_texts(texts)
    else:
        value, wrong = _convert(key, texts)
        failed = pl.when(wrong.is_not_null()).then(pl.lit(SkipReason.RENDER_ERROR.value))
        failures.append(wrong.alias("detail").to_frame().select(reason=failed, detail="detail"))
    if part.name is not None:
        name = json.dumps(part.name, ensure_ascii=False)
        value = pl.select(pl.format("{}:{}", pl.lit(name), value)).to_series()
    return value, failures


def _encode_texts(texts: pl.Series) -> pl.Series:
    """Return the texts as JSON strings; null stays null."""
    encoded = texts.to_frame().select(
        pl.when(pl.col("text").is_not_null()).then(
            pl.struct("text").struct.json_encode().str.slice(len('{"text":')).str.head(-1)
        )
    )
    return encoded.to_series()


def _convert(key: str, texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return the texts as JSON values of the field's type, and why one cannot be. Each distinct text is read once."""
    rows: list[tuple[str, str | None, str | None]] = []
    for text in texts.unique().drop_nulls():
        try:
            rows.append((text, json.dumps(typed(key, text), ensure_ascii=False), None))
        except ValueError as error:
            rows.append((text, None, str(error)))
    schema = {"text": pl.String, "json": pl.String, "why": pl.String}
    values = texts.to_frame().join(
        pl.DataFrame(rows, schema=schema, orient="row"), on="text", how="left", maintain_order="left"
    )
    return values["json"], values["why"]


def _nulls(cells: pl.DataFrame) -> pl.Series:
    return pl.repeat(None, cells.height, dtype=pl.String, eager=True)
