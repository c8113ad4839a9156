"""The variables that a template requires: names and headers without a default or a test."""

from __future__ import annotations

import pytest

from sender.templating.jinja_environment import environment
from sender.templating.variables import find_required_variables


@pytest.mark.parametrize(
    ("source", "lines", "headers"),
    [
        pytest.param("Hi {{ name }}\n{{ day }} {{ name }}", {"name": 1, "day": 2}, set(), id="the first line of each"),
        pytest.param("{{ a | default('x') }}{{ a | d(b) }}", {"b": 1}, set(), id="default"),
        pytest.param("{{ a | default(b) | default('c') }}", {}, set(), id="a default for a default"),
        pytest.param("{{ a | name_case | default('x') }}", {}, set(), id="our filters pass a blank on"),
        pytest.param("{{ a | title | default('x') }}", {"a": 1}, set(), id="jinja2's do not"),
        pytest.param("{% if a is defined %}{{ a }}{% endif %}", {}, set(), id="is defined"),
        pytest.param("{% if a is not defined %}{{ a }}{% endif %}", {"a": 1}, set(), id="is not defined"),
        pytest.param("{% if a is undefined %}x{% else %}{{ a }}{% endif %}", {}, set(), id="else"),
        pytest.param("{% if a is undefined %}x{% elif b %}{{ a }}{% endif %}", {"b": 1}, set(), id="elif"),
        pytest.param("{{ a if a is defined and b is defined else b }}", {"b": 1}, set(), id="and proves neither when false"),
        pytest.param("{{ a is defined and a }}{{ a is undefined or a }}", {}, set(), id="and, or"),
        pytest.param("{{ row['Given Name'] }}", {'row["Given Name"]': 1}, {"Given Name"}, id="a header"),
        pytest.param("{{ row.City }}\n{{ row['City'] | d('') }}", {'row["City"]': 1}, {"City"}, id="a header as attribute"),
        pytest.param("{{ row['City'] | d('') }}", {}, set(), id="a header with a default"),
        pytest.param("{{ row[key] }}", {"key": 1}, set(), id="a header by a name"),
        pytest.param("{{ row.items }}", {}, set(), id="what every dict has"),
    ],
)  # fmt: skip
def test_required(source: str, lines: dict[str, int], headers: set[str]) -> None:
    required = find_required_variables(environment().parse(source), row_is_ours=True)
    assert required.lines == lines
    assert required.headers == headers
    assert required.bare_row is None


def test_the_row_as_a_whole() -> None:
    assert find_required_variables(environment().parse("a\n{{ row }}"), row_is_ours=True).bare_row == 2
    assert find_required_variables(environment().parse("a\n{{ row }}"), row_is_ours=False).bare_row is None
