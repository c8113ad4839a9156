"""Texts and formats that the page and the terminal share, so that both say the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from sender.core.outcomes import Status
from sender.plan.plan import Plan
from sender.plan.waves import HeldMessages
from sender.rules.zones import format_time

# What each status means, in a sentence a person can act on.
LEADS: Mapping[str, str] = {
    Status.UNKNOWN: "may have been accepted; not sent again unless you ask for it",
    Status.DELIVERED: "the carrier says it arrived",
    Status.SENT: "handed to the carrier; no receipt yet",
    Status.QUEUED: "accepted by the provider; not with the carrier yet",
    Status.UNDELIVERED: "the carrier says it did not arrive",
    Status.FAILED: "the provider gave up before the carrier",
    Status.UNCONFIRMED: "sent, and no receipt will come",
    Status.CANCELED: "not sent: canceled by us, or taken back at the provider",
    Status.REJECTED: "refused at submission",
    Status.PENDING: "still to be submitted",
    Status.SKIPPED: "gets no message; the plan says why",
}


def share(part: int, whole: int) -> str:
    """`97.4 %`; never 100 % of less than all, nor 0 % of something; `` of nothing."""
    if not whole:
        return ""
    percent = 100 * part / whole
    if 0 < part < whole:
        percent = min(max(percent, 0.1), 99.9)
    return f"{percent:.0f} %" if part in (0, whole) else f"{percent:.1f} %"


def share_delivered(delivered: int, accepted: int, waiting: int) -> str:
    """`97.4 %` of accepted messages; while `waiting` ones have no result, of those that have one, and how many."""
    if not waiting:
        return share(delivered, accepted)
    known = accepted - waiting
    return f"{share(delivered, known)} of {known:,} with a result" if known else "no result yet"


def amounts(by_currency: Mapping[str, Decimal]) -> str:
    """`1.23 USD, 0.40 EUR`; exact, without zeros beyond the second decimal; without a currency the bare amount."""
    return ", ".join(f"{_amount(amount)} {currency}".rstrip() for currency, amount in sorted(by_currency.items()))


def _amount(amount: Decimal) -> str:
    whole, point, decimals = f"{amount:f}".partition(".")
    return whole + point + decimals[:2] + decimals[2:].rstrip("0")


def seconds(value: float) -> str:
    """`0.8 s`, `42 s`, `3 min 20 s`, `2 h 05 min`."""
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {left:02} s"


def per_second(value: float) -> str:
    """`1,240/s`, `12.5/s`, `6/min`."""
    if value < 0.5:
        return f"{value * 60:.3g}/min"
    return f"{value:,.0f}/s" if value >= 100 else f"{value:.3g}/s"


def describe_held(group: HeldMessages) -> str:
    """Return `6,000 until Mon 2026-11-30 09:00 EST (America/New_York and 3 more), held by us-federal`."""
    by = f", held by {', '.join(group.rules)}" if group.rules else ""
    return f"{group.messages:,} until {held_until(group)}{by}"


def describe_all_held(groups: Sequence[HeldMessages]) -> str:
    """Return `, 11,230 held until Mon 2026-11-30 09:00 EST (America/New_York) at the latest`; nothing for none."""
    if not groups:
        return ""
    return f", {sum(group.messages for group in groups):,} held until {held_until(groups[-1])} at the latest"


def describe_rules(plan: Plan) -> str:
    """Return ` under us`: the sets of rules that a plan keeps to; nothing for none."""
    rules = plan.manifest.window.get("rules", ())
    return f" under {', '.join(rules)}" if rules else ""


def held_until(group: HeldMessages) -> str:
    """Return `Mon 2026-11-30 09:00 EST (America/New_York and 3 more)`."""
    zone = group.zones[0] if group.zones else "Etc/UTC"
    more = f" and {len(group.zones) - 1} more" if len(group.zones) > 1 else ""
    return f"{format_time(group.until_ms, zone)} ({zone}{more})"
