"""`sender replies --review`: replies that may be an opt-out, and what a person decides about them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rich.markup import escape

from sender.cli import console, terminal
from sender.core.errors import InputError
from sender.core.local_time import format_utc_and_local
from sender.phone.typed import read_number
from sender.state.state import State
from sender.suppression.reviews import Review, decide_review, nothing_to_decide, open_reviews

_ANSWERS = ("opt-out", "keep", "later")


def review_replies(
    state: State, *, opt_out: Sequence[str], keep: Sequence[str], region: str | None, as_json: bool
) -> None:
    """Decide about the replies of the numbers named, or list those that wait; ask about each on a terminal."""
    if opt_out or keep:
        numbers = _read_decisions(opt_out, keep, region)
        known = {review.number for review in open_reviews(state)}
        if strange := [number for number, _ in numbers if number not in known]:
            raise nothing_to_decide(strange[0])  # before any of them is decided
        decided = [
            (number, decide_review(state, number, opt_out=is_opt_out), is_opt_out) for number, is_opt_out in numbers
        ]
        waiting = open_reviews(state)
        if as_json:
            console.print_json([_to_dict(review) for review in waiting])
            return
        for number, replies, is_opt_out in decided:
            _print_decision(number, replies, is_opt_out=is_opt_out)
        console.out.print(f"{console.many(len(waiting), 'reply', 'replies')} still to be decided")
        return
    waiting = open_reviews(state)
    if as_json:
        console.print_json([_to_dict(review) for review in waiting])
        return
    console.out.print(
        f"[bold]{console.many(len(waiting), 'reply', 'replies')}[/] to be decided; until then"
        f" {'this number gets' if len(waiting) == 1 else 'these numbers get'} nothing"
        if waiting
        else "no reply waits for a decision"
    )
    asks = sys.stdin.isatty() and console.out.is_terminal
    for review in waiting:
        _print_review(review)
        if asks:
            _ask(state, review)
    if waiting and not asks:
        console.out.print("decide with `sender replies --review --opt-out NUMBER`, or `--keep NUMBER`")


def _read_decisions(opt_out: Sequence[str], keep: Sequence[str], region: str | None) -> list[tuple[str, bool]]:
    """Return each number once, and whether it has opted out. Raises InputError before anything is decided."""
    out = dict.fromkeys((read_number(number, region) for number in opt_out), True)
    kept = dict.fromkeys((read_number(number, region) for number in keep), False)
    for number in kept:
        if number in out:
            raise InputError(f"{number} is in both --opt-out and --keep", fix="name it in one of them")
    return [*out.items(), *kept.items()]


def _ask(state: State, review: Review) -> None:
    answer = terminal.choose(f"  {review.number}: opt out, keep, or decide later?", _ANSWERS)
    if answer != "later":
        is_opt_out = answer == "opt-out"
        _print_decision(review.number, decide_review(state, review, opt_out=is_opt_out), is_opt_out=is_opt_out)


def _print_review(review: Review) -> None:
    simulated = "" if review.scope == "all" else f", {review.scope}"
    ours = review.our_number or "us"
    console.out.print(escape(f"  {review.number} to {ours}, {format_utc_and_local(review.at)}{simulated}:"))
    console.out.print(escape(f"    {review.text or '(the text was erased)'}"))


def _print_decision(number: str, replies: int, *, is_opt_out: bool) -> None:
    what = "has opted out" if is_opt_out else "gets messages again"
    decided = "" if replies == 1 else f" ({console.many(replies, 'reply', 'replies')} decided)"
    console.out.print(escape(f"{number} {what}{decided}"))


def _to_dict(review: Review) -> dict[str, Any]:
    return {
        "number": review.number,
        "our_number": review.our_number,
        "text": review.text,
        "at": review.at.isoformat(timespec="milliseconds"),
        "scope": review.scope,
    }
