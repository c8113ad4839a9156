"""Which cells a template only shows, and with which it computes. Never runs a template."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import polars as pl
from jinja2 import nodes

from sender.templating.jinja_environment import environment
from sender.templating.template import Template

# From text to text; what they make of a cell depends on nothing but its letters.
_TEXT_FILTERS = frozenset(
    {"capitalize", "d", "default", "e", "escape", "first_name", "lower", "name_case", "string", "title", "trim"}
    | {"truncate", "truncate_sms", "upper"}
)
_PRESENCE_TESTS = frozenset({"defined", "undefined", "none"})


@dataclass(frozen=True, slots=True)
class CellUses:
    """Headers of the cells that a template uses: those in a text as they are, and those that it computes with.

    A filter for dates or numbers, a comparison and a sum compute; a header may be in both. `by_row` are headers that
    only the row tells, as in `row[name]`: all of them, or none. `printed` are those in a text as a whole.
    """

    shown: frozenset[str]
    computed: frozenset[str]
    by_row: frozenset[str]
    printed: frozenset[str]


def find_cell_uses(template: Template, names: Mapping[str, str], headers: Collection[str]) -> CellUses:
    """Return how `template` uses the cells under `headers`. `names` maps the names of the template to headers."""
    finder = _UseFinder(names, headers)
    finder.visit(environment().parse(template.source), plain=False)
    return CellUses(*map(frozenset, (finder.shown, finder.computed, finder.by_row, finder.printed)))


def select_looked_into(
    template: Template, names: Mapping[str, str], cells: pl.DataFrame, nested: pl.DataFrame | None
) -> pl.DataFrame:
    """Return the columns of `nested` into which the template looks: elsewhere a mapping or a list is a text."""
    if nested is None or not nested.width:
        return pl.DataFrame()
    uses = find_cell_uses(template, names, cells.columns)
    headers = uses.computed | uses.by_row
    return pl.DataFrame([column for column in nested.iter_columns() if column.name in headers])


class _UseFinder:
    """Walks jinja2's tree. `plain` says that the value of a node goes into the text as it is, or is not looked at."""

    def __init__(self, names: Mapping[str, str], headers: Collection[str]) -> None:
        self.shown: set[str] = set()
        self.computed: set[str] = set()
        self.by_row: set[str] = set()
        self.printed: set[str] = set()
        self._names = names
        self._headers = headers

    def visit(self, node: nodes.Node, *, plain: bool) -> None:
        match node:
            case nodes.Output() | nodes.Concat():
                self.printed.update(filter(None, map(self._printed_header, node.nodes)))
                self._visit_all(node, plain=True)
            case nodes.Filter(name=name) if name in _TEXT_FILTERS:
                self._visit_all(node, plain=plain)
            case nodes.CondExpr():
                self._visit_test(node.test)
                for branch in (node.expr1, node.expr2):
                    if branch is not None:
                        self.visit(branch, plain=plain)
            case nodes.If():
                self._visit_test(node.test)
                for child in node.iter_child_nodes(exclude=("test",)):
                    self.visit(child, plain=False)
            case nodes.Test(name=name) if name in _PRESENCE_TESTS:
                self._visit_all(node, plain=True)
            case nodes.Name(name="row", ctx="load"):
                self.shown.update(self._headers)
                self.by_row.update(self._headers)
            case nodes.Name(ctx="load"):
                self._use(self._names.get(node.name), plain=plain)
            case nodes.Getitem(node=nodes.Name(name="row"), arg=nodes.Const(value=str(header))):
                self._use(header, plain=plain)
            case nodes.Getattr(node=nodes.Name(name="row")):
                self._use(node.attr, plain=plain)
            case _:
                self._visit_all(node, plain=False)

    def _printed_header(self, node: nodes.Node | None) -> str | None:
        """Return the header of the cell that is printed whole, whatever filters of texts it passes."""
        while isinstance(node, nodes.Filter) and node.name in _TEXT_FILTERS:
            node = node.node
        match node:
            case nodes.Name():
                return self._names.get(node.name)
            case nodes.Getitem(node=nodes.Name(name="row"), arg=nodes.Const(value=str(header))):
                return header
            case nodes.Getattr(node=nodes.Name(name="row")):
                return node.attr
        return None

    def _visit_test(self, node: nodes.Node) -> None:
        """Visit a condition: whether a cell is blank says nothing about its value."""
        match node:
            case nodes.And() | nodes.Or():
                self._visit_test(node.left)
                self._visit_test(node.right)
            case nodes.Not():
                self._visit_test(node.node)
            case _:
                self.visit(node, plain=True)

    def _visit_all(self, node: nodes.Node, *, plain: bool) -> None:
        for child in node.iter_child_nodes():
            self.visit(child, plain=plain)

    def _use(self, header: str | None, *, plain: bool) -> None:
        if header in self._headers:
            (self.shown if plain else self.computed).add(str(header))
