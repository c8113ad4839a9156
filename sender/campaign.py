"""The campaign file: YAML (or a dict, or keyword arguments) to a frozen, validated `Campaign`.

Says what to send, to whom, through which provider, how fast. Unknown keys are refused; an error names file, line,
key and the fix. Holds no secrets: credentials come from the environment (`sender.providers`). Reads the campaign
file only; recipients, templates and suppression files are read by the plan.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from sender import money, safe_yaml
from sender.errors import CampaignError
from sender.validation import explain

ProviderName = Literal["sandbox", "signalwire", "signalwire-compat", "telnyx", "twilio"]
Dialect = Literal["signalwire", "signalwire-compat", "telnyx", "twilio"]
PROVIDERS: tuple[str, ...] = get_args(ProviderName)

_RATE = re.compile(r"(?P<n>\d+(?:\.\d+)?)\s*/\s*(?P<unit>s|sec|second|m|min|minute|h|hour)", re.IGNORECASE)
_PER_SECOND = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Rate:
    """A pace. `per_s` is None for `none` (unlimited) and for `auto` (the provider's documented limit)."""

    text: str
    per_s: float | None
    auto: bool = False


def parse_rate(value: object) -> Rate:
    """The pace `4/s`, `240/min`, `10000/h`, `auto`, `none`, or a bare number a second. Raises ValueError."""
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


def _text(value: object) -> object:
    """YAML without quotes makes integers of numbers; in a dict from Python they may be meant as text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str | Path | int) and not isinstance(value, bool) else value


def _web_url(value: str) -> str:
    if not re.match(r"https?://[^\s/]+", value, re.IGNORECASE):
        raise ValueError(f"{value!r} is not an http or https URL")
    return value


def _region(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{2}", value):
        raise ValueError(f"{value!r} is not a region: write its two letters, such as US or GB")
    return value.upper()


_LINE = StringConstraints(min_length=1, strip_whitespace=True)
Text = Annotated[str, BeforeValidator(_text), _LINE]
_text_or_number = WithJsonSchema({"type": ["string", "number"]})
Sender = Annotated[str, BeforeValidator(_text), _LINE, WithJsonSchema({"type": ["string", "integer"]})]
Url = Annotated[str, _LINE, AfterValidator(_web_url)]
Region = Annotated[str, AfterValidator(_region), WithJsonSchema({"type": "string", "pattern": "^[A-Za-z]{2}$"})]


def _auto_is_none(value: object) -> object:
    return None if value == "auto" else value


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        arbitrary_types_allowed=True,
        hide_input_in_errors=True,
    )


class RecipientsSpec(_Strict):
    """Who gets the message: a file, or rows in place."""

    file: Path | None = Field(
        None, description="CSV, TSV, XLSX, Parquet, JSONL or YAML file, relative to the campaign file."
    )
    rows: tuple[dict[str, Any], ...] | None = Field(
        None, description="Recipients in place, each a mapping of column to value."
    )
    phone_column: Text | None = Field(
        None,
        description="Header of the column with the number. Default: the one named `phone`, `to`, `mobile`, ...",
    )
    default_region: Region | None = Field(
        None, description="Two-letter region (`US`, `GB`) that numbers without a country code belong to."
    )
    region_column: Text | None = Field(None, description="Header of a column with each row's own two-letter region.")
    columns: dict[str, Text] = Field(
        default_factory=dict,
        description="Names for the template: `first_name: Given Name` makes that column `first_name`.",
    )
    sheet: Text | None = Field(None, description="Name of the worksheet in a workbook. Default: the first.")
    separator: str | None = Field(
        None, min_length=1, max_length=1, description="Field separator of a CSV file. Default: detected."
    )
    encoding: Text | None = Field(
        None, description="Encoding of a text file. Default: detected (UTF-8, UTF-16, else refused)."
    )

    @model_validator(mode="after")
    def _one_source(self) -> RecipientsSpec:
        if self.file is not None and self.rows is not None:
            raise ValueError("both `file` and `rows` are given: keep one")
        return self


class MessageSpec(_Strict):
    """What they get."""

    template: Path | None = Field(None, description="Jinja file with the body, relative to the campaign file.")
    body: Annotated[str, BeforeValidator(_text)] | None = Field(
        None, description="The body in place, as a Jinja template."
    )
    media: Annotated[tuple[Text, ...], BeforeValidator(_listed)] = Field(
        (), description="Media URLs, each a Jinja template; one that renders to nothing is left out."
    )
    smart_encoding: bool = Field(
        False, description="Replace look-alike characters (curly quotes, dashes, ...) that force UCS-2."
    )
    max_segments: int | None = Field(
        None, ge=1, description="Skip a row whose text needs more segments than this (reason `too_long`)."
    )

    @model_validator(mode="after")
    def _one_body(self) -> MessageSpec:
        if self.template is not None and self.body is not None:
            raise ValueError("both `template` and `body` are given: keep one")
        return self


class LimitsSpec(_Strict):
    """What must not be crossed. Checked before the first message leaves."""

    max_cost: (
        Annotated[
            Decimal,
            BeforeValidator(lambda value: Decimal(money.text(money.parse(value)))),
            WithJsonSchema({"type": ["string", "number"]}),
        ]
        | None
    ) = Field(
        None,
        description="Most the whole plan may cost, in the currency of the price table; `send` stops before the first"
        " message otherwise.",
    )


class ProviderFields(_Strict):
    """What only some providers carry. A key the chosen provider does not take is an error, never dropped."""

    status_callback: Url | None = Field(
        None, description="URL that delivery reports are sent to; each message's `ref` is added to its query."
    )
    send_as_mms: bool | None = Field(
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
    validity_period: int | None = Field(
        None,
        ge=1,
        le=172_800,
        description="Seconds a message may wait at the provider. SignalWire Compatibility to 172800, Twilio to 36000.",
    )
    max_price: (
        Annotated[
            str,
            BeforeValidator(lambda v: str(v) if isinstance(v, int | float) else v),
            StringConstraints(pattern=r"^\d+\.?\d{0,4}$"),
            _text_or_number,
        ]
        | None
    ) = Field(
        None,
        description="Highest price for one message in USD. SignalWire Compatibility; Twilio takes and ignores it.",
    )
    subject: Text | None = Field(None, description="Telnyx: subject of an MMS.")
    message_type: Literal["SMS", "MMS"] | None = Field(None, description="Telnyx `type`.")
    webhook_failover_url: Url | None = Field(None, description="Telnyx: second URL for reports.")
    use_profile_webhooks: bool | None = Field(None, description="Telnyx: also use the profile's webhooks.")
    auto_detect: bool | None = Field(None, description="Telnyx: warn about unusually long messages.")
    encoding: Literal["auto", "gsm7", "ucs2"] | None = Field(None, description="Telnyx: text encoding.")
    send_at: Text | None = Field(
        None,
        description="Telnyx, Twilio: ISO 8601 time at which the provider sends. Twilio needs a messaging service.",
    )
    custom_variables: dict[str, Text] | None = Field(
        None, max_length=19, description="SignalWire: up to 19 pairs echoed in callbacks (`ref` is ours)."
    )
    content_sid: Text | None = Field(None, description="Twilio: content template `HX…` instead of a body.")
    content_variables: dict[str, Text] | None = Field(None, description="Twilio: values for the content template.")
    content_retention: Literal["retain", "discard"] | None = Field(None, description="Twilio.")
    address_retention: Literal["retain", "obfuscate"] | None = Field(None, description="Twilio.")
    smart_encoded: bool | None = Field(None, description="Twilio: its own smart encoding.")
    shorten_urls: bool | None = Field(None, description="Twilio: link shortening, with a messaging service.")
    provide_feedback: bool | None = Field(None, description="Twilio: message feedback is reported.")
    force_delivery: bool | None = Field(None, description="Twilio.")
    attempt: int | None = Field(None, ge=1, description="Twilio: number of attempts made so far.")
    risk_check: Literal["enable", "disable"] | None = Field(None, description="Twilio.")
    traffic_type: Literal["free"] | None = Field(None, description="Twilio.")
    fallback_from: Sender | None = Field(
        None, description="Twilio: sender used if the messaging service fails to choose one."
    )
    persistent_action: tuple[Text, ...] | None = Field(None, description="Twilio: rich actions.")


class SandboxSpec(_Strict):
    """How the sandbox behaves when `provider: sandbox`, or with `--rehearse`."""

    dialect: Dialect = Field(
        "signalwire", description="The provider whose API the sandbox speaks for `provider: sandbox`."
    )
    latency_ms: int = Field(40, ge=0, le=60_000, description="How long it takes to answer.")
    rate: Annotated[Rate, BeforeValidator(parse_rate), WithJsonSchema({"type": ["string", "number"]})] | None = Field(
        None, description="Answer 429 above this pace."
    )


class Campaign(ProviderFields):
    """A campaign. `base` is the folder that relative paths are relative to."""

    name: Text = Field(
        pattern=r"^[^/\\\x00-\x1f]{1,100}$",
        description="Names the run and its files. Default: the file's name.",
    )
    provider: ProviderName = Field(description="Whose API carries the messages.")
    from_: Annotated[tuple[Sender, ...], BeforeValidator(_listed)] = Field(
        (),
        alias="from",
        description="A number, short code, alphanumeric id, or a service, profile or group id; or a list of numbers.",
    )
    recipients: RecipientsSpec = Field(description="Who gets it: a file name, a list of rows, or a mapping.")
    message: MessageSpec = Field(default_factory=MessageSpec, description="What they get: a body, or a mapping.")
    dedupe: Literal["first", "last", "none"] = Field("first", description="Which row of a repeated number is kept.")
    suppress: Annotated[tuple[Path, ...], BeforeValidator(_listed)] = Field(
        (), description="Files of numbers that get nothing (any recipients format)."
    )
    prices: Path | None = Field(
        None, description="Price table (YAML), relative to the campaign file: what each message will cost."
    )
    limits: LimitsSpec = Field(default_factory=LimitsSpec, description="What must not be crossed.")
    rate: Annotated[Rate, BeforeValidator(parse_rate), WithJsonSchema({"type": ["string", "number"]})] = Field(
        default_factory=lambda: parse_rate("auto"),
        description="Pace: `4/s`, `240/min`, `10000/h`, `auto` (the provider's documented limit), `none`.",
    )
    concurrency: Annotated[
        int | None,
        BeforeValidator(_auto_is_none),
        WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 4096}, {"const": "auto"}]}),
    ] = Field(
        default_factory=lambda: None,
        ge=1,
        le=4096,
        description="Most requests under way at once; `auto`, the default, follows from the pace and the latency.",
    )
    transport: Literal["fast", "httpx"] = Field(
        "fast", description="What carries the requests: `fast`, or `httpx`, slower and with SOCKS proxies."
    )
    retries: int = Field(
        5, ge=0, le=100, description="Further tries for a message the provider provably did not accept."
    )
    timeout_s: float = Field(30.0, gt=0, le=600, description="Total time for one request, in seconds.")
    sandbox: SandboxSpec = Field(default_factory=SandboxSpec, description="How the sandbox behaves.")

    _base: Path = PrivateAttr(default_factory=Path)
    _source: Path | None = PrivateAttr(default=None)
    _frame: Any = PrivateAttr(default=None)
    _lines: safe_yaml.Document = PrivateAttr(default_factory=lambda: safe_yaml.Document(None, {}))

    @field_validator("recipients", mode="before")
    @classmethod
    def _recipients_short(cls, value: object) -> object:
        if isinstance(value, str | Path):
            return {"file": value}
        return {"rows": value} if isinstance(value, list | tuple) else value

    @field_validator("message", mode="before")
    @classmethod
    def _message_short(cls, value: object) -> object:
        return {"body": value} if isinstance(value, str) else value

    @property
    def base(self) -> Path:
        """The folder that relative paths in the campaign are relative to."""
        return self._base

    @property
    def source(self) -> Path | None:
        """The file the campaign was read from, or the recipients file it was built around; None without either."""
        return self._source

    @property
    def frame(self) -> Any:
        """Recipients handed over from Python as a polars or pandas frame; None when they are in a file or in place."""
        return self._frame

    def locate(self, key: str) -> str | None:
        """`FILE, line N, key `KEY`` for a dotted key that stands in the campaign file; None for what does not."""
        place, _, rest = key.partition(", ")  # `message.body, line 2` tells a line of its own
        path: safe_yaml.KeyPath = tuple(place.split("."))
        if self._source is None or path[:1] not in self._lines.lines:
            return None
        return f"{self._source}, line {self._lines.line(path)}, key `{place}`{f' ({rest} of it)' if rest else ''}"

    def path(self, path: Path) -> Path:
        """`path` as the campaign means it."""
        return path.expanduser() if path.expanduser().is_absolute() else self._base / path

    def fields(self) -> dict[str, Any]:
        """The provider fields that are set, by campaign key, in the model's order."""
        set_fields = self.model_dump(include=set(ProviderFields.model_fields), exclude_none=True)
        return {key: list(value) if isinstance(value, tuple) else value for key, value in set_fields.items()}


def load_campaign(
    source: str | Path | Mapping[str, Any] | None = None,
    /,
    *,
    recipients: Any = None,
    base: str | Path | None = None,
    **keys: Any,
) -> Campaign:
    """The campaign in `source` (a YAML file or a dict), with `keys` set over it; or one of `keys` alone.

    `recipients` may be a file name, a list of rows, a mapping, or a polars or pandas frame, or `{"frame": frame,
    "default_region": "US"}` with settings beside the frame. `from` is a Python
    keyword: write `from_=`. Raises CampaignError with every problem found.
    """
    path: Path | None = None
    lines = safe_yaml.Document(None, {})
    data: dict[str, Any] = {}
    if isinstance(source, Mapping):
        data = dict(source)
    elif source is not None:
        path = Path(source)
        lines = _read(path)
        if not isinstance(lines.value, dict):
            what = (
                "the file is empty"
                if lines.value is None
                else "a campaign is a mapping of keys (`name: ...`), this is not"
            )
            raise CampaignError(what, where=str(path), fix="`sender init` writes one that runs")
        data = dict(lines.value)
        data.setdefault("name", path.stem)
    overridden = {("from" if key == "from_" else key): value for key, value in keys.items()}
    frame = None
    if isinstance(recipients, Mapping) and "frame" in recipients:
        keys_of = {name: value for name, value in recipients.items() if name != "frame"}
        data["recipients"] = _merged("recipients", data.get("recipients"), keys_of)
        recipients = recipients["frame"]
    if recipients is not None and hasattr(type(recipients), "columns"):  # a frame of polars or pandas
        frame, given = recipients, data.get("recipients")
        overridden["recipients"] = {**given, "file": None, "rows": None} if isinstance(given, dict) else {}
    elif recipients is not None:
        overridden["recipients"] = recipients
    for key, value in overridden.items():
        data[key] = _merged(key, data.get(key), value)
        lines.lines.pop((key,), None)
    data.setdefault("name", "campaign")
    campaign = _validated(data, lines, path)
    spec = campaign.recipients
    if frame is None and spec.file is None and spec.rows is None:
        raise CampaignError(
            "no recipients",
            where=str(path) if path else None,
            fix="set `recipients: people.csv`, or `recipients: {rows: [...]}`",
        )
    campaign._base = Path(base) if base is not None else path.parent if path else Path()  # noqa: SLF001
    campaign._source = path or (campaign.path(spec.file) if spec.file else None)  # noqa: SLF001
    campaign._frame = frame  # noqa: SLF001
    campaign._lines = lines  # noqa: SLF001
    return campaign


def _merged(key: str, below: Any, above: Any) -> Any:
    """`above` over `below`: mappings key by key (a new body or template replaces the other), lists together."""
    if key == "suppress" and below is not None:
        return [
            *([below] if isinstance(below, str) else below),
            *([above] if isinstance(above, str) else above),
        ]
    if not isinstance(above, Mapping) or below is None:
        return above
    if not isinstance(below, Mapping):  # the short form
        below = {"body" if key == "message" else "rows" if isinstance(below, list) else "file": below}
    replaced = {"body", "template"} if {"body", "template"} & set(above) else set()
    return {**{name: value for name, value in below.items() if name not in replaced}, **above}


def _read(path: Path) -> safe_yaml.Document:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise CampaignError(
            "there is no such file", where=str(path), fix="`sender init` writes a campaign that runs"
        ) from None
    except UnicodeDecodeError as error:
        raise CampaignError(f"not UTF-8 (byte {error.start})", where=str(path), fix="save the file as UTF-8") from None
    except OSError as error:
        raise CampaignError(f"cannot be read: {error.strerror}", where=str(path)) from None
    try:
        return safe_yaml.load(text)
    except safe_yaml.YamlError as error:
        raise CampaignError("not valid", where=str(path), problems=(error.problem,)) from None


def _validated(data: dict[str, Any], lines: safe_yaml.Document, path: Path | None) -> Campaign:
    try:
        return Campaign.model_validate(data)
    except ValidationError as error:
        problems = explain(error, data, lines, known_keys=_known_keys)
    raise CampaignError("the campaign is not valid", where=str(path) if path else None, problems=tuple(problems))


def _known_keys(parents: safe_yaml.KeyPath) -> list[str]:
    model: type[BaseModel] = Campaign
    nested: dict[str, type[BaseModel]] = {
        "recipients": RecipientsSpec,
        "message": MessageSpec,
        "limits": LimitsSpec,
        "sandbox": SandboxSpec,
    }
    for part in parents:
        model = nested.get(str(part), model)
    return [info.alias or name for name, info in model.model_fields.items()]
