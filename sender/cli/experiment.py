"""`sender experiment`: how many people a comparison needs."""

from __future__ import annotations

import click

from sender.campaign.values import parse_share
from sender.cli import console
from sender.core.errors import InputError
from sender.core.proportions import CONFIDENCE, POWER, sample_size


@click.group(help="Plan a comparison of variants, or of a message with no message.")
def experiment() -> None:
    pass


@experiment.command(help="Show how many people each group needs, to tell a difference from chance.")
@click.option("--base", required=True, metavar="3%", help="The success rate that you expect without the difference.")
@click.option("--lift", required=True, metavar="0.5%", help="The smallest difference that matters, in points.")
@click.option("--groups", type=click.IntRange(2, 50), default=2, show_default=True, help="Groups to compare.")
@click.option("--confidence", default=f"{CONFIDENCE:.0%}", show_default=True, metavar="95%", help="Of a result.")
@click.option("--power", default=f"{POWER:.0%}", show_default=True, metavar="80%", help="Chance to find a difference.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def size(base: str, lift: str, groups: int, confidence: str, power: str, *, as_json: bool) -> int:
    rates = {name: _share(f"--{name}", text) for name, text in (("base", base), ("lift", lift))}
    if rates["base"] + rates["lift"] >= 1:
        raise InputError(f"--base {base} and --lift {lift} add up to 100% or more", fix="lift is in percentage points")
    comparisons = groups * (groups - 1) // 2
    people = sample_size(
        rates["base"],
        rates["base"] + rates["lift"],
        confidence=_share("--confidence", confidence),
        power=_share("--power", power),
        comparisons=comparisons,
    )
    if as_json:
        console.print_json({"people_per_group": people, "groups": groups, "people": people * groups, **rates})
        return 0
    lifted = f"{100 * rates['base']:g}% from {100 * (rates['base'] + rates['lift']):g}%"
    console.out.print(f"[bold]{people:,}[/] people in each of {groups} groups, {people * groups:,} in all")
    console.out.print(
        f"  [dim]to tell {lifted}: if the difference is real, {power} of such tests find it; if not, {confidence} find"
        " none[/]"
    )
    return 0


def _share(option: str, text: str) -> float:
    """Return the share in `text`, between 0 and 1. Raises InputError."""
    try:
        share = parse_share(text)
    except ValueError:
        share = None
    if not isinstance(share, float) or not 0 < share < 1:
        raise InputError(f"{option} {text} is not a share", fix="write 3%, or 0.03")
    return share
