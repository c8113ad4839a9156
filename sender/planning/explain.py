"""Everything that happened to one row of a plan, step by step, in sentences for a person.

Shows what the plan holds. With the campaign it also reads the recipients again, to show the number's cell and the text
before look-alikes were replaced. Never changes a plan and never sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from sender import segments
from sender.campaign.model import Campaign
from sender.core import clock, money
from sender.core.errors import InputError
from sender.core.experiment import Experiment
from sender.core.outcomes import SkipReason
from sender.phone import countries
from sender.plan import message_fields
from sender.plan.message_fields import SERVICE_FIELDS
from sender.plan.plan import Plan
from sender.planning import costs
from sender.planning.compiled import CompiledCampaign, compile_campaign
from sender.planning.messages import render_body
from sender.planning.row_fields import FIELD_PREFIX
from sender.planning.row_filter import FILTER_KEY
from sender.planning.sending_times import SendingTimes, Times
from sender.planning.used_cells import read_recipients
from sender.planning.whereabouts import CELL_ARGUMENTS
from sender.recipients.columns import Recipients
from sender.recipients.country_columns import read_regions
from sender.rules.explain_place import explain_place
from sender.rules.places import NOT_A_ZONE
from sender.rules.zones import format_time
from sender.segments import advice
from sender.segments.blame import blame

_MOST_ZONES = 4
_MOST_ROWS = 10  # row numbers of one phone number that are listed

# The step at which a row is skipped for each reason. Later steps did not happen.
_STEPS = (
    "filter",
    "number",
    "type",
    "row",
    "suppression",
    "history",
    "duplicates",
    "variant",
    "text",
    "fields",
    "size",
    "sender",
    "zone",
    "group",
    "limit",
)
_SKIPPED_AT = {
    SkipReason.FILTERED_OUT: "filter",
    SkipReason.OPTED_OUT: "suppression",
    SkipReason.UNDER_REVIEW: "suppression",
    SkipReason.ALREADY_SENT: "history",
    SkipReason.FREQUENCY_CAP: "history",
    SkipReason.HIDDEN_ROW: "row",
    SkipReason.DUPLICATE: "duplicates",
    SkipReason.RENDER_ERROR: "text",
    SkipReason.TOO_LONG: "size",
    SkipReason.HOLDOUT: "group",
    SkipReason.OUTSIDE_SHARE: "group",
    SkipReason.LIMIT: "limit",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """One row: its original `cells`, the `steps` as (name, sentence), and the result.

    `seq` is the message's place in the plan. It is None for a skipped row; `reason` and `detail` then say why.
    """

    row_number: int
    cells: Mapping[str, str]
    steps: tuple[tuple[str, str], ...]
    seq: int | None
    reason: str | None
    detail: str | None


def explain_row(plan: Plan, row_number: int, campaign: Campaign | None = None) -> Explanation:
    """Return what happened to the row `row_number`, as the plan counts rows. Raises InputError where there is none.

    `campaign` is the one the plan was built from; without it (a written plan) the steps show only what the plan holds.
    """
    frame = plan.scan().filter(pl.col("row_number") == row_number).collect()
    if frame.is_empty():
        numbers = plan.scan().select(first=pl.col("row_number").min(), last=pl.col("row_number").max()).collect()
        first, last = numbers.row(0)
        raise InputError(
            f"there is no row {row_number}",
            fix=f"rows are numbered {first} to {last}, as in the recipients file; blank ones are not in the plan",
        )
    row = frame.row(0, named=True)
    steps = _RowTrace(plan, row, campaign).steps()
    return Explanation(row_number, row["recipient"] or {}, tuple(steps), row["seq"], row["reason"], row["detail"])


class _RowTrace:
    """Describes one row's steps in the order in which they happen."""

    def __init__(self, plan: Plan, row: Mapping[str, Any], campaign: Campaign | None) -> None:
        self._plan = plan
        self._row = row
        self._compiled: CompiledCampaign | None = None
        self._recipients: Recipients | None = None
        if campaign is not None:
            self._compiled = compile_campaign(campaign)
            self._recipients = read_recipients(campaign, self._compiled)

    def steps(self) -> Iterator[tuple[str, str]]:
        describe: dict[str, Callable[[], str | None]] = {
            "filter": self._describe_filter,
            "number": self._describe_number,
            "type": self._describe_type,
            "suppression": self._describe_suppression,
            "duplicates": self._describe_duplicates,
            "variant": self._describe_variant,
            "text": self._describe_text,
            "fields": self._describe_fields,
            "size": self._describe_size,
            "sender": self._describe_sender,
            "group": self._describe_group,
        }
        end = self._find_end()
        for name in _STEPS:
            shown = name in describe and (name != end or name in ("number", "size"))
            sentence = describe[name]() if shown else None
            if sentence is not None:
                yield name, sentence
            if name == "text" and name != end:
                yield from self._describe_replacements()
            if name == end:
                yield name, f"skipped as {self._row['reason']}: {self._row['detail']}"
                return
        yield from self._describe_times()
        yield from self._describe_cost()
        yield "message", f"number {self._row['seq']} of the plan (seq, from 0)"

    def _find_end(self) -> str | None:
        """Return the step at which the row was skipped; None for a message."""
        if self._row["reason"] is None:
            return None
        reason = SkipReason(self._row["reason"])
        if reason in (SkipReason.RENDER_ERROR, SkipReason.MISSING_DATA) and self._row["detail"].startswith(
            FIELD_PREFIX
        ):
            return "sender" if self._row["detail"].startswith(f"{FIELD_PREFIX}from`") else "fields"
        if reason is SkipReason.MISSING_DATA:  # of a number, of a time zone, of a text, or of a sender
            if self._row["to"] is None:
                return "number"
            if f"` {NOT_A_ZONE}" in self._row["detail"]:
                return "zone"
            return "sender" if self._row["encoding"] or self._row["media"] else "text"
        if reason is SkipReason.INVALID_NUMBER:  # could not be read, or a provider has said so
            return "number" if self._row["to"] is None else "suppression"
        if reason in (SkipReason.SUPPRESSED, SkipReason.LANDLINE):
            numbers = self._plan.manifest.numbers
            types = (*numbers.get("skip_types", ()), *numbers.get("held_types", ()))  # older plans hold no types
            return "type" if self._row["number_type"] in types else "suppression"
        if reason is SkipReason.RENDER_ERROR and self._row["detail"].startswith(f"`{FILTER_KEY}`"):
            return "filter"
        return _SKIPPED_AT[reason]

    def _describe_filter(self) -> str | None:
        condition = self._plan.manifest.numbers.get("where")
        return None if condition is None else f"`{FILTER_KEY}` is true: {condition}"

    def _describe_number(self) -> str:
        row, recipients, compiled = self._row, self._recipients, self._compiled
        asked = ""
        if recipients is not None and compiled is not None:
            own = self._read_own_country(recipients)
            region = compiled.numbers.default_region
            country = f"default region {region}" if region else "no region given"
            if own:
                code = " or ".join(countries.regions_of(own))
                country = f"the row's own region {own}{f' ({code})' if code not in (own, '') else ''}"
            cells = [f"`{row['recipient'][header]}` in column `{header}`" for header in recipients.phones]
            asked = f"{', '.join(cells)}, {country}"
        if row["to"] is None:
            return asked or "not read as a number"
        repair = row.get("repair")  # plans of older versions do not have the column
        values = (repair, row["to"], row["region"], row["number_type"])
        read = ", ".join(str(value) for value in values if value)
        return f"{asked}: {read}" if asked else read

    def _read_own_country(self, recipients: Recipients) -> str:
        """Return what the row's columns say of its country; blank where they say nothing."""
        cells = [pl.Series([self._row["recipient"][header]]) for header in recipients.countries.headers]
        regions = read_regions(recipients.countries, cells)
        return "" if regions is None else str(regions.item())

    def _describe_type(self) -> str | None:
        types: Sequence[str] = self._plan.manifest.numbers.get("skip_types", ())
        return f"{self._row['number_type']} is not one of the types left out: {', '.join(types)}" if types else None

    def _describe_suppression(self) -> str:
        files = [file.path for file in self._plan.manifest.inputs if file.role == "suppress"]
        sentences = [f"not in {', '.join(files)}"] if files else []
        if self._plan.manifest.suppression is not None:
            sentences.append("not on the suppression list")
        return "; ".join(sentences) or "there is no suppression list"

    def _describe_duplicates(self) -> str:
        same = self._plan.scan().filter(pl.col("to") == self._row["to"]).select("row_number", "reason").collect()
        if same.height < 2:
            return "no other row has this number"
        rows = ", ".join(
            f"{number} ({reason})" if reason else str(number) for number, reason in same.head(_MOST_ROWS).iter_rows()
        )
        more = f" and {same.height - _MOST_ROWS} more" if same.height > _MOST_ROWS else ""
        kept = ", and this one is kept" if self._row["reason"] is None else ""
        return f"rows {rows}{more} have this number{kept}"

    def _describe_variant(self) -> str | None:
        experiment, name = Experiment.from_manifest(self._plan.manifest.experiment), self._row.get("variant")
        if experiment is None or name is None:
            return None
        if experiment.only is not None:
            return f"`{name}`, which everybody gets in this run"
        return f"`{name}`, which this number always gets in experiment {experiment.key}"

    def _describe_group(self) -> str | None:
        experiment = Experiment.from_manifest(self._plan.manifest.experiment)
        if experiment is None:
            return None
        said = ["not held out"] if experiment.holdout else []
        said += [f"in the {100 * experiment.share:g}% who get a message now"] if experiment.share < 1 else []
        return " and ".join(said) or None

    def _describe_text(self) -> str:
        text = self._render_again()
        if text is None:
            text = self._row["body"]
        media = "".join(f"; media {url}" for url in self._row["media"] or ())
        return (f"{text!r}" if text else "none") + media

    def _render_again(self) -> str | None:
        """Return the row's text before look-alikes were replaced; None without the campaign, and with links."""
        if self._recipients is None or self._compiled is None or self._plan.manifest.links is not None:
            return None
        recipients = self._recipients.row(self._row["row_number"])
        variants = (variant for variant in self._compiled.variants if variant.name == self._row.get("variant"))
        compiled = next(map(self._compiled.of_variant, variants), self._compiled)
        text: str | None = render_body(compiled, recipients, recipients.cells)["text"].item()
        return text

    def _describe_replacements(self) -> Iterator[tuple[str, str]]:
        text = self._render_again()
        if text is None or self._compiled is None or not self._compiled.smart_encoding:
            return
        _, replaced = segments.smart_encode(pl.Series([text]))
        swaps = ", ".join(f"{look!r} by {plain!r}" for look, plain, _ in replaced.iter_rows())
        yield "replaced", swaps or "nothing"

    def _describe_times(self) -> Iterator[tuple[str, str]]:
        times = SendingTimes(self._plan.manifest.window)
        if not times:
            return
        row, now_ms = self._row, clock.time_of_day_ms()
        for sentence in self._describe_place(times, now_ms):
            yield "zone", sentence
        yield "window", _describe_window(times.of(row["zone"], row["places"], now_ms), row["zone"], now_ms)
        zones = (row["zone"] or "").split("|")
        for zone in zones if 1 < len(zones) <= _MOST_ZONES + 1 else ():
            yield "window", f"in {zone} alone: {_describe_window(times.of(zone, row['places'], now_ms), zone, now_ms)}"

    def _describe_place(self, times: SendingTimes, now_ms: int) -> Iterator[str]:
        row = self._row
        evidence = explain_place(row["to"], row["region"], **self._read_place_cells()).evidence
        used = next((f" {piece.value}" for piece in evidence if piece.source == row["zone_source"]), "")
        places = " and ".join((row["places"] or "no known country").split("|"))
        yield f"{_list_zones(row['zone'])}, by its {_source_name(row['zone_source'])}{used}; in {places}"
        for piece in evidence:
            if piece.source == row["zone_source"]:
                continue
            said = f"its {_source_name(piece.source)} {piece.value}"
            if piece.problem is not None:
                yield f"{said} gives nothing: {piece.problem}"
            else:
                zones = "|".join(piece.zones)
                alone = _describe_window(times.of(zones, row["places"], now_ms), zones, now_ms)
                yield f"{said} alone gives {_list_zones(zones)}: {alone}"

    def _read_place_cells(self) -> dict[str, str]:
        """The row's cells that say where it is, by argument of `explain_place`; none without the campaign."""
        columns = {} if self._recipients is None else self._recipients.places
        return {CELL_ARGUMENTS[kind]: self._row["recipient"][header] for kind, header in columns.items()}

    def _describe_fields(self) -> str | None:
        if not self._row["fields"]:
            return None
        return "; ".join(f"{key}: {value}" for key, value in message_fields.parse_fields(self._row["fields"]).items())

    def _describe_size(self) -> str:
        row = self._row
        if self._is_mms():
            return "an MMS, counted as one segment"
        if row["encoding"] is None:
            return "the provider writes the text"
        size = segments.measure(pl.Series([row["body"]], dtype=pl.String))
        used, parts = size["units"].item(), size["segments"].item()
        sentence = f"{row['encoding']}, {used} units, {parts} segment{'' if parts == 1 else 's'}"
        blamed = blame(size.with_columns(body=pl.Series([row["body"]])))
        causes = [advice.sentence(entry) for entry in blamed["characters"]]
        return "; ".join([sentence, *causes, *advice.describe_scripts(blamed)])

    def _describe_sender(self) -> str:
        sender = self._row["from_number"]
        pool = self._plan.manifest.senders
        if sender is None:
            own = message_fields.merge_fields(self._plan.manifest.fields, self._row["fields"])
            return f"picked by {next(own[key] for key in SERVICE_FIELDS if key in own)}"
        if len(pool) > 1 and sender in (self._plan.manifest.pool or {}).get("weights", ()):
            near = self._describe_nearness(sender)
            return f"{sender}, out of a pool of {len(pool)}: this number always gets the same{near}"
        return f"{sender}" if pool else f"{sender}, the row's own"

    def _describe_nearness(self, sender: str) -> str:
        """Say why the pool preferred `sender`, where it matches numbers to recipients."""
        pool = self._plan.manifest.sender_pool()
        return "" if pool is None else pool.describe_nearness(self._row["to"], sender)

    def _describe_cost(self) -> Iterator[tuple[str, str]]:
        row, spent = self._row, self._plan.manifest.cost
        if spent is None:
            return
        if row["cost_micros"] is None:
            yield "cost", f"no price in {spent['table']}"
            return
        sentence = f"{money.text(row['cost_micros'])} {spent['currency']}"
        if self._plan.manifest.routes:
            sentence += ", by the most expensive of its routes"
        elif self._compiled is not None and self._compiled.prices is not None:
            price = costs.find_price(row, self._compiled.prices, mms=self._is_mms())
            if price is not None:
                fee = f" and {money.text(price.fee)} fee" if price.fee else ""
                sentence += f": {money.text(price.price)}{fee} for {price.entry}, times {row['segments']}"
        yield "cost", sentence

    def _is_mms(self) -> bool:
        row = pl.DataFrame([self._row], schema_overrides={"media": pl.List(pl.String), "fields": pl.String})
        return bool(row.select(mms=message_fields.is_mms(self._plan.manifest.fields)).item())


def _source_name(source: str) -> str:
    return {"timezone": "time zone", "zip": "ZIP", "region": "country"}.get(source, source.replace("_", " "))


def _list_zones(zones: str | None) -> str:
    """Return the zones of a plan's column as words."""
    names = zones.split("|") if zones else ["not known"]
    more = f" or {len(names) - _MOST_ZONES} others" if len(names) > _MOST_ZONES + 1 else ""
    return " or ".join(names[:_MOST_ZONES] if more else names) + more


def _describe_window(times: Times, zone: str | None, now_ms: int) -> str:
    """Return when a message may leave: `now, until Mon 2026-11-30 20:00 EST`."""
    if not times.intervals:
        return "it may not leave any more"
    clock = (zone or "Etc/UTC").split("|")[0]
    spans = [f"{format_time(start, clock)} to {format_time(end, clock)}" for start, end in times.intervals[:3]]
    by = f", held by {', '.join(times.rules)}" if times.rules else ""
    when = "now; open " if times.intervals[0][0] <= now_ms else "later; open "
    return f"{when}{' and '.join(spans)}{by}"
