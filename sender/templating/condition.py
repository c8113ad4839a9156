"""A condition on a row: a Jinja expression that is true or false, in the environment of templates and within its
budget.

A blank cell is an empty text, as is one that holds a placeholder, and cells have no blanks around them: a row is left
out for what it says, never because it says nothing. An expression that gives a text, such as the bare name of a
column, is refused: `N` would be true.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jinja2
import polars as pl
from jinja2 import nodes
from jinja2.parser import Parser

from sender.core.errors import TemplateError
from sender.templating.blanks import TemplateRow
from sender.templating.budget import BUDGET, Overspent
from sender.templating.jinja_environment import describe_failure, environment
from sender.templating.missing_values import find_placeholders
from sender.templating.nested_values import read_for_condition
from sender.templating.template import Template, compile_template

_RESULT = "condition_result"
_TRUE, _FALSE, _OTHER = "true", "false", "other: "
_SHOWN_CHARS = 40


@dataclass(frozen=True, slots=True, eq=False)
class RowCondition:
    """A compiled condition. `template` gives `true` or `false`; `headers` are those in `row["Header"]`.

    `any_header`: it looks up headers that are known only when it runs.
    """

    source: str
    template: Template
    headers: frozenset[str]
    any_header: bool

    def find_columns(self, names: Mapping[str, str], headers: tuple[str, ...]) -> tuple[str, ...]:
        """Return the headers of the cells that it reads, in the order of `headers`; `names` are those of templates."""
        if self.any_header:
            return headers
        used = {names[name] for name in self.template.uses & names.keys()} | self.headers
        return tuple(header for header in headers if header in used)


def compile_condition(source: str, *, where: str, placeholders: Collection[str] = ()) -> RowCondition:
    """Return the condition in `source`. Raises TemplateError where it is not a single expression, or not allowed.

    A cell that is one of `placeholders` counts as blank, so that a condition must not look for one.
    """
    try:
        expression = _parse(source)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(
            f"is not an expression: {error.message}",
            where=where,
            fix="write what must be true of a row, as in `sms_consent == 'yes'`, without {{ }}",
        ) from None
    except RecursionError:
        raise TemplateError("nested too deeply", where=where, fix="simplify it") from None
    for sought in expression.find_all(nodes.Const):
        if sought.value in placeholders:
            raise TemplateError(
                f"looks for `{sought.value}`, which counts as blank",
                where=where,
                fix="write '' for a blank cell, or take it out of `recipients.placeholders`",
            )
    text = (
        f"{{% set {_RESULT} = ({source}\n) %}}{{% if {_RESULT} is sameas true %}}{_TRUE}"
        f"{{% elif {_RESULT} is sameas false %}}{_FALSE}{{% else %}}{_OTHER}{{{{ {_RESULT} }}}}{{% endif %}}"
    )
    template = compile_template(text, where=where, placeholders=placeholders)
    lookups = [
        node
        for node in (expression, *expression.find_all((nodes.Getitem, nodes.Getattr)))
        if isinstance(node, nodes.Getitem | nodes.Getattr) and _is_row(node.node)
    ]
    constant = [node for node in lookups if isinstance(node, nodes.Getattr) or isinstance(node.arg, nodes.Const)]
    names = [node.attr if isinstance(node, nodes.Getattr) else str(node.arg.value) for node in constant]  # type: ignore[attr-defined]
    rows = sum(map(_is_row, (expression, *expression.find_all(nodes.Name))))
    return RowCondition(source, template, frozenset(names), any_header=rows > len(constant))


def _parse(source: str) -> nodes.Expr:
    parser = Parser(environment(), source, state="variable")
    expression = parser.parse_expression()
    if not parser.stream.eos:
        raise jinja2.TemplateSyntaxError("there is more than one expression", parser.stream.current.lineno)
    return expression


def _is_row(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == "row"


def evaluate(
    condition: RowCondition, cells: pl.DataFrame, names: Mapping[str, str], nested: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Return `holds` (Boolean, null where it fails) and `detail` (String, why it fails) for each row of `cells`.

    `cells` has the columns that it reads, under their headers; `nested`, for some of these headers, the mappings and
    lists in cells as JSON. Each distinct row is looked at once. Raises
    TemplateError where it gives something else than true or false, fails for every row, or takes too much time.
    """
    placeholders = condition.template.placeholders
    headers = (*cells.columns, *(() if nested is None else nested.columns))
    columns = [_read_texts(column, placeholders) for column in cells.iter_columns()]
    columns += [] if nested is None else nested.get_columns()
    texts = pl.DataFrame([column.alias(str(at)) for at, column in enumerate(columns)])
    distinct = texts.unique(maintain_order=True)
    used = {name: names[name] for name in condition.template.uses & names.keys() if name != "row"}
    results = []
    try:
        with BUDGET.lock:
            BUDGET.open()
            for row in distinct.iter_rows():
                texts_of, sources = (
                    dict(zip(headers[part], row[part], strict=True))
                    for part in (slice(cells.width), slice(cells.width, None))
                )
                results.append(_evaluate_row(condition, used, read_for_condition(texts_of, sources, placeholders)))
    except Overspent:
        raise TemplateError("takes too much time on too many rows", where=condition.template.where) from None
    if results and all(holds is None for holds, _ in results):
        raise TemplateError(f"fails for every row: {results[0][1]}", where=condition.template.where)
    answers = distinct.hstack(pl.DataFrame(results, schema=_SCHEMA, orient="row"))
    joined = texts.join(answers, on=texts.columns, how="left", nulls_equal=True, maintain_order="left")
    return joined.select("holds", "detail")


_SCHEMA = {"holds": pl.Boolean, "detail": pl.String}


def _read_texts(column: pl.Series, placeholders: Collection[str]) -> pl.Series:
    """Return the cells without blanks around them, an empty text where one holds a placeholder."""
    texts = column.alias("").str.strip_chars()
    words = find_placeholders(texts, placeholders)
    return texts if words is None else texts.set(words.is_not_null(), "")


def _evaluate_row(
    condition: RowCondition, used: Mapping[str, str], cells: Mapping[str, Any]
) -> tuple[bool | None, str | None]:
    variables = {name: cells[header] for name, header in used.items()}
    try:
        text = condition.template.render_text({**variables, "row": TemplateRow(cells)})
    except Overspent:
        raise
    except Exception as error:  # noqa: BLE001 (whatever an expression raises is its row's failure)
        return None, describe_failure(error)
    if text not in (_TRUE, _FALSE):
        shown = text.removeprefix(_OTHER)[:_SHOWN_CHARS]
        raise TemplateError(
            f"gives `{shown}`, which is neither true nor false",
            where=condition.template.where,
            fix="compare it with what it must be, as in `sms_consent == 'yes'`",
        )
    return text == _TRUE, None
