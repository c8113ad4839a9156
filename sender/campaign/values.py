"""The values of a campaign file: scalars, senders and provider fields, and their types.

`typed` converts a rendered text to the same value. Knows no provider: which of them takes a field is for
`sender.providers`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from sender.campaign import schema_forms
from sender.campaign.validation import describe_error
from sender.core.frequency import FrequencyCap, parse_cap
from sender.phone import countries

TEMPLATE_PATTERN = r"\{[{%]"
_RATE = re.compile(r"(?P<n>\d+(?:\.\d+)?)\s*/\s*(?P<unit>s|sec|second|m|min|minute|h|hour)", re.IGNORECASE)
_SKIP_LIMIT = re.compile(r"\d{1,9}|\d{1,3}(\.\d{1,3})?%")
_PER_SECOND = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate. `per_s` is None for `none` (unlimited) and for `auto` (the provider's documented limit)."""

    text: str
    per_s: float | None
    auto: bool = False


def parse_share(value: object) -> object:
    """Return the number of `25%` or `0.25`, from 0 to 1; what is no text as it is. Raises ValueError."""
    if not isinstance(value, str):
        return value
    text, percent = value.strip().removesuffix("%").strip(), value.strip().endswith("%")
    try:
        return float(text) / (100 if percent else 1)
    except ValueError:
        raise ValueError(f"{value!r} is not a share: write 25%, 0.25 or none") from None


def parse_rate(value: object) -> Rate:
    """Return the rate of `4/s`, `240/min`, `10000/h`, `auto`, `none`, or a bare number a second. Raises ValueError."""
    if isinstance(value, Rate):
        return value
    text = str(value).strip()
    if text.lower() in ("auto", "none"):
        return Rate(text.lower(), None, auto=text.lower() == "auto")
    match = _RATE.fullmatch(text)
    if match:
        per_s = float(match["n"]) / _PER_SECOND[match["unit"][0].lower()]
    else:
        try:
            per_s = float(text)
        except ValueError:
            per_s = math.nan
    if not (math.isfinite(per_s) and per_s > 0):
        raise ValueError(f"{text!r} is not a rate: write 4/s, 240/min, 10000/h, auto or none")
    return Rate(text, per_s)


def is_none(value: object) -> bool:
    """Whether a value of the campaign says that there is no limit."""
    return value is None or (isinstance(value, str) and value.strip().lower() == "none")


def parse_skip_limit(value: object) -> str:
    """Return a number of rows or a share of them as text: `5`, `12.5%`; `none` is `100%`. Raises ValueError."""
    text = "100%" if is_none(value) else str(value).strip().replace(" ", "")
    if isinstance(value, bool) or not _SKIP_LIMIT.fullmatch(text):
        raise ValueError(f"{text!r} is not a limit of rows: write a number (20), a share (10%) or none")
    if text.endswith("%") and float(text[:-1]) > 100:
        raise ValueError(f"{text!r} is more than all rows: write at most 100%")
    return text


def is_template(value: object) -> bool:
    """Whether a value of the campaign is text with a Jinja expression or statement in it."""
    return isinstance(value, str) and re.search(TEMPLATE_PATTERN, value) is not None


def _number_to_text(value: object) -> object:
    """Return an integer as text: a dict from Python may hold one where a campaign has text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def to_list(value: object) -> object:
    """Return a single value as a list of one; anything else unchanged."""
    return [value] if isinstance(value, str | Path | int) and not isinstance(value, bool) else value


def _check_url(value: str) -> str:
    if not re.match(r"https?://[^\s/]+", value, re.IGNORECASE):
        raise ValueError(f"{value!r} is not an http or https URL")
    return value


def _check_text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:  # bytes in another encoding, as the command line passes them on
        raise ValueError("is not text (it has bytes that are not UTF-8)") from None
    return value


def _check_file(value: Path) -> Path:
    if "\0" in _check_text(str(value)):
        raise ValueError(f"{str(value)!r} is not the name of a file")
    return value


def _parse_region(value: str) -> str:
    regions = countries.regions_of(value)
    if len(regions) != 1:
        raise ValueError(f"{value!r} {countries.fault(value)}")
    return regions[0]


def _parse_number_types(value: object) -> object:
    """Return the types in a list, or in text with commas; `toll-free` is `toll_free`, `landline` is `fixed_line`."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        return value
    words = [re.sub(r"[\s-]+", "_", name.strip().lower()) if isinstance(name, str) else name for name in names]
    return ["fixed_line" if word == "landline" else word for word in words]


_LINE = StringConstraints(min_length=1, strip_whitespace=True)
Text = Annotated[str, BeforeValidator(_number_to_text), _LINE]
Body = Annotated[str, BeforeValidator(_number_to_text), AfterValidator(_check_text)]
File = Annotated[Path, AfterValidator(_check_file)]
Sender = Annotated[str, BeforeValidator(_number_to_text), _LINE, WithJsonSchema({"type": ["string", "integer"]})]
Url = Annotated[str, _LINE, AfterValidator(_check_url)]
Region = Annotated[str, _LINE, AfterValidator(_parse_region), WithJsonSchema(schema_forms.REGION)]
NumberType = Literal[
    "fixed_line",
    "mobile",
    "fixed_line_or_mobile",
    "toll_free",
    "premium_rate",
    "shared_cost",
    "voip",
    "personal_number",
    "pager",
    "uan",
    "voicemail",
    "short_code",
]
NumberTypes = Annotated[tuple[NumberType, ...], BeforeValidator(_parse_number_types)]
# What programs write into a cell that has no value. `Null` and `Na` are names of people.
PLACEHOLDERS = ("#N/A", "N/A", "NULL", "null", "nan", "NaN", "None", "undefined")
Placeholders = Annotated[
    tuple[Text, ...],
    BeforeValidator(lambda value: () if is_none(value) else to_list(value)),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}]}),
]
LintRule = Literal["unfilled", "blanks", "no_opt_out", "short_links", "capitals"]


def _parse_lint(value: object) -> object:
    """Return the rules that are switched off: all for `off`, none for `on`."""
    switch = value.strip().lower() if isinstance(value, str) else value
    if switch in ("off", "false", "no", False):
        return get_args(LintRule)
    if value is None or switch in ("on", "true", "yes", True):
        return ()
    return to_list(value)


LintOff = Annotated[
    tuple[LintRule, ...],
    BeforeValidator(_parse_lint),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": ["on", "off", *get_args(LintRule)]},
                {"type": "array", "items": {"enum": list(get_args(LintRule))}},
            ]
        }
    ),
]
CapText = Annotated[
    FrequencyCap,
    BeforeValidator(parse_cap),
    WithJsonSchema({"type": "string", "pattern": r"^\s*\d+\s*(/|per)\s*[\d.]*\s*[A-Za-z]+\s*$"}),
]
SkipLimit = Annotated[
    str,
    BeforeValidator(parse_skip_limit),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^(\d+(\.\d+)?%?|none)$"}]}
    ),
]
PaceText = Annotated[Rate, BeforeValidator(parse_rate), WithJsonSchema(schema_forms.RATE)]
Share = Annotated[
    float,
    BeforeValidator(parse_share),
    Field(gt=0, le=1),
    WithJsonSchema(schema_forms.share(zero=False)),
]
_Value = TypeVar("_Value")
OrNone = Annotated[
    _Value | None,
    BeforeValidator(lambda value: None if value == "none" else value),
]
# A template in place of a number, a switch or a choice, so that each row has its own. (Text accepts one anyway.)
FieldTemplate = Annotated[
    str,
    StringConstraints(pattern=TEMPLATE_PATTERN),
    WithJsonSchema({"type": "string", "pattern": TEMPLATE_PATTERN}),
]
_Amount = Annotated[
    str,
    BeforeValidator(lambda v: str(v) if isinstance(v, int | float) else v),
    StringConstraints(pattern=r"^\d+\.?\d{0,4}$", strip_whitespace=True),
    WithJsonSchema({"type": ["string", "number"]}),
]


class Strict(BaseModel):
    """A part of a campaign: frozen; unknown keys are refused."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
        defer_build=True,  # a part is built into the validator of the whole, and by itself only where it is used so
    )


class PoolNumber(Strict):
    """One sender of `from`, and how much of the campaign it carries."""

    number: Sender = Field(description="A number, short code, alphanumeric id, or a service, profile or group id.")
    weight: float = Field(
        1.0, ge=0.01, le=1000, description="Its share of the recipients, relative to the weights of the others."
    )
    rate: PaceText | None = Field(
        None,
        description="Its own limit, in addition to the campaign's: `1/s`, `auto` (the provider's documented limit of"
        " such a sender), `none`.",
    )


class FromSpec(Strict):
    """The sender: one, or a pool of numbers."""

    numbers: Annotated[
        tuple[Annotated[PoolNumber, BeforeValidator(lambda v: {"number": v} if isinstance(v, str | int) else v)], ...],
        BeforeValidator(to_list),
    ] = Field((), description="The senders, each as text or as a mapping of `number`, `weight` and `rate`.")
    match: Literal["area_code", "country"] | None = Field(
        None,
        description="`area_code`: prefer a number with the recipient's area code (in North America), then one of the"
        " recipient's country. `country`: prefer one of the country.",
    )

    @model_validator(mode="after")
    def _refuse_repeated(self) -> FromSpec:
        seen: set[str] = set()
        for sender in self.numbers:
            if sender.number in seen:
                raise ValueError(f"{sender.number!r} is listed twice: raise its `weight` instead")
            seen.add(sender.number)
        return self


class ProviderFields(Strict):
    """Fields that only some providers have. A key that the chosen provider does not take is an error, never dropped.

    A value may be a template; then each row has its own.
    """

    status_callback: Url | FieldTemplate | None = Field(
        None, description="URL that delivery reports are sent to; each message's `ref` is added to its query."
    )
    send_as_mms: bool | FieldTemplate | None = Field(
        None,
        description="Send as MMS even without media. Telnyx: as `type: MMS`.",
    )
    messaging_profile_id: Text | None = Field(
        None, description="Telnyx: the profile of a number pool or an alphanumeric sender."
    )
    messaging_service_sid: Text | None = Field(
        None, description="Twilio: messaging service `MG…`. SignalWire Compatibility: number group id."
    )
    application_sid: Text | None = Field(
        None, description="Twilio, SignalWire Compatibility: application that gets the callbacks."
    )
    validity_period: Annotated[int, Field(ge=1, le=172_800)] | FieldTemplate | None = Field(
        None,
        description="Seconds a message may wait at the provider: SignalWire Compatibility to 172800, Twilio to 36000.",
    )
    max_price: _Amount | FieldTemplate | None = Field(
        None,
        description="Highest price for one message in USD. SignalWire Compatibility; Twilio accepts and ignores it.",
    )
    subject: Text | None = Field(None, description="Telnyx: subject of an MMS.")
    message_type: Literal["SMS", "MMS"] | FieldTemplate | None = Field(None, description="Telnyx: its `type`.")
    webhook_failover_url: Url | FieldTemplate | None = Field(None, description="Telnyx: second URL for reports.")
    use_profile_webhooks: bool | FieldTemplate | None = Field(
        None, description="Telnyx: also use the profile's webhooks."
    )
    auto_detect: bool | FieldTemplate | None = Field(None, description="Telnyx: warn about unusually long messages.")
    encoding: Literal["auto", "gsm7", "ucs2"] | FieldTemplate | None = Field(None, description="Telnyx: text encoding.")
    send_at: Text | None = Field(
        None,
        description="Telnyx, Twilio: ISO 8601 time with its offset at which the provider sends: 5 minutes to 35 days"
        " ahead (Telnyx: to 5 days), and within the window of every recipient. Twilio needs a messaging service.",
    )
    custom_variables: dict[str, Text] | None = Field(
        None, max_length=19, description="SignalWire: up to 19 pairs that callbacks repeat (`ref` is reserved)."
    )
    content_sid: Text | None = Field(None, description="Twilio: content template `HX…` instead of a body.")
    content_variables: dict[str, Text] | None = Field(None, description="Twilio: values for the content template.")
    content_retention: Literal["retain", "discard"] | FieldTemplate | None = Field(
        None, description="Twilio: whether it stores the text."
    )
    address_retention: Literal["retain", "obfuscate"] | FieldTemplate | None = Field(
        None, description="Twilio: whether it stores the recipient's number."
    )
    smart_encoded: bool | FieldTemplate | None = Field(None, description="Twilio: its own smart encoding.")
    shorten_urls: bool | FieldTemplate | None = Field(
        None, description="Twilio: link shortening, with a messaging service."
    )
    provide_feedback: bool | FieldTemplate | None = Field(
        None, description="Twilio: whether you will confirm delivery to its Message Feedback resource."
    )
    force_delivery: bool | FieldTemplate | None = Field(None, description="Twilio: reserved.")
    attempt: Annotated[int, Field(ge=1, le=1_000_000)] | FieldTemplate | None = Field(
        None, description="Twilio: number of attempts, including this one, through any provider."
    )
    risk_check: Literal["enable", "disable"] | FieldTemplate | None = Field(
        None, description="Twilio: `disable` skips its risk check."
    )
    traffic_type: Literal["free"] | FieldTemplate | None = Field(None, description="Twilio: its `TrafficType`.")
    fallback_from: Sender | None = Field(
        None,
        description="Twilio: sender of the SMS where RCS cannot reach the recipient, with a messaging service that has"
        " an RCS sender.",
    )
    persistent_action: tuple[Text, ...] | None = Field(
        None, description="Twilio: rich actions of channels other than SMS and MMS."
    )


def typed(key: str, text: str) -> Any:
    """Return the value of the provider field `key` that a rendered text says, in the field's type.

    For a mapping or a list, the text is one of its values. Raises ValueError with a sentence.
    """
    try:
        return _reader(key).validate_python(text)
    except ValidationError as error:
        what = describe_error(error)
        raise ValueError(what if what.startswith(repr(text)) else f"{text!r} {what}") from None


@cache
def is_text(key: str) -> bool:
    """Whether any text that is not blank is a valid value of the field."""
    return Text in _kinds(key) or not _scalar(key)


@cache
def _reader(key: str) -> TypeAdapter[Any]:
    if not _scalar(key):
        return TypeAdapter(Text)
    kinds = _kinds(key)
    whole = kinds[0]
    for kind in kinds[1:]:
        whole = or_(whole, kind)
    return TypeAdapter(whole)


def _scalar(key: str) -> bool:
    return not any(get_origin(kind) in (dict, tuple) for kind in _kinds(key))


def _kinds(key: str) -> list[Any]:
    """Return the types of a field without templates: a cell that looks like a template is not one."""
    annotation = ProviderFields.model_fields[key].annotation
    return [kind for kind in get_args(annotation) if kind not in (FieldTemplate, type(None))]


# The key that a bare value of each of these stands for.
_SHORT_FORMS = {"message": "body", "from": "numbers", "canary": "first", "window": "hours"}


def expand_short_form(key: str, value: Any) -> Any:
    """Return the mapping that a bare value of `key` is short for; what is none stays as it is."""
    if isinstance(value, Mapping):
        return value
    if key == "recipients":
        return {"rows" if isinstance(value, list | tuple) else "file": value}
    return {_SHORT_FORMS[key]: value} if key in _SHORT_FORMS else value
