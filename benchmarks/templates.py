"""`python -m benchmarks.templates`: rows a second of the ways to make a column of texts, beside plain jinja2.

Plain is sandboxed jinja2 with StrictUndefined and a render a row. Each way and the plain one take turns in this
process; the ratio is the middle one of three. What a way makes is compared with the plain texts before it is timed.
"""

from __future__ import annotations

import argparse
import functools
import random
from collections.abc import Callable, Iterator
from unittest import mock

import jinja2
import polars as pl
from jinja2.sandbox import ImmutableSandboxedEnvironment

from benchmarks.figures import Figure, rates, table
from sender import templating
from sender.templating import render_columns

TEMPLATES = {
    "simple": "Hi {{ first_name }}, welcome to {{ city }}! Your plan is {{ plan }}.",
    "simple, default and upper": "Hi {{ first_name | default('there') }}, {{ city | upper }} waits for you.",
    "if and filters": "{% if plan == 'Gold' %}Dear{% else %}Hi{% endif %} {{ first_name | title }}"
    ", {{ city | replace('e', 'E') }}.",
    "if": "{% if plan == 'Gold' %}Dear{% else %}Hi{% endif %} {{ first_name }}, welcome to {{ city }}.",
    "if a name": "{% if first_name %}Hi {{ first_name }}, {% endif %}your plan is {{ plan }}.",
    "elif": "{% if city == 'Leeds' %}Leeds: {% elif city in ['New York', 'Springfield'] %}USA: "
    "{% elif plan == 'Gold' and first_name is defined %}{{ first_name }}: {% else %}{{ city }}: {% endif %}"
    "{{ 'vip' if plan == 'Gold' else 'you' }}",
    "row": "Hi {{ row['First Name'] }}, welcome to {{ row['City'] | title }}.",
    "loop": "{% for word in city.split(' ') %}{{ word[0] }}{% endfor %} {{ first_name }}",
    "locale": "{{ first_name | first_name }}: {{ amount | currency('EUR', 'de_DE') }}",
}
PLAIN = "jinja2, a render a row"
SIMPLE = ("simple", "simple, default and upper")
NAMES = {"first_name": "First Name", "city": "City", "plan": "Plan", "amount": "Amount"}


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    """Simple templates and others over `options.rows` rows, in the way each of them takes."""
    cells = people(options.rows)
    few = cells.head(40_000)
    for name, source in TEMPLATES.items():
        template = templating.compile_template(source, where=name)
        assert templating.render(template, few, NAMES)["text"].to_list() == plain(source, few), name
        ours, slow = functools.partial(templating.render, template, cells, NAMES), functools.partial(plain, source, few)
        fast, base = rates(ours, cells.height, slow, few.height)
        yield Figure("templates", name, fast, "/s", base, PLAIN, 6 if name in SIMPLE else None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--plain-rows", type=int, default=40_000, help="rows for the ways that go row by row")
    options = parser.parse_args()
    print(table(ways(options.rows, options.plain_rows)))


def ways(rows: int, plain_rows: int) -> Iterator[Figure]:
    """Every way of rendering a column there is, also those that a quicker one stands before."""
    cells = people(rows)
    few = cells.head(plain_rows)
    for name, source in TEMPLATES.items():
        template = templating.compile_template(source, where=name)
        expected = plain(source, few)
        named = tuple((one, NAMES[one]) for one in sorted(template.uses & NAMES.keys()))
        others: dict[str, tuple[pl.DataFrame, str | None]] = {
            "ours": (cells, None),
            "in blocks": (cells, "compile_pieces"),
            "row by row": (few, "both"),
        }
        if render_columns.compile_pieces(template, named, tuple(cells.columns)) is None:
            del others["in blocks"]
        for way, (frame, without) in others.items():
            with mock.patch.multiple(render_columns, _SEPARATOR=render_columns._SEPARATOR, **patches(without)):  # noqa: SLF001
                assert templating.render(template, few, NAMES)["text"].to_list() == expected, (name, way)
                ours = functools.partial(templating.render, template, frame, NAMES)
                fast, base = rates(ours, frame.height, functools.partial(plain, source, few), few.height)
            yield Figure(name, way, fast, "/s", base, PLAIN)


def patches(without: str | None) -> dict[str, Callable[..., None]]:
    """What to switch off, so that a slower way is taken."""
    if without is None:
        return {}
    return {
        name: lambda *_: None for name in (("compile_pieces", "_compile_block") if without == "both" else (without,))
    }


def people(rows: int) -> pl.DataFrame:
    draw = random.Random(1)
    first = [
        f"{a}{b}".title()
        for a in ("an", "be", "chris", "dor", "émi", "fran", "zo")
        for b in ("na", "le", "tine", "is", "lie", "ë")
    ]
    letters = str.maketrans("0123456789", "aeioubdgmt")  # names that are different, and could be somebody's
    cities = ["Springfield", "São Paulo", "New York", "Köln", "Leeds", "Salt Lake City"]
    return pl.DataFrame(
        {
            "Phone": [f"+1202555{n % 100 + 100:04}" for n in range(rows)],
            "First Name": [draw.choice(first) + str(n % 1000).translate(letters) for n in range(rows)],
            "City": [draw.choice(cities) for _ in range(rows)],
            "Plan": [draw.choice(["Gold", "Basic"]) for _ in range(rows)],
            "Amount": [f"{draw.randrange(100, 20000) / 100:.2f}" for _ in range(rows)],
        }
    )


def plain(source: str, cells: pl.DataFrame) -> list[str]:
    environment = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)
    environment.filters.update(templating.FILTERS)
    template = environment.from_string(source)
    names = list(NAMES.items())
    if "row[" in source:
        return [template.render(row=row) for row in cells.iter_rows(named=True)]
    headers = cells.select([header for _, header in names])
    return [template.render(dict(zip(NAMES, row, strict=True))) for row in headers.iter_rows()]


if __name__ == "__main__":
    main()
