"""Loads a campaign from a YAML file, a dict or keyword arguments.

Unknown keys are refused; an error names file, line, key and the fix. Reads the campaign file only; recipients,
templates, prices and suppression files are read when the plan is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sender.campaign import safe_yaml
from sender.campaign.apply_defaults import lay_under
from sender.campaign.campaign_keys import CAMPAIGN_KEYS
from sender.campaign.cut_texts import empty_messages
from sender.campaign.model import Campaign
from sender.campaign.validation import explain
from sender.campaign.values import expand_short_form
from sender.core.errors import CampaignError, InputError
from sender.core.folder_defaults import DEFAULTS_FILE, FolderDefaults, read_folder_defaults


def load_campaign(
    source: str | Path | Mapping[str, Any] | None = None,
    /,
    *,
    recipients: Any = None,
    base: str | Path | None = None,
    defaults: str | Path | None = None,
    **keys: Any,
) -> Campaign:
    """Return the campaign in `source` (a YAML file or a dict) with `keys` laid over it, or one made of `keys` alone.

    `recipients` is a file name, a list of rows, a mapping, a polars or pandas frame, or
    `{"frame": frame, "default_region": "US"}`: a frame with settings. `from` is a Python keyword: write `from_=`.
    `base` is the folder that relative paths start from (default: the campaign file's). `defaults` is a `sender.toml`,
    or the folder with one: its keys count where the campaign and `keys` have none. Raises CampaignError with every
    problem there is.
    """
    path = None if source is None or isinstance(source, Mapping) else Path(source)
    lines = safe_yaml.Document(None, {}) if path is None else _read_document(path)
    data = dict(source) if isinstance(source, Mapping) else {} if path is None else _read_keys(lines, path)
    frame, settings = _split_recipients(recipients)
    overridden = {("from" if key == "from_" else key): value for key, value in keys.items()}
    if settings is not None:
        overridden["recipients"] = settings
    if frame is not None and isinstance(data.get("recipients"), dict):  # the frame replaces the file or rows
        data["recipients"] = {**data["recipients"], "file": None, "rows": None}
    elif frame is not None:
        data["recipients"] = {}
    for key, value in overridden.items():
        data[key] = _merge(key, data.get(key), value)
        lines.given.update([(key, inner) for inner in value] if isinstance(value, Mapping) else [(key,)])
    if defaults is not None:
        data = lay_under(data, _read_defaults(Path(defaults)))
    data.setdefault("name", "campaign")
    campaign = _validate(data, lines, path)
    if frame is None and campaign.recipients.file is None and campaign.recipients.rows is None:
        raise CampaignError(
            "no recipients",
            where=str(path) if path else None,
            fix="set `recipients: people.csv`, or `recipients: {rows: [...]}`",
        )
    folder = Path(base) if base is not None else path.parent if path else Path()
    campaign.set_origin(base=folder, source=path, frame=frame, lines=lines)
    return campaign


def _read_defaults(path: Path) -> FolderDefaults:
    defaults = read_folder_defaults(path if path.is_dir() else path.parent)
    if defaults is None or (not path.is_dir() and path.name != DEFAULTS_FILE):
        raise InputError(
            f"there is no {DEFAULTS_FILE} here", where=str(path), fix=f"name a {DEFAULTS_FILE}, or its folder"
        )
    return defaults


def _split_recipients(recipients: Any) -> tuple[Any, Any]:
    """Return the frame in `recipients`, or None, and what else it says, or None."""
    settings = None
    if isinstance(recipients, Mapping) and "frame" in recipients:
        settings = {name: value for name, value in recipients.items() if name != "frame"}
        recipients = recipients["frame"]
    if recipients is not None and hasattr(type(recipients), "columns"):  # of polars or pandas
        return recipients, settings
    return None, recipients


def _read_keys(document: safe_yaml.Document, path: Path) -> dict[str, Any]:
    """Return the keys of the campaign file; its name is the file's unless it has one."""
    if not isinstance(document.value, dict):
        empty = document.value is None
        raise CampaignError(
            "the file is empty" if empty else "not a campaign: it must be a mapping of keys (`name: ...`)",
            where=str(path),
            fix="`sender init` writes one that runs",
        )
    if problems := tuple(empty_messages(document)):
        raise CampaignError("the campaign is not valid", where=str(path), problems=problems)
    return {"name": path.stem, **document.value}


def _merge(key: str, below: Any, above: Any) -> Any:
    """Return `above` laid over `below`: mappings key by key (a new body replaces a template), `suppress` added up."""
    if key == "suppress" and below is not None:
        return [
            *([below] if isinstance(below, str | Path | Mapping) else below),
            *([above] if isinstance(above, str | Path | Mapping) else above),
        ]
    if not isinstance(above, Mapping) or below is None:
        return above
    below = expand_short_form(key, below)
    if not isinstance(below, Mapping):  # the campaign's fault, which is named with its line
        return below
    replaced = {"body", "template"} if {"body", "template"} & set(above) else set()
    return {**{name: value for name, value in below.items() if name not in replaced}, **above}


def _read_document(path: Path) -> safe_yaml.Document:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise CampaignError(
            "there is no such file", where=str(path), fix="check the name; `sender init` writes an example"
        ) from None
    except UnicodeDecodeError as error:
        raise CampaignError(f"not UTF-8 (byte {error.start})", where=str(path), fix="save the file as UTF-8") from None
    except OSError as error:
        raise CampaignError(f"cannot be read: {error.strerror}", where=str(path)) from None
    try:
        return safe_yaml.load(text)
    except safe_yaml.YamlError as error:
        raise CampaignError("not valid", where=str(path), problems=(error.problem,)) from None


def _validate(data: dict[str, Any], lines: safe_yaml.Document, path: Path | None) -> Campaign:
    try:
        return Campaign.model_validate(data)
    except ValidationError as error:
        problems = explain(error, data, lines, known_keys=CAMPAIGN_KEYS)
    raise CampaignError("the campaign is not valid", where=str(path) if path else None, problems=tuple(problems))
