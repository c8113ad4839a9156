"""The campaign file: YAML (or a dict, or keyword arguments) to a frozen, validated `Campaign`.

Says what to send, to whom, through which provider, how fast. Unknown keys are refused; an error names file, line,
key and the fix. Holds no secrets: credentials come from the environment (`sender.providers`). Reads the campaign
file only; recipients, templates and suppression files are read by the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from sender.campaign import safe_yaml
from sender.campaign.validation import explain
from sender.campaign.values import (
    Body,
    FromSpec,
    NumberTypes,
    PaceText,
    PoolNumber,
    ProviderFields,
    Rate,
    Region,
    Strict,
    Text,
    Url,
    listed,
    parse_rate,
)
from sender.core import money
from sender.core.errors import CampaignError

__all__ = [
    "PROVIDERS",
    "Campaign",
    "Dialect",
    "LimitsSpec",
    "ListenSpec",
    "MessageSpec",
    "ProviderName",
    "Rate",
    "RecipientsSpec",
    "SandboxSpec",
    "load_campaign",
    "parse_rate",
]

ProviderName = Literal["sandbox", "signalwire", "signalwire-compat", "telnyx", "twilio"]
Dialect = Literal["signalwire", "signalwire-compat", "telnyx", "twilio"]
PROVIDERS: tuple[str, ...] = get_args(ProviderName)


def _auto_is_none(value: object) -> object:
    return None if value == "auto" else value


class RecipientsSpec(Strict):
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
        None, description="Country that numbers without a country code belong to: `US`, `GBR`, `Germany`, `+49`."
    )
    region_column: Text | None = Field(
        None, description="Header of a column with each row's own country, written like `default_region`."
    )
    caution: bool = Field(
        True,
        description="Hold cells that libphonenumber reads as a number although another may be meant, and undo what a"
        " spreadsheet did to a number. `false`: exactly what libphonenumber says.",
    )
    skip_types: NumberTypes = Field(
        (), description="Types of numbers that get nothing, such as `fixed_line` and `premium_rate`."
    )
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


class MessageSpec(Strict):
    """What they get."""

    template: Path | None = Field(None, description="Jinja file with the body, relative to the campaign file.")
    body: Body | None = Field(None, description="The body in place, as a Jinja template.")
    media: Annotated[tuple[Text, ...], BeforeValidator(listed)] = Field(
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


class LimitsSpec(Strict):
    """Limits on the cost, checked before the first message leaves, and on the provider's queue."""

    max_cost: (
        Annotated[
            Decimal,
            BeforeValidator(lambda value: Decimal(money.text(money.parse(value)))),
            WithJsonSchema({"type": ["string", "number"]}),
        ]
        | None
    ) = Field(
        None,
        description="The most that the whole plan may cost, in the price table's currency; above it, `send` stops"
        " before the first message.",
    )
    queue: Literal["auto"] | Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="The most messages or segments (the provider's unit) that may wait in the provider's queue; `auto`"
        " is what it documents. Above it, sending continues as fast as the queue drains. Matters when `rate` is above"
        " the documented one.",
    )


class ListenSpec(Strict):
    """How delivery reports are received by `sender listen` and `send --listen`."""

    public_url: Url | None = Field(
        None,
        description="The https address that the provider calls: of a reverse proxy or a tunnel that leads to the"
        " receiver. `send` puts it into each message.",
    )
    port: int = Field(8026, ge=0, le=65535, description="Port that `send --listen` listens on.")
    signatures: Literal["require", "verify-if-present", "off"] = Field(
        "require", description="Whether a webhook must be signed; `off` works on loopback only."
    )


class SandboxSpec(Strict):
    """How the sandbox behaves when `provider: sandbox`, or with `--rehearse`."""

    dialect: Dialect = Field(
        "signalwire", description="The provider whose API the sandbox speaks for `provider: sandbox`."
    )
    latency_ms: int = Field(40, ge=0, le=60_000, description="How long it takes to answer.")
    rate: PaceText | None = Field(None, description="Answer 429 above this rate.")


class Campaign(ProviderFields):
    """A campaign. `base` is the folder that relative paths are relative to."""

    name: Text = Field(
        pattern=r"^[^/\\\x00-\x1f]{1,100}$",
        description="Names the run and its files. Default: the file's name.",
    )
    provider: ProviderName = Field(description="Whose API carries the messages.")
    from_: FromSpec = Field(
        default_factory=FromSpec,
        alias="from",
        description="A number, short code, alphanumeric id, or a service, profile or group id; a template; a list of"
        " numbers, or a mapping.",
    )
    recipients: RecipientsSpec = Field(description="Who gets it: a file name, a list of rows, or a mapping.")
    message: MessageSpec = Field(default_factory=MessageSpec, description="What they get: a body, or a mapping.")
    dedupe: Literal["first", "last", "none"] = Field(
        "first", description="Which row of a repeated number gets the message."
    )
    suppress: Annotated[tuple[Path, ...], BeforeValidator(listed)] = Field(
        (), description="Files of numbers that get nothing (any recipients format)."
    )
    skip_dead: bool = Field(
        False,
        description="Skip numbers that a provider has refused before, as landlines or as not in use.",
    )
    prices: Path | None = Field(
        None,
        description="Price table (YAML), relative to the campaign file, from which each message's cost is computed.",
    )
    limits: LimitsSpec = Field(
        default_factory=LimitsSpec, description="Limits on the cost and on the provider's queue."
    )
    rate: PaceText = Field(
        default_factory=lambda: parse_rate("auto"),
        description="How fast to send: `4/s`, `240/min`, `10000/h`, `auto` (the provider's documented limit), `none`.",
    )
    concurrency: Annotated[
        int | None,
        BeforeValidator(_auto_is_none),
        WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1, "maximum": 4096}, {"const": "auto"}]}),
    ] = Field(
        default_factory=lambda: None,
        ge=1,
        le=4096,
        description="The most requests in flight at once; `auto`, the default, follows from the rate and the latency.",
    )
    transport: Literal["fast", "httpx"] = Field(
        "fast", description="What carries the requests: `fast`, or `httpx`, which is slower and supports SOCKS proxies."
    )
    retries: int = Field(
        5, ge=0, le=100, description="Further attempts for a message that the provider provably did not accept."
    )
    timeout_s: float = Field(30.0, gt=0, le=600, description="The time limit of one request, in seconds.")
    listen: ListenSpec = Field(default_factory=ListenSpec, description="How delivery reports are received.")
    sandbox: SandboxSpec = Field(default_factory=SandboxSpec, description="How the sandbox behaves.")

    _base: Path = PrivateAttr(default_factory=Path)
    _source: Path | None = PrivateAttr(default=None)
    _frame: Any = PrivateAttr(default=None)
    _lines: safe_yaml.Document = PrivateAttr(default_factory=lambda: safe_yaml.Document(None, {}))

    @field_validator("from_", mode="before")
    @classmethod
    def _from_short(cls, value: object) -> object:
        return {"numbers": listed(value)} if isinstance(value, str | int | list | tuple) else value

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
    def senders(self) -> tuple[str, ...]:
        """What stands in `from`: nothing, one sender (or its template), or the numbers of a pool."""
        return tuple(one.number for one in self.from_.numbers)

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
        values = {key: getattr(self, key) for key in ProviderFields.model_fields}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in values.items()
            if value is not None
        }


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
        short = {"message": "body", "from": "numbers"}.get(key, "rows" if isinstance(below, list) else "file")
        below = {short: below}
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
        "listen": ListenSpec,
        "sandbox": SandboxSpec,
        "from": FromSpec,
    }
    for part in parents:
        model = PoolNumber if model is FromSpec else nested.get(str(part), model)
    return [info.alias or name for name, info in model.model_fields.items()]
