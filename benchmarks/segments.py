"""`python -m benchmarks.segments`: segments of a column beside a plain Python loop, and what blame costs on top.

The loop does what ours does, a text after the other: GSM-7 or not, septets or UTF-16 units, escape pairs, surrogate
pairs and grapheme clusters (by the `regex` package) whole. Both get the same texts, in one process; the loop gets some
of them. A campaign as they are: most texts plain, some with curly quotes or emoji, some long. One with emoji in every
text, and two segments. And the worst: nothing but texts of several segments, full of clusters.
"""

from __future__ import annotations

import argparse
import functools
import random
from collections.abc import Iterator

import polars as pl
import regex

from benchmarks.figures import Figure, rates, seconds, table
from sender.segments.blame import blame
from sender.segments.encoding import GSM_BASIC, GSM_EXTENSION, measure

BASIC, EXTENSION = set(GSM_BASIC), set(GSM_EXTENSION)
LOOP_TEXTS = 20_000


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    """Two lists of `options.rows` texts; ours must count as the loop does."""
    random.seed(1)
    for what, make, least in (
        ("a campaign", campaign, 25),
        ("all with emoji", cheerful, 25),
        ("hard texts", hard, None),
    ):
        texts = pl.Series("body", [make(number) for number in range(options.rows)])
        part = texts.head(LOOP_TEXTS).to_list()
        sizes = measure(texts)
        assert sizes["segments"].head(LOOP_TEXTS).to_list() == [loop(text) for text in part]
        fast, slow = rates(
            functools.partial(measure, texts), options.rows, lambda part=part: [loop(text) for text in part], len(part)
        )
        took = seconds(functools.partial(blame, sizes.hstack([texts])))
        yield Figure("segments", what, fast, "/s", slow, "a Python loop", least, f"blame of all of them: {took:.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", "--texts", type=int, default=1_000_000)
    print(table(figures(parser.parse_args())))


def campaign(number: int) -> str:
    text = f"Hi Ada {number}, your table at Luna is booked for Friday at 8 pm. Reply STOP to opt out."
    if number % 10 == 0:
        text = text.replace("Hi", "It’s time,")
    if number % 25 == 0:
        text += " 🎉"
    if number % 7 == 0:
        text += " Bring this message [code {}] and we take 10 € off the bill; see you there, your friends at Luna!"
    return text


def cheerful(number: int) -> str:
    return f"🎉 Hi Ada {number}, it’s on! Your table at Luna is booked for Friday at 8 pm 🍕🥂. Reply STOP to opt out."


def hard(_number: int) -> str:
    pieces = ("x" * 9, "é", "“", "👩\u200d👩\u200d👧", "❤\ufe0f", "🇺🇸", "e\u0301", "नमस्ते ")
    return "".join(random.choices(pieces, k=40))


def loop(text: str) -> int:
    """Segments of one text."""
    if all(character in BASIC or character in EXTENSION for character in text):
        whole, part = 160, 153
        sizes = [2 if character in EXTENSION else 1 for character in text]
    else:
        whole, part = 70, 67
        sizes = [len(cluster.encode("utf-16-le")) // 2 for cluster in regex.findall(r"\X", text)]
    if sum(sizes) <= whole:
        return 1 if sizes else 0
    segments, used = 1, 0
    for size in sizes:
        if used + size > part:
            segments, used = segments + 1, 0
        used += size
    return segments


if __name__ == "__main__":
    main()
