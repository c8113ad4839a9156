"""Everything that happened to one row of a plan, step by step, in sentences for a person.

Tells what the plan holds; with the campaign at hand it also reads the recipients again, to tell what stood in the
number's cell and what the template made before look-alikes were replaced. Never changes a plan and never sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from sender import segments
from sender.campaign import prices
from sender.campaign.model import Campaign
from sender.core import money
from sender.core.errors import InputError
from sender.core.outcomes import SkipReason
from sender.phone import countries
from sender.plan import message_fields
from sender.plan.message_fields import SERVICE_FIELDS
from sender.plan.plan import Plan
from sender.planning import costs, row_fields
from sender.planning.build import make_offer
from sender.planning.compiled import CompiledCampaign, text_column
from sender.recipients import columns
from sender.segments import blame

_MOST_ROWS = 10  # of one number, named

# At which step a row goes out. What comes after did not happen.
_STEPS = ("number", "type", "suppression", "duplicates", "text", "fields", "size", "sender", "limit")
_OUT_AT = {
    SkipReason.OPTED_OUT: "suppression",
    SkipReason.DUPLICATE: "duplicates",
    SkipReason.RENDER_ERROR: "text",
    SkipReason.TOO_LONG: "size",
    SkipReason.LIMIT: "limit",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """One row: its original `cells`, the `steps` as (name, sentence), and what came of it.

    `seq` is the message's place in the plan, or None; then `reason` and `detail` say why there is none.
    """

    row_number: int
    cells: Mapping[str, str]
    steps: tuple[tuple[str, str], ...]
    seq: int | None
    reason: str | None
    detail: str | None


def explain_row(plan: Plan, row_number: int, campaign: Campaign | None = None) -> Explanation:
    """What happened to the row of that number (as the plan counts rows). Raises InputError where there is none.

    `campaign` is the one the plan was built from; without it (a written plan) the steps tell what the plan holds.
    """
    found = plan.scan().filter(pl.col("row_number") == row_number).collect()
    if found.is_empty():
        numbers = plan.scan().select(first=pl.col("row_number").min(), last=pl.col("row_number").max()).collect()
        first, last = numbers.row(0)
        raise InputError(
            f"there is no row {row_number}",
            fix=f"rows are numbered {first} to {last}, as in the recipients file; blank ones are not in the plan",
        )
    row = found.row(0, named=True)
    steps = _RowTrace(plan, row, campaign).steps()
    return Explanation(row_number, row["recipient"] or {}, tuple(steps), row["seq"], row["reason"], row["detail"])


class _RowTrace:
    """Tells one row's steps in the order in which they happen."""

    def __init__(self, plan: Plan, row: Mapping[str, Any], campaign: Campaign | None) -> None:
        self._plan = plan
        self._row = row
        self._campaign = campaign
        self._offer: CompiledCampaign | None = None
        self._people: columns.Recipients | None = None
        if campaign is not None:
            self._offer, _ = make_offer(campaign)
            self._people = columns.load(campaign)

    def steps(self) -> Iterator[tuple[str, str]]:
        tellers: dict[str, Callable[[], str | None]] = {
            "number": self._number,
            "type": self._type,
            "suppression": self._suppression,
            "duplicates": self._duplicates,
            "text": self._text,
            "fields": self._fields,
            "size": self._size,
            "sender": self._sender,
        }
        end = self._end()
        for name in _STEPS:
            told = tellers[name]() if name in tellers and (name != end or name in ("number", "size")) else None
            if told is not None:
                yield name, told
            if name == "text" and name != end:
                yield from self._replaced()
            if name == end:
                yield name, f"skipped as {self._row['reason']}: {self._row['detail']}"
                return
        yield from self._cost()
        yield "message", f"number {self._row['seq']} of the plan (seq, from 0)"

    def _end(self) -> str | None:
        """The step at which the row went out; None for a message."""
        if self._row["reason"] is None:
            return None
        reason = SkipReason(self._row["reason"])
        if reason is SkipReason.MISSING_DATA:  # of a number, of a text, or of a sender
            if self._row["to"] is None:
                return "number"
            return "sender" if self._row["encoding"] or self._row["media"] else "text"
        if reason is SkipReason.INVALID_NUMBER:  # could not be read, or a provider has said so
            return "number" if self._row["to"] is None else "suppression"
        if reason in (SkipReason.SUPPRESSED, SkipReason.LANDLINE):
            return "type" if self._row["number_type"] in self._skipped_types() else "suppression"
        if reason is SkipReason.RENDER_ERROR and self._row["detail"].startswith(row_fields.PREFIX):
            return "sender" if self._row["detail"].startswith(f"{row_fields.PREFIX}from`") else "fields"
        return _OUT_AT[reason]

    def _number(self) -> str:
        row, people, campaign = self._row, self._people, self._campaign
        asked = ""
        if people is not None and campaign is not None:
            own = row["recipient"][people.region].strip() if people.region else ""
            region = campaign.recipients.default_region
            whose = f"default region {region}" if region else "no region given"
            if own:
                code = " or ".join(countries.regions_of(own))
                whose = f"the row's own region {own}{f' ({code})' if code not in (own, '') else ''}"
            asked = f"`{row['recipient'][people.phone]}` in column `{people.phone}`, {whose}"
        if row["to"] is None:
            return asked or "not read as a number"
        repair = row.get("repair")  # a plan written before there was such a column has none
        read = ", ".join(str(one) for one in (repair, row["to"], row["region"], row["number_type"]) if one)
        return f"{asked}: {read}" if asked else read

    def _skipped_types(self) -> Sequence[str]:
        types: Sequence[str] = self._plan.manifest.numbers.get("skip_types", ())
        return types

    def _type(self) -> str | None:
        types = self._skipped_types()
        return f"{self._row['number_type']} is none of those left out: {', '.join(types)}" if types else None

    def _suppression(self) -> str:
        lists = [one.path for one in self._plan.manifest.inputs if one.role == "suppress"]
        sentences = [f"in none of {', '.join(lists)}"] if lists else []
        if self._plan.manifest.suppression is not None:
            sentences.append("not on the suppression list")
        return "; ".join(sentences) or "there is no suppression list"

    def _duplicates(self) -> str:
        same = self._plan.scan().filter(pl.col("to") == self._row["to"]).select("row_number", "reason").collect()
        if same.height < 2:
            return "no other row has this number"
        rows = ", ".join(
            f"{number} ({reason})" if reason else str(number) for number, reason in same.head(_MOST_ROWS).iter_rows()
        )
        more = f" and {same.height - _MOST_ROWS} more" if same.height > _MOST_ROWS else ""
        return f"rows {rows}{more} have this number, and this one is kept"

    def _text(self) -> str:
        made = self._raw_text()
        if made is None:
            made = self._row["body"]
        media = "".join(f"; media {url}" for url in self._row["media"] or ())
        return (f"{made!r}" if made else "none") + media

    def _raw_text(self) -> str | None:
        """What the template made of the row, before look-alikes were replaced."""
        if self._people is None or self._offer is None:
            return None
        cells = self._people.table.row(self._row["row_number"])
        made: str | None = text_column(self._offer.body, self._people, cells)["text"].item()
        return made

    def _replaced(self) -> Iterator[tuple[str, str]]:
        raw = self._raw_text()
        if raw is None or self._campaign is None or not self._campaign.message.smart_encoding:
            return
        _, used = segments.smart_encode(pl.Series([raw]))
        swaps = ", ".join(f"{look!r} by {plain!r}" for look, plain, _ in used.iter_rows())
        yield "replaced", swaps or "nothing"

    def _fields(self) -> str | None:
        if not self._row["fields"]:
            return None
        return "; ".join(f"{key}: {value}" for key, value in message_fields.merged_json(self._row["fields"]).items())

    def _size(self) -> str:
        row = self._row
        if self._is_mms():
            return "an MMS, counted as one segment"
        if row["encoding"] is None:
            return "the provider fills in the text"
        size = segments.measure(pl.Series([row["body"]], dtype=pl.String))
        used, parts = size["units"].item(), size["segments"].item()
        told = f"{row['encoding']}, {used} units, {parts} segment{'' if parts == 1 else 's'}"
        blamed = blame.blame(size.with_columns(body=pl.Series([row["body"]])))
        for one in blamed["characters"]:
            told += f"; {blame.sentence(one)}"
        return told + ("; its letters are outside GSM-7" if blamed["other_script"] else "")

    def _sender(self) -> str:
        sender = self._row["from_number"]
        pool = self._plan.manifest.senders
        if sender is None:
            own = message_fields.of_row(self._plan.manifest.fields, self._row["fields"])
            return f"picked by {next(own[key] for key in SERVICE_FIELDS if key in own)}"
        if len(pool) > 1:
            return f"{sender}, out of a pool of {len(pool)}: this number always gets the same{self._near(sender)}"
        return f"{sender}" if pool else f"{sender}, the row's own"

    def _near(self, sender: str) -> str:
        """Why a number of a pool that matches recipients was preferred."""
        pool = self._plan.manifest.sender_pool()
        return "" if pool is None else pool.nearness(self._row["to"], sender)

    def _cost(self) -> Iterator[tuple[str, str]]:
        row, spent = self._row, self._plan.manifest.cost
        if spent is None:
            return
        if row["cost_micros"] is None:
            yield "cost", f"no price in {spent['table']}"
            return
        told = f"{money.text(row['cost_micros'])} {spent['currency']}"
        if self._campaign is not None and self._campaign.prices is not None:
            table = prices.load_prices(self._campaign.path(self._campaign.prices))
            rate = costs.rate_of(row, table, mms=self._is_mms())
            if rate is not None:
                fee = f" and {money.text(rate.fee)} fee" if rate.fee else ""
                told += f": {money.text(rate.price)}{fee} for {rate.entry}, times {row['segments']}"
        yield "cost", told

    def _is_mms(self) -> bool:
        row = pl.DataFrame([self._row], schema_overrides={"media": pl.List(pl.String), "fields": pl.String})
        return bool(row.select(mms=message_fields.is_mms(self._plan.manifest.fields)).item())
