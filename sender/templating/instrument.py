"""Template trees: which names they use, which of their expressions are cells, and the bounds put into them.

`instrumented` makes a tree pay for what it does (`sender.templating.budget`): for a turn of a loop, a value made, a
text put out. What such a template makes is what plain jinja2 makes of it, or a SecurityError. Never runs a template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import jinja2
from jinja2 import meta, nodes
from jinja2.visitor import NodeTransformer

from sender.templating.filters import FILTERS
from sender.templating.jinja_environment import (
    CONCAT,
    HARMLESS,
    HELD,
    ONCE,
    SHOWN,
    TURN,
    environment,
    is_header,
    once_name,
)

_TEXT_FILTERS = frozenset({"upper", "lower", "trim", "capitalize", "title", *FILTERS})  # text to text
_SPECIAL_NAMES = frozenset({"self", "loop", "caller", "varargs", "kwargs"})
_SHORT = 100  # characters, or a width, that may be written as an argument of a filter in ONCE


@cache
def _without_globals() -> jinja2.Environment:
    """For looking at trees only."""
    made = environment().overlay()
    made.globals = {}
    return made


class Names:
    """The names of a tree: `free` come from outside (or from jinja2), `stored` are given a value somewhere in it."""

    def __init__(self, tree: nodes.Template) -> None:
        before, tree.environment = tree.environment, _without_globals()
        self.free = frozenset(meta.find_undeclared_variables(tree))  # leaves out what the environment has itself
        tree.environment = before
        self.stored = frozenset(
            [name.name for name in tree.find_all(nodes.Name) if name.ctx != "load"]
            + [macro.name for macro in tree.find_all(nodes.Macro)]
        )

    def only_cells(self) -> frozenset[str]:
        """Those that can stand for nothing but a cell or a blank."""
        return self.free - self.stored - _SPECIAL_NAMES - environment().globals.keys() - {"row"}


def instrumented(tree: nodes.Template) -> tuple[nodes.Template, bool]:
    """`tree`, changed in place, with the bounds in it; and whether there is anything to pay for."""
    armour = _Instrumenter(Names(tree))
    return armour.visit(tree), armour.pays


def filtered(name: str, node: nodes.Expr, *args: nodes.Expr) -> nodes.Filter:
    """`{{ node | name(args) }}` as a node."""
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)


class _Instrumenter(NodeTransformer):
    def __init__(self, names: Names) -> None:
        self.pays = False
        self._cells = names.only_cells()
        self._row_is_ours = "row" not in names.stored
        self._depth = 0  # of statements whose content is written more than once, or into a name

    def visit_For(self, node: nodes.For) -> nodes.Node:
        units = 1 + sum(len(data.data) for one in node.body for data in one.find_all(nodes.TemplateData))
        self._deeper(node)
        turn = filtered(TURN, nodes.Const(units, lineno=node.lineno))
        node.body.insert(0, nodes.ExprStmt(turn, lineno=node.lineno))
        if node.test is not None:
            turn = filtered(TURN, nodes.Const(1, lineno=node.lineno))
            node.test = nodes.And(turn, node.test, lineno=node.lineno)
        self.pays = True
        return node

    def _deeper(self, node: nodes.Node) -> nodes.Node:
        self._depth += 1
        self.generic_visit(node)
        self._depth -= 1
        return node

    visit_Macro = visit_CallBlock = visit_FilterBlock = visit_AssignBlock = visit_Block = _deeper

    def visit_Output(self, node: nodes.Output) -> nodes.Node:
        for place, one in enumerate(node.nodes):
            if isinstance(one, nodes.TemplateData):
                continue
            is_text = self._is_text(one)
            changed = self.visit(one)
            if not is_text or (self._depth and not isinstance(one, nodes.Const)):
                self.pays = True
                changed = filtered(SHOWN, changed)
            node.nodes[place] = changed
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        if all(isinstance(one, nodes.Const) for one in node.nodes):
            return node
        self.pays = True
        return filtered(CONCAT, *node.nodes)

    def _literal(self, node: nodes.List | nodes.Tuple | nodes.Dict) -> nodes.Node:
        self.generic_visit(node)
        if getattr(node, "ctx", "load") != "load" or not any(node.find_all((nodes.Name, nodes.Filter, nodes.Call))):
            return node
        self.pays = True
        return filtered(HELD, node)

    visit_List = visit_Tuple = visit_Dict = _literal

    def _paying(self, node: nodes.Node) -> nodes.Node:
        self.pays = True
        return self.generic_visit(node)

    visit_Call = visit_Add = visit_Mul = visit_Pow = visit_Mod = _paying

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        if node.name in ONCE and self._is_text(node):
            node.name = once_name(node.name)
        else:
            self.pays |= node.name not in HARMLESS
        return self.generic_visit(node)

    def _is_text(self, node: nodes.Expr | None, *, once: bool = True) -> bool:
        """Whether `node` can come to nothing but a text of a cell's order of size, or to a failure.

        `once` says whether one filter that makes it grow is allowed.
        """
        match node:
            case nodes.Const():
                return isinstance(node.value, str)
            case nodes.Name():
                return node.name in self._cells
            case nodes.Getitem(node=nodes.Name(name="row"), arg=nodes.Const(value=str(header))):
                return self._row_is_ours and is_header(header)
            case nodes.Getattr(node=nodes.Name(name="row")):
                return self._row_is_ours and is_header(node.attr)
            case nodes.Filter(name="default" | "d"):
                return len(node.args) == 1 and all(self._is_text(one, once=once) for one in (node.node, node.args[0]))
            case nodes.Filter() if node.name in ONCE:
                return once and not self._depth and _short(node) and self._is_text(node.node, once=False)
            case nodes.Filter():
                return (node.name in _TEXT_FILTERS) and self._is_text(node.node, once=once)
            case nodes.CondExpr():
                return self._is_text(node.expr1, once=once) and self._is_text(node.expr2, once=once)
        return False


def _short(node: nodes.Filter) -> bool:
    """Whether all arguments of a filter are written there, and small."""
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        return False
    for one in [*node.args, *[pair.value for pair in node.kwargs]]:
        value = one.value if isinstance(one, nodes.Const) else None
        if not (isinstance(value, str) and len(value) <= _SHORT) and not (isinstance(value, int) and value <= _SHORT):
            return False
    return True


class Lookup:
    """Which column an expression is, if it is nothing but a cell."""

    def __init__(self, named: Mapping[str, str], columns: Sequence[str], names: Names) -> None:
        self.named = named
        self.columns = columns
        self._row_is_ours = "row" not in names.stored

    def header(self, node: nodes.Node) -> str | None:
        """The header whose cell `node` stands for."""
        if isinstance(node, nodes.Name):
            return self.named.get(node.name)
        return self.in_row(node)

    def in_row(self, node: nodes.Node) -> str | None:
        """The header in `row["Header"]` and `row.header`."""
        header = None
        match node:
            case nodes.Getitem(node=nodes.Name(name="row"), arg=nodes.Const(value=str(key))):
                header = key
            case nodes.Getattr(node=nodes.Name(name="row")):
                header = node.attr
        usable = header in self.columns and self._row_is_ours and is_header(str(header))
        return header if usable else None


class RowCells(NodeTransformer):
    """Turns `row["Header"]` into a variable of its own, so that no row needs a dict."""

    def __init__(self, lookup: Lookup, prefix: str) -> None:
        self.headers: dict[str, str] = {}  # header to variable
        self._lookup = lookup
        self._prefix = prefix

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        header = self._lookup.in_row(node)
        if header is None:
            return self.generic_visit(node)
        name = self.headers.setdefault(header, f"{self._prefix}{len(self.headers)}")
        return nodes.Name(name, "load", lineno=node.lineno)

    visit_Getattr = visit_Getitem
