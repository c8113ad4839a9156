"""`sender rules`: the shipped rules of when and how often texts may be sent, with their sources and dates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, date, datetime
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from sender.cli import console
from sender.cli.invocation import debug_option
from sender.core.clock import wall_clock_ms
from sender.rules.rule_sets import DEFAULT_SET, SET_NAMES, STRICT_SET, Rule, RuleKind, list_rules, load_rule_sets

NO_ADVICE = "This is not legal advice: ask a lawyer who knows your business what applies to you."
_COMPUTED = frozenset({"hours", "holidays", "cap"})  # `value` says what they say


@click.command(
    help="List the shipped rules about when and how often texts may be sent, with source, date and confidence.\n\n"
    "PLACE is the code of a country or of a part of one: US, US-FL, FR. Without it, the rules of the default set."
)
@click.argument("place", required=False)
@click.option(
    "--set",
    "rule_set",
    type=click.Choice([*SET_NAMES, "us-federal"]),
    help=f"The set: {DEFAULT_SET} (the default, also called us-federal), or {STRICT_SET}, which has more.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@debug_option()
def rules(place: str | None, rule_set: str | None, as_json: bool, debug: bool) -> int:
    console.set_up_logs(debug=debug)
    place = place.upper() if place else None
    name = rule_set or (STRICT_SET if place else DEFAULT_SET)
    found = list_rules(place, rule_set=name)
    today = datetime.fromtimestamp(wall_clock_ms()() / 1000, UTC).date()
    version = load_rule_sets([name]).version
    if as_json:
        old = [rule.id for rule in found if rule.is_old(today)]
        shown = [{"in_force": rule.counts_on(today), **_to_dict(rule)} for rule in found]
        console.print_json({"version": version, "rules": shown, "old": old, "note": NO_ADVICE})
        return 0
    if place:
        _print_rules(found, place, today)
    else:
        console.out.print(_table(found, today))
    _print_notes(found, version, name, place, today)
    return 0


def _table(rules: Sequence[Rule], today: date) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for header in ("rule", "where", "what", "in force", "as of", "confidence", "source"):
        table.add_column(header, overflow="fold")
    for rule in rules:
        what = "a duty of yours" if rule.kind is RuleKind.NOTICE else _what(rule)
        cells = (rule.id, rule.jurisdiction, what, _in_force(rule), _as_of(rule, today), rule.confidence, rule.citation)
        table.add_row(*map(escape, cells))
    return table


def _print_rules(rules: Sequence[Rule], place: str, today: date) -> None:
    if not rules:
        console.out.print(f"no rule is known for {escape(place)}: only your own window counts there")
    for rule in rules:
        scope = "texts" if rule.scope == "texts" else "written for calls"
        about = f"{rule.jurisdiction}, {scope}; set {rule.set_name}"
        console.out.print(f"[bold]{rule.id}[/]: {escape(_what(rule))} [dim]({about})[/]")
        dates = f"in force {_in_force(rule)}, as of {_as_of(rule, today)}, confidence: {rule.confidence}"
        lines = [f"{rule.citation}: {rule.url}", dates]
        if rule.quote:
            lines.insert(0, f'"{rule.quote}"')
        if rule.read:
            lines.append(f"read in {rule.read}")
        if rule.exception:
            lines.append(rule.exception)
        for line in lines:
            console.out.print(f"  {escape(line)}")


def _print_notes(rules: Sequence[Rule], version: str, name: str, place: str | None, today: date) -> None:
    old = [rule.id for rule in rules if rule.is_old(today)]
    if old:
        verb = "was" if len(old) == 1 else "were"
        line = f"{', '.join(old)} {verb} last looked up more than twelve months ago: check the source, or upgrade"
        console.out.print(f"[yellow]warning:[/] {escape(line)}")
    if name == DEFAULT_SET and not place:
        more = len(list_rules(rule_set=STRICT_SET)) - len(list_rules(rule_set=DEFAULT_SET))
        line = f"{console.many(more, 'more rule')} for other places in the set `strict`: sender rules --set strict"
        console.out.print(f"[dim]{escape(line)}[/]")
    console.out.print(f"{version}. {NO_ADVICE}")


def _what(rule: Rule) -> str:
    if rule.kind is RuleKind.CAP:
        return f"at most {rule.value}"
    return f"not on holidays: {rule.value}" if rule.kind is RuleKind.HOLIDAY else rule.value


def _in_force(rule: Rule) -> str:
    if rule.effective_from and rule.effective_to:
        return f"{rule.effective_from} to {rule.effective_to}"
    if rule.effective_to:
        return f"to {rule.effective_to}"
    return f"from {rule.effective_from}" if rule.effective_from else "always"


def _as_of(rule: Rule, today: date) -> str:
    return f"{rule.as_of} (old)" if rule.is_old(today) else str(rule.as_of)


def _to_dict(rule: Rule) -> dict[str, Any]:
    values = {field.name: getattr(rule, field.name) for field in fields(rule) if field.name not in _COMPUTED}
    values = {"set" if name == "set_name" else name: value for name, value in values.items()}
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in values.items()}
