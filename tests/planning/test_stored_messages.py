"""The plan of what is left of another one: what it says of itself, and what it does not know any more."""

from __future__ import annotations

import sender
from sender.planning.stored_messages import recount


def test_what_is_left_says_nothing_of_the_texts_and_rows_that_are_gone() -> None:
    people = [{"phone": f"+1202555010{n}", "name": name} for n, name in enumerate(("Ada", "Zoë ✓", "Jean"))]
    built = sender.build_plan(
        sender.load_campaign(
            name="spring", provider="sandbox", from_="+12025550199", message="Hi {{ name }}", recipients=people
        )
    )
    assert built.manifest.blame["characters"], "one name makes its text larger"
    left = recount(built.manifest, built.frame.head(1), "mark")
    assert (left.rows, left.messages, left.segments, left.encodings) == (1, 1, 1, {"GSM-7": 1})
    assert (left.blame, left.lint, left.notes, left.replacements) == ({}, (), (), ())
    assert left.suppression == {"mark": "mark", "skip_dead": False}
