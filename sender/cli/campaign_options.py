"""The options of a campaign, and the plan or the campaign that a command names."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

from sender.campaign import safe_yaml
from sender.campaign.load import load_campaign
from sender.campaign.model import PROVIDERS, Campaign
from sender.campaign.start_time import StartTime
from sender.cli import terminal
from sender.cli.limit_options import GUARD_OPTIONS, LIMIT_OPTIONS, campaign_limits, limits_given, parse_limits
from sender.cli.shared_options import Command, add_options
from sender.cli.window_options import WINDOW_OPTIONS, window_keys
from sender.core.errors import CampaignError, HiddenRows, InputError
from sender.core.folder_defaults import find_folder_defaults
from sender.plan.manifest import MANIFEST_FILE
from sender.plan.plan import Plan
from sender.planning.brakes import with_limits
from sender.planning.build import build_plan
from sender.state.open import folders_above

TARGET_HELP = (
    "CAMPAIGN is a campaign file (YAML), a recipients file (CSV, TSV, XLSX, Parquet, JSONL, YAML list)"
    " or the folder of a written plan."
)

_CAMPAIGN_OPTIONS = (
    click.option("--provider", type=click.Choice(PROVIDERS), help="The provider that sends the messages."),
    click.option("--from", "from_", multiple=True, metavar="NUMBER", help="Sender; repeat it for a pool of numbers."),
    click.option("--template", type=click.Path(path_type=Path), help="Jinja file with the body."),
    click.option("--body", help="The body itself, as a Jinja template: 'Hi {{ name }}'."),
    click.option("--media", multiple=True, metavar="URL", help="Media URL, a Jinja template too; may be repeated."),
    click.option("--default-region", metavar="US", help="Country of numbers without a country code."),
    click.option("--skip-types", metavar="TYPES", help="Skip numbers of these types: fixed_line,premium_rate,..."),
    click.option(
        "--caution/--no-caution",
        default=None,
        help="Skip numbers that may be misread, or accept whatever libphonenumber accepts. Default: skip.",
    ),
    click.option("--phone-column", metavar="HEADER", help="Column with the number."),
    click.option("--sheet", metavar="NAME", help="Worksheet of a workbook."),
    click.option(
        "--hidden-rows",
        type=click.Choice(["skip", "keep"]),
        help="Rows that an XLSX workbook hides: skip them, or text them.",
    ),
    click.option(
        "--suppress",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="File of numbers that get nothing; may be repeated.",
    ),
    click.option(
        "--unreadable",
        type=click.IntRange(0),
        metavar="N",
        help="Rows of each --suppress file that may hold a number that cannot be read. Default: none.",
    ),
    click.option("--skip-dead/--no-skip-dead", default=None, help="Skip numbers that a provider has reported as dead."),
    click.option(
        "--dedupe", type=click.Choice(["first", "last", "none"]), help="Which row of a repeated number gets a message."
    ),
    click.option("--rate", metavar="4/s", help="Rate: 4/s, 240/min, 10000/h, auto, none."),
    click.option("--concurrency", metavar="N", help="Most requests in flight at once (default: auto)."),
    click.option("--transport", type=click.Choice(["fast", "httpx"]), help="What carries the requests."),
    click.option("--prices", type=click.Path(path_type=Path), metavar="FILE", help="Price table, for the plan's cost."),
    *LIMIT_OPTIONS,
    *GUARD_OPTIONS,
    click.option(
        "--per-person",
        multiple=True,
        metavar="3/24h",
        help="Most messages to a person in a rolling window, over all campaigns; may be repeated.",
    ),
    *WINDOW_OPTIONS,
    click.option(
        "--canary",
        metavar="N",
        help="Send N messages first, spread over the list, and the others only if the receipts of those are good.",
    ),
    click.option("--canary-wait", metavar="TIME", help="The longest wait for these receipts. Default: 15m."),
    click.option("--max-segments", type=click.IntRange(1), help="Skip longer texts."),
    click.option(
        "--smart-encoding/--no-smart-encoding", default=None, help="Replace look-alike characters that force UCS-2."
    ),
    click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="KEY=VALUE",
        help="Any other campaign key, e.g. validity_period=3600.",
    ),
    click.option("--variant", metavar="NAME", help="Everybody gets this one of the campaign's variants."),
    click.option("--holdout", metavar="5%", help="The share of people who get nothing, to compare with."),
    click.option("--share", metavar="20%", help="The share of people who get a message now: a test group."),
    click.option("--name", help="Name of the campaign. Default: the file's."),
    click.option("--edition", help="Names a new edition of a campaign that is sent again and again."),
)


only_new_option = click.option(
    "--only-new", is_flag=True, help="Skip people who have had this campaign, or may have had it, in the same edition."
)


def campaign_options(command: Command) -> Command:
    """Add the campaign argument, and the options that set or override the campaign's keys."""
    return add_options(command, _target("campaign"), *_CAMPAIGN_OPTIONS)


def campaigns_options(command: Command) -> Command:
    """Add the arguments `a` and `b`, two campaigns, and the options that set or override their keys."""
    return add_options(command, _target("a"), _target("b"), *_CAMPAIGN_OPTIONS)


def _target(name: str) -> Callable[[Command], Command]:
    return click.argument(name, type=click.Path(path_type=Path))


def is_written_plan(target: Path) -> bool:
    """Whether `target` is the folder of a written plan."""
    return (target / MANIFEST_FILE).is_file()


def read_plan(
    target: Path,
    options: Mapping[str, Any],
    *,
    state_dir: Path | str,
    limit: int | None = None,
    test_to: str | None = None,
    only_new: bool = False,
    rehearse: bool = False,
    at: StartTime | Literal["now"] | None = None,
    ask: bool = True,
) -> tuple[Plan, Campaign | None]:
    """Return the plan that `target` and the options name, and the campaign it was built from (None: a written plan).

    Numbers on the suppression list in `state_dir` are skipped, and with `only_new` those that have had the campaign;
    with `rehearse` too, from a rehearsal. `at` is when a campaign begins, instead of its `start`. With `ask` a person
    at a terminal is asked what becomes of the rows that a workbook hides. Raises InputError.
    """
    if is_written_plan(target):
        if (
            any(value not in (None, ()) for name, value in options.items() if name not in limits_given(options))
            or limit is not None
            or test_to is not None
            or only_new
        ):
            raise InputError(
                f"{target} is a written plan, which never changes",
                fix="plan the campaign again with those options",
            )
        return with_limits(Plan.open(target), parse_limits(options)), None
    campaign = read_campaign(target, options, state_dir=state_dir)
    build = partial(
        build_plan, limit=limit, test_to=test_to, state_dir=state_dir, only_new=only_new, rehearse=rehearse, at=at
    )
    try:
        return build(campaign), campaign
    except HiddenRows as error:
        if not ask or not sys.stdin.isatty():
            raise
        choice = terminal.choose(f"{error.what}. Skip hidden rows, or keep them?", ["skip", "keep"])
    campaign = read_campaign(target, {**options, "hidden_rows": choice}, state_dir=state_dir)
    return build(campaign), campaign


def with_hidden_rows(options: Mapping[str, Any], campaign: Campaign | None) -> Mapping[str, Any]:
    """Return the options with what `campaign` does about hidden rows, so that nobody is asked twice."""
    return options if campaign is None else {**options, "hidden_rows": campaign.recipients.hidden_rows}


def read_campaign(target: Path, options: Mapping[str, Any], *, state_dir: Path | str) -> Campaign:
    """Return the campaign in `target`, or one made from a recipients file and the options. Raises InputError.

    Where both are silent, the `sender.toml` counts that is found upwards from the target's folder, from the current
    folder, or beside the state.
    """
    own = (Path.cwd() / target).parent.resolve()
    defaults = find_folder_defaults(own, Path.cwd(), *folders_above(state_dir))
    keys = _campaign_keys(options)
    if target.is_dir():
        raise InputError(
            "this folder is not a written plan",
            where=str(target),
            fix="name a campaign file or a recipients file",
        )
    if is_campaign(target):
        return load_campaign(target, defaults=defaults.file if defaults else None, **keys)
    recipients = {"file": str(target), **keys.pop("recipients", {})}
    return load_campaign(
        {"name": target.stem, "recipients": recipients}, defaults=defaults.file if defaults else None, **keys
    )


def is_campaign(target: Path) -> bool:
    """Whether `target` is a YAML mapping; a YAML list is recipients, and a broken file is reported as a campaign."""
    if target.suffix.lower() not in (".yaml", ".yml"):
        return False
    try:
        return not isinstance(safe_yaml.load(target.read_text(encoding="utf-8-sig")).value, list)
    except (safe_yaml.YamlError, OSError, UnicodeDecodeError):
        return True


def _campaign_keys(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return campaign keys from options. File names become absolute: they are relative to the current folder."""
    keys: dict[str, Any] = {}
    for setting in options["settings"]:
        key, equals, value = setting.partition("=")
        if not equals:
            raise CampaignError(f"--set {setting}: write --set key=value")
        section, dot, name = key.strip().partition(".")
        if dot:
            keys.setdefault(section, {})[name] = value
        else:
            keys[section] = value
    for name in (
        *("provider", "edition", "dedupe", "skip_dead", "rate", "concurrency", "transport", "name", "late"),
        *("variant", "holdout", "share"),
    ):
        if options.get(name) is not None:
            keys[name] = options[name]
    if options["from_"]:
        keys["from"] = {**keys.get("from", {}), "numbers": list(options["from_"])}
    message = {name: options[name] for name in ("body", "max_segments", "smart_encoding") if options[name] is not None}
    if options["template"] is not None:
        message["template"] = str(_absolute(options["template"]))
    if options["media"]:
        message["media"] = list(options["media"])
    recipients = {
        name: options[name]
        for name in ("default_region", "skip_types", "caution", "phone_column", "sheet", "hidden_rows")
        if options[name] is not None
    }
    for section, values in (("message", message), ("recipients", recipients)):
        if values:
            keys[section] = {**keys.get(section, {}), **values}
    if options["prices"] is not None:
        keys["prices"] = str(_absolute(options["prices"]))
    if limits := campaign_limits(options):
        keys["limits"] = {**keys.get("limits", {}), **limits}
    for section, value in window_keys(options).items():
        keys[section] = {**keys.get(section, {}), **value} if isinstance(value, dict) else value
    if options["per_person"]:
        keys.setdefault("limits", {})["per_person"] = list(options["per_person"])
    if canary := _canary_keys(options):
        keys["canary"] = canary
    if options["suppress"]:
        allowed = {} if options["unreadable"] is None else {"unreadable": options["unreadable"]}
        keys["suppress"] = [{"file": str(_absolute(path)), **allowed} for path in options["suppress"]]
    elif options["unreadable"] is not None:
        raise CampaignError("--unreadable is about files named with --suppress", fix="name one, or leave it out")
    return keys


def _canary_keys(options: Mapping[str, Any]) -> dict[str, Any] | str:
    """Return the campaign's `canary` as the options have it; empty where they say nothing of it."""
    first, wait = options["canary"], options["canary_wait"]
    if first is not None and first.strip().lower() == "none":
        return "none"
    return {name: value for name, value in (("first", first), ("wait", wait)) if value is not None}


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would follow links the user meant)
