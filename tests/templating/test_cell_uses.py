"""Which cells a template shows as they are, and with which it computes."""

from __future__ import annotations

import pytest

from sender.templating import compile_template
from sender.templating.cell_uses import find_cell_uses

HEADERS = ("First Name", "sum", "day", "vip")
NAMES = {"first_name": "First Name", "sum": "sum", "day": "day", "vip": "vip"}


@pytest.mark.parametrize(
    ("source", "shown", "computed"),
    [
        ("Hi", "", ""),
        ("Hi {{ sum }}", "sum", ""),
        ("Hi {{ first_name }}", "First Name", ""),
        ('Hi {{ row["First Name"] }} {{ row.sum }}', "First Name,sum", ""),
        ("{{ sum | default('x') | upper | trim }}", "sum", ""),
        ("{{ sum | default(day) }}", "sum,day", ""),
        ("{{ first_name | first_name | name_case | truncate_sms }}", "First Name", ""),
        ("{{ 'x' ~ sum ~ day }}", "sum,day", ""),
        ("{{ sum if vip else day }}", "sum,vip,day", ""),
        ("{% if vip %}{{ sum }}{% elif day %}x{% else %}{{ first_name }}{% endif %}", "vip,sum,day,First Name", ""),
        ("{% if not vip and (day or sum is defined) %}x{% endif %}", "vip,day,sum", ""),
        ("{{ sum | currency('USD') }}", "", "sum"),
        ("{{ day | date('d MMM') }} {{ day | time }}", "", "day"),
        ("{{ sum | default(0) | number(digits=2) }}", "", "sum"),
        ("{{ row['sum'] | number }}", "", "sum"),
        ("{{ sum | float + 1 }}", "", "sum"),
        ("{{ sum | int }}", "", "sum"),
        ("{{ (sum | float) * 2 }} of {{ sum }}", "sum", "sum"),
        ("{% if sum | float > 10 %}x{% endif %}", "", "sum"),
        ("{% if vip == 'true' %}x{% endif %}", "", "vip"),
        ("{{ 'x' if day > '2026' else day }}", "day", "day"),
        ("{% set s = sum %}{{ s }}", "", "sum"),
        ("{% for part in first_name.split() %}{{ part }}{% endfor %}", "", "First Name"),
        ("{{ sum[:3] }}", "", "sum"),
        ("{{ '%s' | format(sum) }}", "", "sum"),
        ("{{ row['day' ~ ''] }}", "First Name,sum,day,vip", ""),
        ("{{ missing | default('x') }}{{ row['nobody'] | default('x') }}", "", ""),
    ],
)
def test_the_uses_of_a_cell(source, shown, computed):
    uses = find_cell_uses(compile_template(source, where="test"), NAMES, HEADERS)
    assert (uses.shown, uses.computed) == (
        frozenset(filter(None, shown.split(","))),
        frozenset(filter(None, computed.split(","))),
    )
