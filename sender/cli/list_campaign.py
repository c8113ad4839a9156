"""The campaign that `sender init LIST` writes: for the list as it is, with its number column and its fields."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from sender.campaign.load import load_campaign
from sender.core.folder_defaults import FolderDefaults
from sender.core.outcomes import SkipReason
from sender.core.safe_text import show_controls
from sender.plan.plan import Plan
from sender.planning.build import build_plan
from sender.recipients.columns import Recipients, load_recipients
from sender.templating.nested_values import find_example

_LISTS = (".csv", ".tsv", ".txt", ".xlsx", ".xlsm", ".xls", ".ods", ".parquet", ".jsonl", ".ndjson", ".gz", ".zst")
_FIRST_NAMES = ("first_name", "firstname", "given_name", "forename", "vorname", "prenom", "prénom", "nombre")
_NAMES = ("name", "full_name", "fullname", "customer_name", "contact_name")
_MOST_FIELDS = 40
_SENDER = "+12025550100"


@dataclass(frozen=True, slots=True)
class ListCampaign:
    """`text` is the campaign file, `plan` what it would send, `region_missing` whether numbers lack their country."""

    text: str
    plan: Plan
    region_missing: bool


def is_list(target: Path) -> bool:
    """Whether `target` is meant as a list, and not as a folder: it is a file, or has the suffix of one."""
    return not target.is_dir() and (target.exists() or target.suffix.lower() in _LISTS)


def name_campaign(people: Path) -> Path:
    """Return the campaign's file next to the list: `people.yaml` for `people.csv`."""
    stem = people.name.partition(".")[0] or "people"
    name = f"{stem}-campaign.yaml" if people.suffix.lower() in (".yaml", ".yml") else f"{stem}.yaml"
    return people.with_name(name)


def write_list_campaign(people: Path, given: Mapping[str, Any], defaults: FolderDefaults | None) -> ListCampaign:
    """Return the campaign for the list in `people`; `given` are keys of `recipients` that a person has named.

    What the folder's defaults say is left out. Raises InputError as a plan does: for a list that cannot be read, or in
    which no column, or more than one, may have the number.
    """
    known = {} if defaults is None else defaults.keys
    recipients = load_recipients(_load(people, {"recipients": given}, defaults))
    keys: dict[str, Any] = {"recipients": {"phone_column": recipients.phones[0], **given}}
    if recipients.body is None:
        keys["message"] = _greeting(recipients.names)
    plan = build_plan(_load(people, keys, defaults))
    has_region = "default_region" in given or "default_region" in known or bool(recipients.countries.headers)
    missing = not has_region and plan.manifest.skipped.get(SkipReason.INVALID_NUMBER, 0) > 0
    lines = [*_head(people, known), *_recipients(people, keys["recipients"], plan, region_missing=missing)]
    lines += [*_message(keys.get("message"), recipients), "", "dedupe: first              # the first row of a number"]
    return ListCampaign("\n".join(lines) + "\n", plan, missing)


def _load(people: Path, keys: Mapping[str, Any], defaults: FolderDefaults | None) -> Any:
    recipients = {"file": people.name, **keys["recipients"]}
    given = {"provider": "sandbox", "from": _SENDER} if defaults is None else {}
    if defaults is not None:
        given = {} if "provider" in defaults.keys else {"provider": "sandbox"}
        given |= {} if "from" in defaults.keys else {"from": _SENDER}
    rest = {key: value for key, value in keys.items() if key != "recipients"}
    return load_campaign(
        {"name": people.name.partition(".")[0] or "people", **given, "recipients": recipients, **rest},
        base=people.parent,
        defaults=None if defaults is None else defaults.file,
    )


def _greeting(names: Mapping[str, str]) -> str:
    """Return a text to begin with, which greets by the list's own column of names, if it has one."""
    by_small_letters = {name.lower(): name for name in names}
    first = next((by_small_letters[name] for name in _FIRST_NAMES if name in by_small_letters), None)
    full = next((by_small_letters[name] for name in _NAMES if name in by_small_letters), None)
    if first is not None:
        who = f'{{{{ {first} | default("there") }}}}'
    else:
        who = f'{{{{ {full} | first_name | default("there") }}}}' if full is not None else "there"
    return f"Hi {who}, write your text here. Reply STOP to opt out."


def _head(people: Path, known: Mapping[str, Any]) -> Iterator[str]:
    yield f"# The campaign for {_one_line(people.name)}. Look: sender preview {_one_line(name_campaign(people).name)}"
    if "provider" not in known:
        yield "provider: sandbox          # a simulator; then signalwire, signalwire-compat, telnyx or twilio"
    if "from" not in known:
        yield f'from: "{_SENDER}"       # your number, short code or alphanumeric id; or a list of numbers'
    yield ""


def _recipients(people: Path, keys: Mapping[str, Any], plan: Plan, *, region_missing: bool) -> Iterator[str]:
    yield "recipients:"
    yield f"  file: {_quoted(people.name)}"
    example = plan.scan().select("to").drop_nulls().head(1).collect()["to"].to_list()
    for key, value in keys.items():
        note = f"  # read as {example[0]}" if key == "phone_column" and example else ""
        yield f"  {key}: {_quoted(str(value))}{note}"
    if region_missing:
        yield "  # default_region: US     # the country of the numbers without a country code"


def _message(body: str | None, recipients: Recipients) -> Iterator[str]:
    yield ""
    names = {header: name for name, header in recipients.names.items()}
    others = [header for header in recipients.headers if header not in recipients.phones]
    nested = recipients.nested_cells
    examples = {column.name: column.filter(~column.is_in(["[]", "{}"])).head(1) for column in nested.iter_columns()}
    paths = {header: names.get(header) or f"row[{json.dumps(header, ensure_ascii=False)}]" for header in others}
    fields = [f"{{{{ {_example(path, examples.get(header))} }}}}" for header, path in paths.items()]
    if fields:
        more = f" and {len(fields) - _MOST_FIELDS} more" if len(fields) > _MOST_FIELDS else ""
        yield f"# Fields of the list: {_one_line(', '.join(fields[:_MOST_FIELDS]))}{more}"
    if body is None:
        yield f"# The text is the list's column {_quoted(recipients.body or '')}."
    else:
        yield "message:"
        yield f"  body: {_quoted(body)}"
        yield "  max_segments: 2          # longer ones are skipped and reported"


def _example(path: str, nested: pl.Series | None) -> str:
    """Return how a template writes a column, or the first value in one that has mappings or lists."""
    return path if nested is None or nested.is_empty() else find_example(nested.item(), path)


def _quoted(text: str) -> str:
    """Return the text as YAML: plain where it is plain, else in quotes."""
    plain = text.isascii() and text.replace("_", "").replace(".", "").replace("-", "").isalnum() and text[0].isalpha()
    words = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
    return text if plain and text.lower() not in words else json.dumps(text, ensure_ascii=False)


def _one_line(text: str) -> str:
    return show_controls(" ".join(text.split()))
