"""Provider fields that each row fills in: campaign values with templates in them, rendered as a column.

The column `fields` of a plan holds a message's own fields as a JSON object, in the types a campaign has them, and null
where it has none. A row whose value is none of that type keeps the sentence and stops no other. Reads no files, and
leaves what a provider takes to `sender.providers`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import polars as pl

from sender import templating
from sender.campaign.values import is_template, is_text, typed
from sender.core.errors import CampaignError
from sender.core.outcomes import SkipReason
from sender.providers.base import FieldValue
from sender.recipients.columns import Recipients

# What a sentence about a field begins with; one about the body never does.
PREFIX = "field `"


@dataclass(frozen=True, slots=True)
class _Part:
    """A value, or one of a mapping (`name`) or of a list (no name): a template, or the text that stands there."""

    name: str | None
    value: str
    template: templating.Template | None


@dataclass(frozen=True, slots=True, eq=False)
class FieldTemplates:
    """The fields of a campaign that have templates. `sources` are their values as the campaign has them, by key."""

    sources: Mapping[str, FieldValue] = field(default_factory=dict)
    _parts: Mapping[str, tuple[_Part, ...]] = field(default_factory=dict)

    @property
    def templates(self) -> Iterator[templating.Template]:
        return (part.template for parts in self._parts.values() for part in parts if part.template is not None)

    @property
    def probe(self) -> dict[str, FieldValue]:
        """The mappings, with some text for each template: whether a provider takes their names."""
        return {
            key: {name: "x" if is_template(value) else value for name, value in source.items()}
            for key, source in self.sources.items()
            if isinstance(source, Mapping)
        }

    def render(self, cells: pl.DataFrame, people: Recipients) -> pl.DataFrame:
        """Columns `fields`, `reason`, `detail` (String), a row of `cells` each: a JSON object or null; why a row fails.

        A value that comes out blank is left out, and so is what has nothing left in it. White space around a value
        is dropped. Raises TemplateError as `sender.templating.render` does.
        """
        made = [(key, *_member(key, self.sources[key], parts, cells, people)) for key, parts in self._parts.items()]
        if not made:
            nothing = pl.repeat(None, cells.height, dtype=pl.String, eager=True)
            return pl.DataFrame({"fields": nothing, "reason": nothing, "detail": nothing})
        whys = pl.select(pl.coalesce([why for _, _, why in made]))
        members = pl.DataFrame([member.alias(key) for key, member, _ in made])
        inside = members.select(inside=pl.concat_str(pl.all(), separator=",", ignore_nulls=True))["inside"]
        return pl.DataFrame(
            {"inside": inside, "detail": whys.to_series()}, schema={"inside": pl.String, "detail": pl.String}
        ).select(
            fields=pl.when((pl.col("inside") != "") & pl.col("detail").is_null()).then(
                pl.concat_str(pl.lit("{"), "inside", pl.lit("}"))
            ),
            reason=pl.when(pl.col("detail").is_not_null()).then(pl.lit(SkipReason.RENDER_ERROR.value)),
            detail="detail",
        )


def compile_fields(fields: Mapping[str, FieldValue]) -> tuple[dict[str, FieldValue], FieldTemplates]:
    """The fields that are the same for every row, and those that are not. Raises TemplateError, CampaignError."""
    constant: dict[str, FieldValue] = {}
    parts: dict[str, tuple[_Part, ...]] = {}
    for key, value in fields.items():
        leaves = list(_leaves(key, value))
        if any(part.template is not None for part in leaves):
            parts[key] = tuple(leaves)
        else:
            constant[key] = value
    return constant, FieldTemplates({key: fields[key] for key in parts}, parts)


def _leaves(key: str, value: FieldValue) -> Iterable[_Part]:
    if isinstance(value, Mapping):
        for name, one in value.items():
            if is_template(name):
                raise CampaignError("a name is no template", where=f"{key}.{name}", fix="write the name itself")
            yield _part(name, one, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        for place, one in enumerate(value):
            yield _part(None, one, f"{key}.{place}")
    else:
        yield _part(None, str(value), key)


def _part(name: str | None, value: str, where: str) -> _Part:
    return _Part(name, value, templating.compile_template(value, where=where) if is_template(value) else None)


def _member(
    key: str, source: FieldValue, parts: tuple[_Part, ...], cells: pl.DataFrame, people: Recipients
) -> tuple[pl.Series, pl.Series]:
    """`"key":value` of each row, null where it is left out; and why a row fails."""
    whole = isinstance(source, str)
    values: list[pl.Series] = []
    whys: list[pl.Series] = []
    for number, part in enumerate(parts):
        if part.template is None:
            texts, why = pl.repeat(part.value, cells.height, dtype=pl.String, eager=True), None
        else:
            made = templating.render(part.template, cells, people.names)
            texts, why = made["text"].str.strip_chars(), made["detail"]
        texts = texts.replace("", None).alias("text")
        value, wrong = (_encoded(texts), None) if is_text(key) else _converted(key, texts)
        if part.name is not None:
            value = pl.select(pl.format("{}:{}", pl.lit(json.dumps(part.name, ensure_ascii=False)), value)).to_series()
        values.append(value.alias(str(number)))
        where = key if part.name is None else f"{key}.{part.name}"
        whys += [pl.select(pl.lit(f"{PREFIX}{where}`: ") + one).to_series() for one in (why, wrong) if one is not None]
    nothing = pl.repeat(None, cells.height, dtype=pl.String, eager=True)
    told = pl.select(pl.coalesce(whys)).to_series() if whys else nothing
    together = values[0]
    if not whole:
        opening, closing = "{}" if isinstance(source, Mapping) else "[]"
        inside = pl.DataFrame(values).select(inside=pl.concat_str(pl.all(), separator=",", ignore_nulls=True))
        together = inside.select(
            pl.when(pl.col("inside") != "").then(pl.concat_str(pl.lit(opening), "inside", pl.lit(closing)))
        ).to_series()
    return pl.select(pl.lit(f'"{key}":') + together).to_series(), told


def _encoded(texts: pl.Series) -> pl.Series:
    """The texts as JSON strings, nulls as they are."""
    written = texts.to_frame().select(
        pl.when(pl.col("text").is_not_null()).then(
            pl.struct("text").struct.json_encode().str.slice(len('{"text":')).str.head(-1)
        )
    )
    return written.to_series()


def _converted(key: str, texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The texts as JSON values of the field's type, each distinct one read once; and why one is none."""
    rows: list[tuple[str, str | None, str | None]] = []
    for one in texts.unique().drop_nulls():
        try:
            rows.append((one, json.dumps(typed(key, one), ensure_ascii=False), None))
        except ValueError as error:
            rows.append((one, None, str(error)))
    schema = {"text": pl.String, "json": pl.String, "why": pl.String}
    read = texts.to_frame().join(
        pl.DataFrame(rows, schema=schema, orient="row"), on="text", how="left", maintain_order="left"
    )
    return read["json"], read["why"]
