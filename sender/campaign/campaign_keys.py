"""The keys of a campaign, place by place, and those that people write instead."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from sender.campaign import safe_yaml
from sender.campaign.approval_spec import ApprovalSpec
from sender.campaign.canary_spec import CanarySpec, StopIfSpec
from sender.campaign.experiment_spec import ExperimentSpec, VariantSpec
from sender.campaign.links_spec import LinksSpec
from sender.campaign.model import (
    Campaign,
    LimitsSpec,
    ListenSpec,
    MessageSpec,
    RecipientsSpec,
    SandboxSpec,
    ScheduleSpec,
    SuppressSpec,
)
from sender.campaign.route_spec import RouteSpec
from sender.campaign.values import FromSpec, PoolNumber
from sender.campaign.window import WindowSpec
from sender.core.near_names import find_near_keys

_PLACES: Mapping[str, type[BaseModel]] = {
    "": Campaign,
    "routes": RouteSpec,
    "recipients": RecipientsSpec,
    "message": MessageSpec,
    "message.variants": VariantSpec,
    "experiment": ExperimentSpec,
    "from": FromSpec,
    "from.numbers": PoolNumber,
    "suppress": SuppressSpec,
    "limits": LimitsSpec,
    "links": LinksSpec,
    "window": WindowSpec,
    "approval": ApprovalSpec,
    "canary": CanarySpec,
    "canary.stop_if": StopIfSpec,
    "schedule": ScheduleSpec,
    "listen": ListenSpec,
    "sandbox": SandboxSpec,
}
_VARIANTS = "message.variants"  # whose keys are those of the message, or the campaign's
# Words of other programs, and of people, for what is a key of another name here.
_MEANT: Mapping[str, str] = {
    "abtest": "message.variants",
    "blacklist": "suppress",
    "blocklist": "suppress",
    "callback": "status_callback",
    "callbackurl": "status_callback",
    "column": "recipients.phone_column",
    "contacts": "recipients",
    "controlgroup": "holdout",
    "content": "message",
    "country": "recipients.default_region",
    "csv": "recipients",
    "deadline": "window.deadline",
    "defaultcountry": "recipients.default_region",
    "delay": "rate",
    "donottext": "suppress",
    "dnc": "suppress",
    "exclude": "suppress",
    "hours": "window.hours",
    "interval": "rate",
    "list": "recipients",
    "mediaurl": "message.media",
    "mediaurls": "message.media",
    "numbers": "from",
    "optouts": "suppress",
    "people": "recipients",
    "phone": "recipients.phone_column",
    "quiethours": "window",
    "scheduledat": "send_at",
    "sender": "from",
    "sendtime": "start",
    "service": "from",
    "skip": "suppress",
    "speed": "rate",
    "split": "message.variants",
    "startat": "start",
    "stop": "suppress",
    "text": "message",
    "throttle": "rate",
    "time": "start",
    "timeout": "timeout_s",
    "timezone": "window.zone",
    "to": "recipients",
    "unsubscribed": "suppress",
    "validity": "validity_period",
    "webhook": "status_callback",
    "webhookurl": "status_callback",
    "when": "start",
}


class CampaignKeys:
    """The keys of a campaign file, as `sender.campaign.validation` asks for them."""

    def here(self, parents: safe_yaml.KeyPath) -> list[str]:
        """Return the keys allowed below a path; those of the campaign itself where nothing is known of it."""
        return _keys_of(_PLACES.get(_place(parents), Campaign))

    def near(self, path: safe_yaml.KeyPath) -> list[str]:
        """Return the keys that the unknown one at `path` may stand for; those of another place with its name."""
        place = _place(path[:-1])
        elsewhere = {name: _keys_of(model) for name, model in _PLACES.items() if name not in (place, _VARIANTS)}
        return find_near_keys(str(path[-1]), self.here(path[:-1]), elsewhere, _MEANT)


def _place(parents: safe_yaml.KeyPath) -> str:
    """Return the name of a place in _PLACES: without the places in a list, and with the short form of `from`."""
    names = [str(part) for part in parents if not isinstance(part, int)]
    is_pool = names == ["from"] and len(parents) > 1
    return "from.numbers" if is_pool else ".".join(names)


def _keys_of(model: type[BaseModel]) -> list[str]:
    return [info.alias or name for name, info in model.model_fields.items()]


CAMPAIGN_KEYS = CampaignKeys()
