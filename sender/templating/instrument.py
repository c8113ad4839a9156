"""Template trees: which names they use, which of their expressions are cells, and the charges put into them.

`instrumented` makes a tree pay (`sender.templating.budget`) for each turn of a loop, each new value and each text it
puts out. Such a template gives the text that plain jinja2 gives, or a SecurityError. Never runs a template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import jinja2
from jinja2 import meta, nodes
from jinja2.visitor import NodeTransformer

from sender.templating.blanks import is_header
from sender.templating.filters import FILTERS
from sender.templating.jinja_environment import (
    CHARGE,
    CONCAT,
    HARMLESS,
    ONCE,
    SHOW,
    TURN,
    environment,
    once_name,
)

_TEXT_FILTERS = frozenset({"upper", "lower", "trim", "capitalize", "title", *FILTERS})  # text to text
_SPECIAL_NAMES = frozenset({"self", "loop", "caller", "varargs", "kwargs"})
_SHORT = 100  # characters, or a width, in a constant argument of a filter in ONCE


@cache
def _without_globals() -> jinja2.Environment:
    """Return an environment for inspecting trees only."""
    overlay = environment().overlay()
    overlay.globals = {}
    return overlay


class Names:
    """The names of a tree: `free` come from outside (or from jinja2), `stored` are assigned somewhere in it."""

    def __init__(self, tree: nodes.Template) -> None:
        before, tree.environment = tree.environment, _without_globals()
        self.free = frozenset(meta.find_undeclared_variables(tree))  # names that the environment has are left out
        tree.environment = before
        self.stored = frozenset(
            [name.name for name in tree.find_all(nodes.Name) if name.ctx != "load"]
            + [macro.name for macro in tree.find_all(nodes.Macro)]
        )

    def only_cells(self) -> frozenset[str]:
        """Return the names that can only be a cell or a blank."""
        return self.free - self.stored - _SPECIAL_NAMES - environment().globals.keys() - {"row"}


def instrumented(tree: nodes.Template) -> tuple[nodes.Template, bool]:
    """Return `tree`, changed in place, with charges in it; and whether there are any."""
    instrumenter = _Instrumenter(Names(tree))
    return instrumenter.visit(tree), instrumenter.pays


def apply_filter(name: str, node: nodes.Expr, *args: nodes.Expr) -> nodes.Filter:
    """Return `{{ node | name(args) }}` as a node."""
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)


class _Instrumenter(NodeTransformer):
    def __init__(self, names: Names) -> None:
        self.pays = False
        self._cells = names.only_cells()
        self._row_is_ours = "row" not in names.stored
        self._depth = 0  # of statements whose content is rendered more than once, or into a name

    def visit_For(self, node: nodes.For) -> nodes.Node:
        units = 1 + sum(len(data.data) for child in node.body for data in child.find_all(nodes.TemplateData))
        self._deeper(node)
        turn = apply_filter(TURN, nodes.Const(units, lineno=node.lineno))
        node.body.insert(0, nodes.ExprStmt(turn, lineno=node.lineno))
        if node.test is not None:
            turn = apply_filter(TURN, nodes.Const(1, lineno=node.lineno))
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
        for place, child in enumerate(node.nodes):
            if isinstance(child, nodes.TemplateData):
                continue
            is_text = self._is_text(child)
            changed = self.visit(child)
            if not is_text or (self._depth and not isinstance(child, nodes.Const)):
                self.pays = True
                changed = apply_filter(SHOW, changed)
            node.nodes[place] = changed
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        if all(isinstance(child, nodes.Const) for child in node.nodes):
            return node
        self.pays = True
        return apply_filter(CONCAT, *node.nodes)

    def _literal(self, node: nodes.List | nodes.Tuple | nodes.Dict) -> nodes.Node:
        self.generic_visit(node)
        if getattr(node, "ctx", "load") != "load" or not any(node.find_all((nodes.Name, nodes.Filter, nodes.Call))):
            return node
        self.pays = True
        return apply_filter(CHARGE, node)

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
        """Whether `node` always evaluates to text about as long as a cell, or fails.

        `once` says whether one filter that makes it longer is allowed.
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
                return len(node.args) == 1 and all(self._is_text(part, once=once) for part in (node.node, node.args[0]))
            case nodes.Filter() if node.name in ONCE:
                return once and not self._depth and _short(node) and self._is_text(node.node, once=False)
            case nodes.Filter():
                return (node.name in _TEXT_FILTERS) and self._is_text(node.node, once=once)
            case nodes.CondExpr():
                return self._is_text(node.expr1, once=once) and self._is_text(node.expr2, once=once)
        return False


def _short(node: nodes.Filter) -> bool:
    """Whether all arguments of a filter are constant and small."""
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        return False
    for argument in [*node.args, *[pair.value for pair in node.kwargs]]:
        value = argument.value if isinstance(argument, nodes.Const) else None
        if not (isinstance(value, str) and len(value) <= _SHORT) and not (isinstance(value, int) and value <= _SHORT):
            return False
    return True


class CellLookup:
    """Finds the column of an expression that is only a cell."""

    def __init__(self, named: Mapping[str, str], columns: Sequence[str], names: Names) -> None:
        self.named = named
        self.columns = columns
        self._row_is_ours = "row" not in names.stored

    def header(self, node: nodes.Node) -> str | None:
        """Return the header whose cell `node` is; None if it is more than a cell."""
        if isinstance(node, nodes.Name):
            return self.named.get(node.name)
        return self.row_header(node)

    def row_header(self, node: nodes.Node) -> str | None:
        """Return the header in `row["Header"]` and `row.header`; None for another expression."""
        header = None
        match node:
            case nodes.Getitem(node=nodes.Name(name="row"), arg=nodes.Const(value=str(key))):
                header = key
            case nodes.Getattr(node=nodes.Name(name="row")):
                header = node.attr
        usable = header in self.columns and self._row_is_ours and is_header(str(header))
        return header if usable else None


class RowCells(NodeTransformer):
    """Replaces `row["Header"]` by a variable of its own, so that a row needs no dict."""

    def __init__(self, lookup: CellLookup, prefix: str) -> None:
        self.headers: dict[str, str] = {}  # header to variable
        self._lookup = lookup
        self._prefix = prefix

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        header = self._lookup.row_header(node)
        if header is None:
            return self.generic_visit(node)
        name = self.headers.setdefault(header, f"{self._prefix}{len(self.headers)}")
        return nodes.Name(name, "load", lineno=node.lineno)

    visit_Getattr = visit_Getitem
