"""The variables a template requires: names and headers that must be there. Never runs a template."""

from __future__ import annotations

from dataclasses import dataclass

from jinja2 import nodes

from sender.templating.blanks import is_header, row_key
from sender.templating.filters import FILTERS


@dataclass(frozen=True, slots=True)
class RequiredVariables:
    """What a template cannot do without.

    `lines` has the first line of each use without a default, by name or `row["Header"]`; `headers` are the headers
    among them. `bare_row` is the first line where `row` is used as a whole (None: nowhere). `looked_up` are all headers
    in `row["Header"]`, with a default or not; `any_header`: there are others, which only the row tells.
    """

    lines: dict[str, int]
    headers: frozenset[str]
    bare_row: int | None
    looked_up: frozenset[str]
    any_header: bool


def find_required_variables(tree: nodes.Template, *, row_is_ours: bool) -> RequiredVariables:
    """Return the variables that `tree` requires. A name with a default is renamed in the tree.

    So jinja2, which knows its own scopes, then finds only required names undeclared. `row_is_ours` says that the
    template does not assign `row` itself.
    """
    finder = _VariableFinder(row_is_ours=row_is_ours)
    finder.visit(tree, frozenset())
    return RequiredVariables(
        finder.lines, frozenset(finder.headers), finder.bare_row, frozenset(finder.looked_up), finder.any_header
    )


class _VariableFinder:
    """Walks jinja2's tree. A name under `default()`, or after a test `is defined`, is not required."""

    def __init__(self, *, row_is_ours: bool) -> None:
        self.lines: dict[str, int] = {}
        self.headers: set[str] = set()
        self.bare_row: int | None = None
        self.looked_up: set[str] = set()
        self.any_header = False
        self._row_is_ours = row_is_ours

    def visit(self, node: nodes.Node | None, safe: frozenset[str]) -> None:
        """Visit `node`, where the names and row keys in `safe` may be missing."""
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
        elif isinstance(node, nodes.Filter) and node.name in FILTERS:  # ours pass a blank on
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
        if header is None:
            self.any_header = True
        else:
            self.looked_up.add(header)
        if header is not None and row_key(header) not in safe:
            self.lines.setdefault(row_key(header), node.lineno)
            self.headers.add(header)
        if isinstance(node, nodes.Getitem):
            self.visit(node.arg, safe)

    def _is_row(self, node: nodes.Node) -> bool:
        return self._row_is_ours and isinstance(node, nodes.Name) and node.name == "row"

    def _key(self, node: nodes.Node | None) -> str | None:
        """Return the key of a name or `row["Header"]` in `safe` and `lines`; None for any other expression."""
        if isinstance(node, nodes.Name):
            return node.name
        header = self._header(node)
        return None if header is None else row_key(header)

    def _header(self, node: nodes.Node | None) -> str | None:
        """Return the header in `row["Header"]` and `row.header`; None for any other expression."""
        if isinstance(node, nodes.Getitem) and self._is_row(node.node) and isinstance(node.arg, nodes.Const):
            return str(node.arg.value)
        if isinstance(node, nodes.Getattr) and self._is_row(node.node) and is_header(node.attr):
            return node.attr
        return None

    def _proven(self, test: nodes.Node) -> tuple[frozenset[str], frozenset[str]]:
        """Return which keys are known to be tested where `test` is true, and where it is false."""
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
