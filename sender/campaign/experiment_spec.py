"""The campaign's `experiment`, `holdout` and `message.variants`: who gets which text, and what is to be learned."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from sender.campaign import schema_forms
from sender.campaign.values import Body, File, Sender, Strict, Text, parse_share, to_list
from sender.core.durations import read_duration_s
from sender.core.experiment import WAIT_S

_NAME = r"^[\w.-]{1,40}$"
_RESERVED = "holdout"  # as a group of a report
_Rate = Annotated[
    float, BeforeValidator(parse_share), Field(gt=0, lt=1), WithJsonSchema(schema_forms.share(zero=False))
]
HoldoutShare = Annotated[
    float, BeforeValidator(parse_share), Field(ge=0, lt=1), WithJsonSchema(schema_forms.share(zero=True))
]
TestShare = Annotated[
    float, BeforeValidator(parse_share), Field(gt=0, le=1), WithJsonSchema(schema_forms.share(zero=False))
]


class VariantSpec(Strict):
    """One of several messages, of which each person gets one."""

    name: Annotated[str, Field(pattern=_NAME)] = Field(description="Its name in previews, results and reports.")
    weight: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="Its share of the people, relative to the other weights; 0: nobody."
    )
    template: File | None = Field(None, description="Jinja file with its body. Default: that of `message`.")
    body: Body | None = Field(None, description="Its body in place. Default: that of `message`.")
    media: Annotated[tuple[Text, ...], BeforeValidator(to_list)] | None = Field(
        None, description="Its media URLs, each a Jinja template. Default: those of `message`."
    )
    from_: Sender | None = Field(
        None, alias="from", description="Its sender, a number or a name. Default: the campaign's `from`."
    )

    @model_validator(mode="after")
    def _check(self) -> VariantSpec:
        if self.template is not None and self.body is not None:
            raise ValueError("both `template` and `body` are given: keep one")
        if self.name == _RESERVED:
            raise ValueError(f"a variant cannot be called `{_RESERVED}`: in reports this group gets nothing")
        return self


def check_variants(variants: tuple[VariantSpec, ...]) -> tuple[VariantSpec, ...]:
    """Return the variants. Raises ValueError for one alone, a name that stands twice, and weights that add to 0."""
    names = [variant.name for variant in variants]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"two variants are called `{repeated}`: give each its own name")
    if len(variants) == 1:
        raise ValueError("one variant alone is the message itself: add another, or write it as `message.body`")
    if variants and not sum(variant.weight for variant in variants):
        raise ValueError("the weights add up to 0, so nobody would get a message: raise one of them")
    return variants


class ExperimentSpec(Strict):
    """What is to be learned from the variants or the holdout."""

    key: Text | None = Field(
        None,
        max_length=100,
        description="Campaigns with the same key give a person the same variant, and hold out the same people. Default:"
        " the campaign's name.",
    )
    event: Text | None = Field(
        None,
        max_length=100,
        description="The outcome that counts as success: `purchase`, or `reply` for replies that a receiver keeps."
        " Default: any but an opt-out.",
    )
    base: _Rate | None = Field(None, description="The success rate that you expect, as a share: `3%`.")
    lift: _Rate | None = Field(
        None,
        description="The smallest difference that matters, in percentage points: `0.5%`. With `base` it gives the size"
        " at which the report decides.",
    )

    wait: Annotated[float, BeforeValidator(read_duration_s), WithJsonSchema(schema_forms.DURATION)] = Field(
        default_factory=lambda: WAIT_S,
        ge=0,
        le=90 * 86_400,
        description="How long after the last message outcomes count; then the report decides. Default: 3d.",
    )

    @model_validator(mode="after")
    def _check_size(self) -> ExperimentSpec:
        if (self.base is None) != (self.lift is None):
            raise ValueError("`base` and `lift` go together: give both, or neither")
        if self.base is not None and self.lift is not None and self.base + self.lift >= 1:
            raise ValueError("`base` and `lift` add up to 100% or more")
        return self


def expand_experiment(value: Any) -> Any:
    """Return the mapping that a key alone is short for."""
    return {"key": value} if isinstance(value, str | int) and not isinstance(value, bool) else value
