"""Exports the campaign model: JSON Schema for editors, and the reference table of `docs/campaign.md`."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel

from sender.campaign.approval_spec import ApprovalSpec
from sender.campaign.canary_spec import CanarySpec, StopIfSpec
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
from sender.campaign.values import TEMPLATE_PATTERN, FromSpec, PoolNumber, ProviderFields

ROUTE_FIELDS = {name: RouteSpec.model_fields[name] for name in ("provider", "from_", "prices", "rate")}
COMMENT = "written by `sender schema`"  # by which a file is known as one that may be written again
_SENDER_FORMS = {"anyOf": [{"type": ["string", "integer"]}, {"$ref": "#/$defs/PoolNumber"}]}


def json_schema() -> dict[str, Any]:
    """Return the campaign file's JSON Schema (draft 2020-12), for editors and validators."""
    schema = Campaign.model_json_schema(by_alias=True)
    short: dict[str, list[dict[str, Any]]] = {
        "recipients": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}],
        "message": [{"type": "string"}],
        "from": [{"type": ["string", "integer"]}, {"type": "array", "items": _SENDER_FORMS}],
        "suppress": [{"type": "string"}, {"$ref": "#/$defs/SuppressSpec"}],
        "approval": [{"enum": ["required", "none"]}],
        "canary": [{"type": "integer", "minimum": 1}, {"const": "none"}],
    }
    for key, forms in short.items():
        long_form = schema["properties"][key]
        outer = {name: long_form.pop(name) for name in ("description", "default", "title") if name in long_form}
        schema["properties"][key] = {"anyOf": [*forms, long_form], **outer}
    schema["$defs"]["FromSpec"]["properties"]["numbers"]["items"] = _SENDER_FORMS
    routes, route = schema["properties"]["routes"], schema["$defs"]["RouteSpec"]["properties"]
    routes["items"] = {"anyOf": [{"enum": route["provider"]["enum"]}, routes["items"]]}
    route["from"]["anyOf"] += short["from"]
    entries = next(form for form in schema["properties"]["suppress"]["anyOf"] if form.get("type") == "array")
    entries["items"] = {"anyOf": [{"type": "string"}, entries["items"]]}
    single_or_list = (
        ("MessageSpec", "media"),
        ("RecipientsSpec", "phone_column"),
        ("RecipientsSpec", "skip_types"),
        ("RecipientsSpec", "allow_types"),
        ("SuppressSpec", "columns"),
    )
    for model, key in single_or_list:
        listing = schema["$defs"][model]["properties"][key]
        schema["$defs"][model]["properties"][key] = {
            "anyOf": [{"type": "string"}, {name: listing[name] for name in ("type", "items") if name in listing}],
            "description": listing["description"],
        }
    schema["required"] = [key for key in schema.get("required", []) if key not in ("name", "provider")]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": COMMENT,
        **json.loads(json.dumps(schema)),
    }


def reference() -> str:
    """Return every key of the campaign file in Markdown tables: key, what it takes, default, meaning."""
    own = {name: info for name, info in Campaign.model_fields.items() if name not in ProviderFields.model_fields}
    properties = Campaign.model_json_schema(by_alias=True)
    definitions = properties["$defs"]
    sections: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("The campaign", own, properties["properties"]),
        ("`from:`", FromSpec.model_fields, definitions["FromSpec"]["properties"]),
        ("`from.numbers:`", PoolNumber.model_fields, definitions["PoolNumber"]["properties"]),
        ("`routes:`", ROUTE_FIELDS, definitions["RouteSpec"]["properties"]),
        ("`recipients:`", RecipientsSpec.model_fields, definitions["RecipientsSpec"]["properties"]),
        ("`suppress:`", SuppressSpec.model_fields, definitions["SuppressSpec"]["properties"]),
        ("`message:`", MessageSpec.model_fields, definitions["MessageSpec"]["properties"]),
        ("`limits:`", LimitsSpec.model_fields, definitions["LimitsSpec"]["properties"]),
        ("`approval:`", ApprovalSpec.model_fields, definitions["ApprovalSpec"]["properties"]),
        ("`links:`", LinksSpec.model_fields, definitions["LinksSpec"]["properties"]),
        ("`canary:`", CanarySpec.model_fields, definitions["CanarySpec"]["properties"]),
        ("`canary.stop_if:`", StopIfSpec.model_fields, definitions["StopIfSpec"]["properties"]),
        ("`schedule:`", ScheduleSpec.model_fields, definitions["ScheduleSpec"]["properties"]),
        ("Only some providers", ProviderFields.model_fields, properties["properties"]),
        ("`listen:`", ListenSpec.model_fields, definitions["ListenSpec"]["properties"]),
        ("`sandbox:`", SandboxSpec.model_fields, definitions["SandboxSpec"]["properties"]),
    ]
    lines: list[str] = []
    for title, fields, types in sections:
        lines += [f"## {title}", "", "| key | takes | default | meaning |", "| --- | --- | --- | --- |"]
        for name, info in fields.items():
            key = info.alias or name
            meaning = (info.description or "").replace("|", "\\|")
            lines.append(f"| `{key}` | {_describe_type(types[key])} | {_describe_default(info)} | {meaning} |")
        lines.append("")
    return "\n".join(lines)


def _describe_type(schema: dict[str, Any]) -> str:
    if schema.get("pattern") == TEMPLATE_PATTERN:
        return "template"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "$ref" in schema:
        return "mapping" if not schema["$ref"].endswith("Dialect") else "provider"
    if "anyOf" in schema:
        return " or ".join(
            dict.fromkeys(_describe_type(form) for form in schema["anyOf"] if form.get("type") != "null")
        )
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(_TYPE_NAMES[str(name)] for name in kind)
    if kind == "array":
        return f"list of {_describe_type(schema.get('items', {}))}"
    if schema.get("format") == "path":
        return "file"
    return _TYPE_NAMES.get(str(kind), "value")


_TYPE_NAMES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "mapping",
}


def _describe_default(info: Any) -> str:
    if info is Campaign.model_fields["name"]:
        return "the file's name"
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value in (None, (), {}) or isinstance(value, BaseModel):
        return ""
    text = getattr(value, "text", value)  # a rate has the text it was written as
    return f"`{str(text).lower() if isinstance(text, bool) else text}`"
