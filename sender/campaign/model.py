"""The campaign: what to send, to whom, through which provider and how fast, as a frozen, validated value.

The descriptions of its fields are the reference in `docs/campaign.md`. Holds no secrets: credentials come from the
environment (`sender.providers`). Reads no files; `sender.campaign.load` makes a `Campaign` of one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from sender.campaign import safe_yaml
from sender.campaign.approval_spec import ApprovalSpec, expand_approval
from sender.campaign.canary_spec import CanarySpec, expand_canary
from sender.campaign.cut_texts import notes_on_cut_texts
from sender.campaign.experiment_spec import (
    ExperimentSpec,
    HoldoutShare,
    TestShare,
    VariantSpec,
    check_variants,
    expand_experiment,
)
from sender.campaign.limits_spec import LimitsSpec
from sender.campaign.links_spec import LinksSpec
from sender.campaign.route_spec import ROUTES_MAX, RouteSpec, expand_from, expand_routes
from sender.campaign.schedule_spec import ScheduleSpec
from sender.campaign.start_time import DEFAULT_LATE, LateText, StartText
from sender.campaign.suppress_spec import SuppressSpec, expand_files
from sender.campaign.surroundings import Dialect, ListenSpec, SandboxSpec
from sender.campaign.values import (
    PLACEHOLDERS,
    Body,
    File,
    FromSpec,
    LintOff,
    NumberTypes,
    PaceText,
    Placeholders,
    ProviderFields,
    Rate,
    Region,
    Strict,
    Text,
    expand_short_form,
    parse_rate,
    to_list,
)
from sender.campaign.window import WindowSpec

__all__ = [
    "PROVIDERS",
    "Campaign",
    "CanarySpec",
    "Dialect",
    "LimitsSpec",
    "ListenSpec",
    "MessageSpec",
    "ProviderName",
    "Rate",
    "RecipientsSpec",
    "SandboxSpec",
    "ScheduleSpec",
    "SuppressSpec",
    "parse_rate",
]

ProviderName = Literal["sandbox", "signalwire", "signalwire-compat", "telnyx", "twilio"]
PROVIDERS: tuple[str, ...] = get_args(ProviderName)


def _auto_to_none(value: object) -> object:
    return None if value == "auto" else value


def _to_headers(value: object) -> object:
    """Return one header or several as a list, none as an empty one."""
    return () if value is None else to_list(value)


class RecipientsSpec(Strict):
    """Who gets the message: a file, or rows in the campaign itself."""

    file: File | None = Field(
        None, description="CSV, TSV, XLSX, Parquet, JSONL or YAML file, relative to the campaign file."
    )
    rows: tuple[dict[str, Any], ...] | None = Field(
        None, description="Recipients in place, each a mapping of column to value."
    )
    phone_column: Annotated[tuple[Text, ...], BeforeValidator(_to_headers)] = Field(
        (),
        description="Header of the column with the number. Default: the only column with such a name (`phone`,"
        " `Mobile #`, `Téléphone`, ...). A list is an order: the first cell of a row that reads as a number is used.",
    )
    default_region: Region | None = Field(
        None, description="Country of numbers without a country code: `US`, `GBR`, `Germany`, `+49`."
    )
    region_column: Text | None = Field(
        None,
        description="Header of a column with each row's own country, written like `default_region`. Default: the one"
        " named so (`Country/Region`, ...), for numbers that `default_region` cannot be meant for.",
    )
    where: Text | None = Field(
        None,
        description="Whom to text: a Jinja expression over the row that is true or false, such as"
        " `sms_consent == 'yes' and city != ''`. Other rows are skipped as `filtered_out`. A blank cell is an empty"
        " text.",
    )
    caution: bool = Field(
        True,
        description="Skip cells that libphonenumber reads as a number although another one may be meant, and undo what"
        " a spreadsheet did to a number. `false`: exactly what libphonenumber says.",
    )
    skip_types: NumberTypes = Field(
        (), description="Types of numbers that get nothing, such as `fixed_line` and `voip`."
    )
    allow_types: NumberTypes = Field(
        (),
        description="Types of numbers that get a message although they are skipped by default: `toll_free`,"
        " `premium_rate`, `shared_cost`, `uan`, `voicemail`.",
    )
    placeholders: Placeholders = Field(
        PLACEHOLDERS,
        description="Cells with exactly one of these texts count as blank. `none`: no such texts.",
    )
    columns: dict[str, Text] = Field(
        default_factory=dict,
        description="Names for the template: `first_name: Given Name` makes that column `first_name`.",
    )
    hidden_rows: Literal["skip", "keep"] | None = Field(
        None,
        description="Rows that an XLSX workbook hides: skip them, or text them. Required if one of them would get a"
        " message.",
    )
    sheet: Text | None = Field(None, description="Name of the worksheet in a workbook. Default: the first.")
    header_row: int | None = Field(
        None,
        ge=1,
        description="Row number of the header in a CSV file or workbook, as a spreadsheet shows it; the rows above are"
        " left out. Default: the first row that is not blank.",
    )
    separator: str | None = Field(
        None, min_length=1, max_length=1, description="Field separator of a CSV file. Default: detected."
    )
    encoding: Text | None = Field(
        None, description="Encoding of a text file. Default: detected (UTF-8, UTF-16, else refused)."
    )

    @model_validator(mode="after")
    def _check_source(self) -> RecipientsSpec:
        if self.file is not None and self.rows is not None:
            raise ValueError("both `file` and `rows` are given: keep one")
        if both := [kind for kind in self.allow_types if kind in self.skip_types]:
            raise ValueError(f"`{both[0]}` is in both `allow_types` and `skip_types`: keep one")
        return self


class MessageSpec(Strict):
    """The message: its text and media."""

    template: File | None = Field(None, description="Jinja file with the body, relative to the campaign file.")
    body: Body | None = Field(None, description="The body in place, as a Jinja template.")
    media: Annotated[tuple[Text, ...], BeforeValidator(to_list)] = Field(
        (), description="Media URLs, each a Jinja template; one that renders to nothing is left out."
    )
    variants: Annotated[tuple[VariantSpec, ...], AfterValidator(check_variants)] = Field(
        (),
        description="Several messages, of which each person gets one, by their number: `[{name: a, body: ...},"
        " {name: b, body: ...}]`.",
    )
    smart_encoding: bool = Field(
        False, description="Replace look-alike characters (curly quotes, dashes, ...) that force UCS-2."
    )
    max_segments: int | None = Field(
        None, ge=1, le=10_000, description="Skip a row whose text needs more segments than this (reason `too_long`)."
    )

    @model_validator(mode="after")
    def _check_body(self) -> MessageSpec:
        if self.template is not None and self.body is not None:
            raise ValueError("both `template` and `body` are given: keep one")
        return self


class Campaign(ProviderFields):
    """A campaign. `base` is the folder that relative paths are relative to."""

    name: Text = Field(
        pattern=r"^[^/\\\x00-\x1f]{1,100}$",
        description="Names the run and its files. Default: the file's name.",
    )
    edition: Text = Field(
        "",
        max_length=100,
        description="Names a new edition of a campaign that is sent again and again, so that people who have had an"
        " earlier one get this one: text, or a template of `date` (2026-11-28), `week` (2026-W48) and `month` (2026-11)"
        " in local time. Without it the campaign is one edition for ever, and nobody gets it twice.",
    )
    on_unfinished: Literal["resume", "close", "refuse"] = Field(
        "refuse",
        description="What a start does when an earlier run of the campaign is unfinished and the inputs have changed:"
        " finish that run (`resume`), end it and begin a new one (`close`), or stop with exit code 3 (`refuse`).",
    )
    start: StartText | None = Field(
        None,
        description="When it begins: a time with its zone, `2026-12-01T09:00 America/New_York`, or with an offset."
        " `send` checks everything, asks, and waits.",
    )
    late: LateText = Field(
        DEFAULT_LATE,
        description="How late it may begin, after `start` or a time of `schedule`. Later than that, `send` asks, and is"
        " refused where it cannot ask.",
    )
    schedule: ScheduleSpec | None = Field(
        None, description="When `sender schedule run` sends it: `{cron: 0 9 * * mon, zone: America/New_York}`."
    )
    provider: ProviderName = Field(description="The provider that sends the messages.")
    from_: FromSpec = Field(
        default_factory=FromSpec,
        alias="from",
        description="A number, short code, alphanumeric id, or a service, profile or group id; a template; a list of"
        " numbers, or a mapping.",
    )
    routes: tuple[RouteSpec, ...] = Field(
        (),
        max_length=ROUTES_MAX,
        description="Several providers instead of one, in order: `[signalwire, twilio]`, or mappings with `from` and"
        " `prices`. A message moves to the next once a provider has proved that it did not accept it.",
    )
    recipients: RecipientsSpec = Field(description="Who gets it: a file name, a list of rows, or a mapping.")
    message: MessageSpec = Field(default_factory=MessageSpec, description="What they get: a body, or a mapping.")
    links: LinksSpec | None = Field(
        None,
        description='What `{{ link("https://...") }}` in a text becomes: `{base, domains, length}` of your shortener.',
    )
    variant: Text | None = Field(
        None, description="The one of `message.variants` that everybody gets now, such as the winner."
    )
    experiment: Annotated[ExperimentSpec | None, BeforeValidator(expand_experiment)] = Field(
        None,
        description="The experiment with the variants or the holdout: `{key, event, base, lift}`, or only its key.",
    )
    holdout: HoldoutShare = Field(
        0.0,
        description="The share of people who get nothing, chosen by their number, so that reports can compare: `5%`"
        " (skip reason `holdout`).",
    )
    share: TestShare | None = Field(
        None,
        description="The share of people who get a message now, chosen by their number: `20%` for a test group (skip"
        " reason `outside_share`). `--only-new` without it sends to the others.",
    )
    window: WindowSpec = Field(default_factory=WindowSpec, description="When the messages may leave.")
    purpose: Literal["marketing", "transactional"] = Field(
        "marketing",
        description="What the messages are for. For `transactional` ones no window, no rules and no caps apply;"
        " opt-outs always do.",
    )
    lint: LintOff = Field(
        (),
        description="Warnings about texts that are not wanted: `off` for all, or a list of `unfilled`, `blanks`,"
        " `no_opt_out`, `short_links`, `capitals`.",
    )
    dedupe: Literal["first", "last", "none"] = Field(
        "first", description="Which row of a repeated number gets the message."
    )
    suppress: Annotated[tuple[SuppressSpec, ...], BeforeValidator(expand_files)] = Field(
        (),
        description="Files of numbers that get nothing, in any recipients format: a name, a mapping, or a list of both."
        " They are read again whenever the campaign is sent or resumed, and watched meanwhile.",
    )
    skip_dead: bool = Field(
        False,
        description="Skip numbers that a provider has refused before, as landlines or as not in use.",
    )
    prices: File | None = Field(
        None,
        description="Price table (YAML), relative to the campaign file, from which each message's cost is computed.",
    )
    limits: LimitsSpec = Field(
        default_factory=LimitsSpec,
        description="Limits on what a start may do, on what a person gets, on the provider's queue, and on refusals.",
    )
    canary: Annotated[CanarySpec | None, BeforeValidator(expand_canary)] = Field(
        None,
        description="Messages that go first, whose receipts decide whether the others leave: `{first: 200, wait: 15m,"
        " stop_if: ...}`, or only their number.",
    )
    approval: Annotated[ApprovalSpec | None, BeforeValidator(expand_approval)] = Field(
        None,
        description="`required`: a live run begins only once people have signed its written plan (`sender approve`); or"
        " `{approvals: 2, signers: allowed_signers, revoked: revoked_keys}`.",
    )
    rate: PaceText = Field(
        default_factory=lambda: parse_rate("auto"),
        description="How fast to send: `4/s`, `240/min`, `10000/h`, `auto` (the provider's documented limit), `none`.",
    )
    concurrency: Annotated[
        int | None,
        BeforeValidator(_auto_to_none),
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

    @model_validator(mode="after")
    def _check_times(self) -> Campaign:
        if self.start is not None and self.schedule is not None:
            raise ValueError("both `start` and `schedule` are given: keep one")
        if self.approval is not None and self.schedule is not None:
            raise ValueError(
                "`approval` and `schedule` exclude each other: each time of a schedule has a new plan, which nobody has"
                " approved"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _expand_routes(cls, data: Any) -> Any:
        return expand_routes(data)

    @field_validator("from_", mode="before")
    @classmethod
    def _expand_from(cls, value: object) -> object:
        return expand_from(value)

    @field_validator("recipients", "window", "message", mode="before")
    @classmethod
    def _expand_short_form(cls, value: object, info: ValidationInfo) -> object:
        is_short = isinstance(value, str | Path) or (
            info.field_name == "recipients" and isinstance(value, list | tuple)
        )
        return expand_short_form(str(info.field_name), value) if is_short else value

    @property
    def senders(self) -> tuple[str, ...]:
        """The senders in `from`: none, one (or its template), or the numbers of a pool."""
        return tuple(sender.number for sender in self.from_.numbers)

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
        """The recipients as a polars or pandas frame; None when they are in a file or in the campaign."""
        return self._frame

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of the campaign's file, a sentence each."""
        return () if self._source is None else notes_on_cut_texts(self._lines, self._source.name)

    def set_origin(self, *, base: Path, source: Path | None, frame: Any, lines: safe_yaml.Document) -> None:
        """Record where the campaign comes from; `sender.campaign.load` does so once."""
        self._base = base
        self._source = source or (self.path(self.recipients.file) if self.recipients.file else None)
        self._frame = frame
        self._lines = lines

    def locate(self, key: str) -> str | None:
        """Return `FILE, line N, key `KEY`` for a dotted key of the campaign file; None for a key that is not in it."""
        place, _, rest = key.partition(", ")  # `message.body, line 2` has a line of its own
        path: safe_yaml.KeyPath = tuple(place.split("."))
        if self._source is None or path[:1] not in self._lines.lines:
            return None
        return f"{self._source}, line {self._lines.line(path)}, key `{place}`{f' ({rest} of it)' if rest else ''}"

    def path(self, path: Path) -> Path:
        """Return `path`, relative to the campaign's base unless it is absolute."""
        return path.expanduser() if path.expanduser().is_absolute() else self._base / path

    def fields(self) -> dict[str, Any]:
        """Return the provider fields that are set, by campaign key, in the model's order."""
        values = {key: getattr(self, key) for key in ProviderFields.model_fields}
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in values.items()
            if value is not None
        }
