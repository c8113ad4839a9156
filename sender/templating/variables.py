"""Which names and headers a template needs. Never runs anything."""

from __future__ import annotations

from jinja2 import nodes

from sender.templating.filters import FILTERS
from sender.templating.jinja_environment import is_header, row_key


class VariableFinder:
    """Finds which names and headers a template needs, by jinja2's own tree.

    A name under `default()`, or where `is defined` has been asked, is renamed in the tree; what jinja2 then
    still finds undeclared is needed, with jinja2's own idea of scopes.
    """

    def __init__(self, *, row_is_ours: bool) -> None:
        self.lines: dict[str, int] = {}  # first line of each unguarded use, of a name or a `row["..."]`
        self.headers: set[str] = set()
        self.bare_row: int | None = None
        self._row_is_ours = row_is_ours

    def visit(self, node: nodes.Node | None, safe: frozenset[str]) -> None:
        """Walks `node`, where the names and row keys in `safe` may be missing."""
        match node:
            case None:
                return
            case nodes.If():
                self._if(node, safe)
            case nodes.CondExpr():
                yes, no = self._proven(node.test)
                self.visit(node.test, safe)
                self.visit(node.expr1, safe | yes)
                self.visit(node.expr2, safe | no)
            case nodes.And() | nodes.Or():
                yes, no = self._proven(node.left)
                self.visit(node.left, safe)
                self.visit(node.right, safe | (yes if isinstance(node, nodes.And) else no))
            case nodes.Filter(name="default" | "d") | nodes.Test(name="defined" | "undefined"):
                self._may_be_missing(node.node, safe)
                for child in node.iter_child_nodes(exclude=("node",)):
                    self.visit(child, safe)
            case nodes.Name(ctx="load"):
                self._name(node, safe)
            case nodes.Getitem() | nodes.Getattr() if self._is_row(node.node):
                self._row_lookup(node, safe)
            case _:
                for child in node.iter_child_nodes():
                    self.visit(child, safe)

    def _if(self, node: nodes.If, safe: frozenset[str]) -> None:
        for branch in (node, *node.elif_):
            yes, no = self._proven(branch.test)
            self.visit(branch.test, safe)
            for child in branch.body:
                self.visit(child, safe | yes)
            safe |= no  # holds for every later branch
        for child in node.else_:
            self.visit(child, safe)

    def _may_be_missing(self, node: nodes.Node | None, safe: frozenset[str]) -> None:
        key = self._key(node)
        if isinstance(node, nodes.Filter) and node.name in ("default", "d"):  # {{ a | default(b) | default('c') }}
            for child in node.iter_child_nodes():
                self._may_be_missing(child, safe)
        elif isinstance(node, nodes.Filter) and node.name in FILTERS:  # ours hand a blank on
            self._may_be_missing(node.node, safe)
            for child in node.iter_child_nodes(exclude=("node",)):
                self.visit(child, safe)
        else:
            self.visit(node, safe if key is None else safe | {key})

    def _name(self, node: nodes.Name, safe: frozenset[str]) -> None:
        if self._is_row(node):
            self.bare_row = self.bare_row or node.lineno
        elif node.name in safe:
            node.name = "\0guarded"
        else:
            self.lines.setdefault(node.name, node.lineno)

    def _row_lookup(self, node: nodes.Getitem | nodes.Getattr, safe: frozenset[str]) -> None:
        header = self._header(node)
        if header is not None and row_key(header) not in safe:
            self.lines.setdefault(row_key(header), node.lineno)
            self.headers.add(header)
        if isinstance(node, nodes.Getitem):
            self.visit(node.arg, safe)

    def _is_row(self, node: nodes.Node) -> bool:
        return self._row_is_ours and isinstance(node, nodes.Name) and node.name == "row"

    def _key(self, node: nodes.Node | None) -> str | None:
        """What a name or `row["Header"]` is called in `safe` and `lines`; None for any other expression."""
        if isinstance(node, nodes.Name):
            return node.name
        header = self._header(node)
        return None if header is None else row_key(header)

    def _header(self, node: nodes.Node | None) -> str | None:
        """The header in `row["Header"]` and `row.header`; None for any other expression."""
        if isinstance(node, nodes.Getitem) and self._is_row(node.node) and isinstance(node.arg, nodes.Const):
            return str(node.arg.value)
        if isinstance(node, nodes.Getattr) and self._is_row(node.node) and is_header(node.attr):
            return node.attr
        return None

    def _proven(self, test: nodes.Node) -> tuple[frozenset[str], frozenset[str]]:
        """What has been asked about being defined where `test` is true, and where it is false."""
        nothing: frozenset[str] = frozenset()
        match test:
            case nodes.Test(name="defined" | "undefined"):
                key = self._key(test.node)
                asked = nothing if key is None else frozenset({key})
                return (asked, nothing) if test.name == "defined" else (nothing, asked)
            case nodes.Not():
                yes, no = self._proven(test.node)
                return no, yes
            case nodes.And():
                (yes, no), (more, less) = self._proven(test.left), self._proven(test.right)
                return yes | more, no & less
            case nodes.Or():
                (yes, no), (more, less) = self._proven(test.left), self._proven(test.right)
                return yes & more, no | less
        return nothing, nothing
