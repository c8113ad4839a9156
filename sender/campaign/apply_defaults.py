"""Lays a folder's defaults (`sender.toml`) under a campaign: what the campaign says stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from sender.campaign import safe_yaml
from sender.campaign.approval_spec import SIGNERS_FILE, ApprovalSpec, expand_approval, join_approvals
from sender.campaign.campaign_keys import CAMPAIGN_KEYS
from sender.campaign.model import Campaign
from sender.campaign.validation import explain
from sender.campaign.values import expand_short_form, is_none
from sender.core.errors import CampaignError
from sender.core.folder_defaults import MESSAGE_KEYS, RECIPIENT_KEYS, SHORT_FORMS, FolderDefaults

_OWN = ("state", "results")  # keys that are not a campaign's
_COMPLETED = ("recipients", "message", "limits", "window", "canary", "sandbox", "listen")


def lay_under(data: dict[str, Any], defaults: FolderDefaults) -> dict[str, Any]:
    """Return the campaign keys in `data` with those of `defaults` that they lack.

    `limits`, `window`, `canary`, `sandbox` and `listen` are completed key by key, and suppression files add up: nobody
    drops out of the folder's list because a campaign has one of its own. A campaign cannot ask for less `approval` than
    its folder. Raises CampaignError, with its line, for a
    value that no campaign may have.
    """
    keys = _campaign_keys(defaults)
    _check_values(keys, defaults)
    joined = {**keys, **{key: value for key, value in data.items() if value is not None or key not in keys}}
    for key in _COMPLETED:
        if key in keys and not is_none(data.get(key)):
            own = expand_short_form(key, data[key])
            joined[key] = {**keys[key], **own} if isinstance(own, Mapping) else own
    if "suppress" in keys and data.get("suppress") is not None:
        own = data["suppress"]
        joined["suppress"] = [*keys["suppress"], *(own if isinstance(own, list | tuple) else [own])]
    if "approval" in keys and data.get("approval") is not None:
        try:
            joined["approval"] = join_approvals(keys["approval"], data["approval"])
        except ValueError as error:
            raise CampaignError(f"{error} ({defaults.file})", where="key `approval`") from None
    _add_opt_out_words(joined, keys.get("listen"), data.get("listen"))
    return joined


def _add_opt_out_words(joined: dict[str, Any], folder: Any, own: Any) -> None:
    """Add up the opt-out words of both `listen`: no STOP is missed because a campaign has words of its own."""
    here, theirs = (one.get("opt_out_words") if isinstance(one, Mapping) else None for one in (folder, own))
    if isinstance(here, list) and isinstance(theirs, list | tuple):
        joined["listen"] = {**joined["listen"], "opt_out_words": [*here, *theirs]}


def _campaign_keys(defaults: FolderDefaults) -> dict[str, Any]:
    """Return the defaults as campaign keys, their paths made absolute."""
    moved = (*RECIPIENT_KEYS, *MESSAGE_KEYS)
    keys = {key: value for key, value in defaults.keys.items() if key not in (*_OWN, *moved)}
    for section, names in (("recipients", RECIPIENT_KEYS), ("message", MESSAGE_KEYS)):
        if own := {name: defaults.keys[name] for name in names if name in defaults.keys}:
            keys[section] = own
    for key in SHORT_FORMS:
        if is_none(keys.get(key)):
            keys.pop(key, None)
        else:
            keys[key] = expand_approval(keys[key]) if key == "approval" else expand_short_form(key, keys[key])
    if "suppress" in keys:
        files = keys["suppress"] if isinstance(keys["suppress"], list) else [keys["suppress"]]
        keys["suppress"] = [str(defaults.path(str(file)).absolute()) for file in files]
    if isinstance(approval := keys.get("approval"), Mapping):
        who = {"signers": SIGNERS_FILE, **approval}
        named = {name: who[name] for name in ("signers", "revoked") if who.get(name) is not None}
        keys["approval"] = {
            **approval,
            **{name: str(defaults.path(str(file)).absolute()) for name, file in named.items()},
        }
    if "prices" in keys:
        keys["prices"] = str(defaults.path(keys["prices"]).absolute())
    return keys


def read_folder_approval(defaults: FolderDefaults) -> dict[str, Any] | None:
    """Return the folder's `approval` as a plan's manifest keeps one; None without one. Raises CampaignError."""
    keys = {"approval": own} if (own := _campaign_keys(defaults).get("approval")) is not None else {}
    _check_values(keys, defaults)
    if not keys:
        return None
    spec = ApprovalSpec.model_validate(keys["approval"])
    revoked = None if spec.revoked is None else str(spec.revoked)
    return {"approvals": spec.approvals, "signers": str(spec.signers), "revoked": revoked}


def _check_values(keys: Mapping[str, Any], defaults: FolderDefaults) -> None:
    recipients = {"file": "people.csv", **keys.get("recipients", {})}
    data = {"name": "campaign", "provider": "sandbox", **keys, "recipients": recipients}
    lines: dict[safe_yaml.KeyPath, int] = {tuple(key.split(".")): line for key, line in defaults.lines.items()}
    lines.update({("recipients", key): lines[key,] for key in RECIPIENT_KEYS if (key,) in lines})
    lines.update({("message", key): lines[key,] for key in MESSAGE_KEYS if (key,) in lines})
    try:
        Campaign.model_validate(data)
    except ValidationError as error:
        problems = explain(error, data, safe_yaml.Document(None, lines), known_keys=CAMPAIGN_KEYS, file="file")
        as_written = tuple(replace(problem, key=_without_section(problem.key)) for problem in problems)
        raise CampaignError("not valid", where=str(defaults.file), problems=as_written) from None


def _without_section(key: str | None) -> str | None:
    """Return a campaign's key as the file has it: `max_segments` for `message.max_segments`."""
    section, _, name = (key or "").partition(".")
    return name if section in ("recipients", "message") and name else key
