"""How the phone numbers of a campaign are read, and which rows and numbers get a message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from sender import templating
from sender.campaign.model import Campaign
from sender.campaign.suppress_spec import SuppressSpec
from sender.phone import HELD_TYPES
from sender.planning.row_filter import FILTER_KEY
from sender.providers.base import Capabilities
from sender.suppression.number_files import NumberFile
from sender.suppression.number_list import ListRules
from sender.templating import RowCondition


@dataclass(frozen=True, slots=True)
class NumberRules:
    """How phone numbers are read, and which of them get a message."""

    default_region: str | None
    caution: bool
    skip_types: tuple[str, ...]
    allow_types: tuple[str, ...]
    dedupe: Literal["first", "last", "none"]
    hidden_rows: Literal["skip", "keep"] | None
    suppress: tuple[NumberFile, ...]
    where: RowCondition | None

    def to_manifest(self) -> dict[str, Any]:
        """What the manifest keeps of it; `where` only where rows are filtered."""
        decided = {} if self.hidden_rows is None else {"hidden_rows": self.hidden_rows}
        where = {} if self.where is None else {"where": self.where.source}
        return {
            "caution": self.caution,
            "skip_types": list(self.skip_types),
            "held_types": [kind for kind in HELD_TYPES if kind not in self.allow_types],
            **decided,
            **where,
        }


def compile_number_rules(campaign: Campaign, capabilities: Capabilities) -> NumberRules:
    """Return the rules of a campaign. Raises TemplateError for a `where` that is not valid."""
    spec = campaign.recipients
    return NumberRules(
        default_region=spec.default_region,
        caution=spec.caution,
        skip_types=spec.skip_types,
        allow_types=spec.allow_types,
        dedupe=campaign.dedupe,
        hidden_rows=spec.hidden_rows,
        suppress=tuple(_number_file(campaign, entry, capabilities) for entry in campaign.suppress),
        where=None if spec.where is None else _compile_where(spec.where, spec.placeholders),
    )


def _compile_where(source: str, placeholders: tuple[str, ...]) -> RowCondition:
    return templating.compile_condition(source, where=FILTER_KEY, placeholders=placeholders)


def _number_file(campaign: Campaign, entry: SuppressSpec, capabilities: Capabilities) -> NumberFile:
    regions = dict.fromkeys((campaign.recipients.default_region, entry.default_region))
    rules = ListRules(
        regions=tuple(region for region in regions if region is not None),
        passthrough=capabilities.passthrough,
        short_codes=capabilities.short_code_recipients,
        columns=entry.columns,
        unreadable=entry.unreadable,
    )
    return NumberFile(entry.file.as_posix(), campaign.path(entry.file), rules)
