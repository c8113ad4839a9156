"""A column of texts from a Jinja template and a frame of cells.

Every row is what plain jinja2 makes of it in a sandbox with StrictUndefined and without escaping. A blank
cell is undefined, so `{{ first_name | default('there') }}` acts on it. Cells are plain text, never templates.
A row that fails keeps its reason and stops no other; a text that came to `None` or `nan` or holds damaged
characters fails.

As in jinja2, one final newline of the source is dropped and every line break of the source becomes a line
feed.

A template reaches no files, no Python internals and no chance: the same inputs make the same texts. Bounded
are `range` (100,000), the length of a text, repetition with `*`, and powers. Not bounded yet are the time of
nested loops and the memory of `~`, `+`, `%` and filters that pad (`center`, `format`): do not run a
stranger's template.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jinja2
import polars as pl
from jinja2 import meta, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from sender.errors import TemplateError
from sender.outcomes import SkipReason

MAX_CHARS = 100_000  # of one text; the longest a provider takes is some thousands
_MAX_BITS = 10_000  # of an integer
_BLOCK_ROWS = 10_000  # bounds the Python objects alive at once
_MOST_NAMED = 30  # columns an error lists
_SCHEMA = {"text": pl.String, "reason": pl.String, "detail": pl.String}

# U+FFFD stands where a character was lost. The rest is UTF-8 that was read as cp1252 or Latin-1, in forms
# that no language writes: `Ã¼` for ü, `â€™` for an apostrophe, `ðŸ` for an emoji, `Ð¿Ñ€` for Cyrillic.
_CP1252 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_DAMAGED = (
    r"\x{FFFD}"
    r"|Ã(?:[\x{80}-\x{BF}€„†‡ˆ‰Š‹ŒŽ˜™š›œžŸ]|[‚ƒ…‘’“”•–—]\p{L})"
    r"|Â[\x{80}-\x{BF}]"
    rf"|â(?:€[\x{{80}}-\x{{BF}}{_CP1252}]|‚¬|„¢|œ[\x{{80}}-\x{{BF}}{_CP1252}])"
    rf"|(?:[ÐÑ][\x{{80}}-\x{{BF}}{_CP1252}]){{2}}"
    r"|ðŸ|ï»¿|ï¿½"
)


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A compiled template. `where` names its file or key.

    `needs` are the names it cannot do without, `needs_headers` the headers it takes from `row["Any Header"]`;
    what stands only under `default()` or `is defined` is in neither. `uses` are all names it looks up.
    """

    where: str
    needs: frozenset[str]
    needs_headers: frozenset[str]
    uses: frozenset[str]
    _lines: Mapping[str, int] = field(repr=False)
    _compiled: jinja2.Template = field(repr=False)

    def check(self, names: Collection[str], headers: Collection[str] | None = None) -> None:
        """Raises TemplateError for the first column that the template needs and that is not there.

        `names` are the names a template may use, `headers` the file's headers (None: `row[...]` is not
        checked).
        """
        absent = [(self._lines[name], name, f"`{name}`", names) for name in self.needs.difference(names)]
        if headers is not None:
            absent += [
                (self._lines[_row_key(header)], header, _row_key(header), headers)
                for header in self.needs_headers.difference(headers)
            ]
        if not absent:
            return
        line, name, shown, there = min(absent, key=lambda one: one[:2])
        near = difflib.get_close_matches(name.lower(), [one.lower() for one in there])
        close = [one for one in there if one.lower() in near]
        others = sorted({shown for _, _, shown, _ in absent} - {shown})
        raise TemplateError(
            f"there is no column {shown}" + (f" (nor {', '.join(others)})" if others else ""),
            where=f"{self.where}, line {line}",
            fix=(f"did you mean {_listed(close)}? " if close else "")
            + f"columns here: {_listed(there)}; or write `{shown.strip('`')} | default('...')`",
        )

    def text(self, variables: Mapping[str, Any]) -> str:
        """One text. Raises whatever the template raises, and SecurityError beyond MAX_CHARS."""
        parts: list[str] = []
        room = MAX_CHARS
        for part in self._compiled.root_render_func(self._compiled.new_context(dict(variables))):
            room -= len(part)
            if room < 0:
                raise SecurityError(f"the text is longer than {MAX_CHARS:,} characters")
            parts.append(part)
        text = "".join(parts)
        if not text.isascii():
            text.encode()  # a lone surrogate (an escape in the template) is no text
        return text


def compile_template(source: str, *, where: str) -> Template:
    """The template in `source`. Raises TemplateError with file and line if it is broken for every row."""
    damage = pl.Series([source]).str.extract(f"({_DAMAGED})").item()
    if damage is not None:
        line = source.count("\n", 0, source.index(damage)) + 1
        raise TemplateError(
            f"damaged characters (`{damage}`)", where=f"{where}, line {line}", fix="save the file as UTF-8"
        )
    environment = _environment()
    try:
        tree = environment.parse(source)
        _refuse_other_files(tree, where)
        uses = meta.find_undeclared_variables(tree) - {"self"}
        survey = _Survey(row_is_ours="row" in uses)
        survey.visit(tree, frozenset())
        needs = meta.find_undeclared_variables(tree) & survey.lines.keys() - environment.globals.keys() - {"row"}
        compiled = environment.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(
            str(error.message), where=f"{where}, line {error.lineno}", fix=_syntax_fix(str(error.message))
        ) from None
    except (RecursionError, SyntaxError, MemoryError):  # Python's limits on the code that jinja2 writes
        raise TemplateError("nested too deeply", where=where, fix="write it simpler") from None
    if survey.bare_row is not None and "row" in uses:
        raise TemplateError(
            "`row` stands for the whole row",
            where=f"{where}, line {survey.bare_row}",
            fix='write `row["Header"]` for the column you mean',
        )
    return Template(
        where=where,
        needs=frozenset(needs),
        needs_headers=frozenset(survey.headers),
        uses=frozenset(uses),
        _lines=survey.lines,
        _compiled=compiled,
    )


def render(template: Template, cells: pl.DataFrame, names: Mapping[str, str], n: int | None = None) -> pl.DataFrame:
    """Columns `text`, `reason`, `detail` (String), a row of `cells` each: a text, or `render_error` and why.

    `names` says which header each name in the template stands for. `n` is the number of rows where `cells`
    may have no columns.
    """
    count = cells.height if n is None else n
    wanted = {name: names[name] for name in sorted(template.uses & names.keys()) if name != "row"}
    headers = cells.columns if "row" in template.uses else list(dict.fromkeys(wanted.values()))
    if not headers:
        blocks: Iterable[Iterable[Any]] = [[_attempt(template, {"row": _Row()})] * count]
    else:
        filled = [pl.when(pl.col(name).str.strip_chars() != "").then(pl.col(name)).alias(name) for name in headers]
        variables = _variables(wanted, headers, with_row="row" in template.uses)
        blocks = (
            [_attempt(template, variables(row)) for row in block.select(filled).iter_rows()]
            for block in cells.iter_slices(_BLOCK_ROWS)
        )
    # Lists for columns: rows handed to polars cost as much as rendering them.
    frames = [pl.DataFrame(list(zip(*block, strict=True)) or None, schema=_SCHEMA) for block in blocks]
    return _without_damage(pl.concat(frames) if frames else pl.DataFrame(schema=_SCHEMA))


def verbatim(texts: pl.Series) -> pl.DataFrame:
    """`texts` as they stand, in the columns of `render`: only damaged characters are held."""
    nothing = pl.lit(None, dtype=pl.String)
    return _without_damage(pl.DataFrame({"text": texts.cast(pl.String)}).with_columns(reason=nothing, detail=nothing))


def _variables(
    wanted: Mapping[str, str], headers: list[str], *, with_row: bool
) -> Callable[[tuple[str | None, ...]], dict[str, Any]]:
    """What turns a row of `headers` into the template's variables; a blank cell (null) is left out."""
    places = [(name, headers.index(header)) for name, header in wanted.items()]

    def variables(row: tuple[str | None, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {name: row[place] for name, place in places if row[place] is not None}
        if with_row:
            found["row"] = _Row((header, cell) for header, cell in zip(headers, row, strict=True) if cell is not None)
        return found

    return variables


def _attempt(template: Template, variables: Mapping[str, Any]) -> tuple[str | None, str | None, str | None]:
    try:
        return template.text(variables), None, None
    except Exception as error:  # noqa: BLE001 (whatever a template raises belongs to its row)
        return None, SkipReason.RENDER_ERROR.value, _explained(error)


def _without_damage(frame: pl.DataFrame) -> pl.DataFrame:
    """`frame` with texts that hold damaged characters turned into a `render_error`."""
    damage = frame["text"].str.extract(f"({_DAMAGED})")
    if damage.null_count() == frame.height:
        return frame
    sentence = pl.format(
        "the text has damaged characters ({}): mend the cell, or set `recipients.encoding` to what the file is in",
        damage,
    )
    whole = pl.lit(damage.is_null())
    return frame.with_columns(
        text=pl.when(whole).then("text"),
        reason=pl.when(whole).then("reason").otherwise(pl.lit(SkipReason.RENDER_ERROR.value)),
        detail=pl.when(whole).then("detail").otherwise(sentence),
    )


class _Row(dict[str, str]):
    """`row` in a template: header to cell, without the blank ones."""


class _Blank(jinja2.StrictUndefined):
    """StrictUndefined, in words for whoever mends the row."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        name, of = self._undefined_name, self._undefined_obj
        if self._undefined_hint or not isinstance(name, str):
            return super()._undefined_message
        if isinstance(of, _Row):
            return f'{_row_key(name)} is blank; give it a value, or write {{{{ {_row_key(name)} | default("...") }}}}'
        if of is missing:
            return f"`{name}` is blank; give it a value, or write {{{{ {name} | default('...') }}}}"
        return super()._undefined_message


class _Environment(ImmutableSandboxedEnvironment):
    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if _size(operator, left, right) > 1:
            raise SecurityError(f"`{operator}` makes more than a message can hold")
        return super().call_binop(context, operator, left, right)


def _size(operator: str, left: Any, right: Any) -> float:
    """How large the result will be, as a part of what is allowed."""
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length()
        return (bits * right if operator == "**" else bits + right.bit_length()) / _MAX_BITS
    for sequence, times in ((left, right), (right, left)):
        if hasattr(sequence, "__len__") and isinstance(times, int):
            return len(sequence) * times / MAX_CHARS
    return 0


@cache
def _environment() -> _Environment:
    environment = _Environment(undefined=_Blank, autoescape=False, finalize=_shown, cache_size=0)
    del environment.globals["lipsum"], environment.filters["random"]  # chance: a plan must come out the same
    return environment


def _shown(value: Any) -> Any:
    if type(value) is str:  # nearly always: worth its own line
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise jinja2.UndefinedError(f"an expression came to `{value}`, which is nothing to send")
    return value


def _explained(error: Exception) -> str:
    """The sentence for a row: the template's line and what went wrong there."""
    line, trace = None, error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        line = template.get_corresponding_lineno(trace.tb_lineno) if template is not None else line
        trace = trace.tb_next
    known = isinstance(error, jinja2.TemplateError)
    what = str(error) if known else f"{type(error).__name__}: {error}"
    return (f"template line {line}: " if line else "") + what[:300]


def _listed(names: Iterable[str]) -> str:
    every = list({name.lower(): name for name in names}.values())  # `Name` and `name` are one column
    more = f" and {len(every) - _MOST_NAMED} more" if len(every) > _MOST_NAMED else ""
    return ", ".join(f"`{name}`" for name in every[:_MOST_NAMED]) + more if every else "none"


def _row_key(header: str) -> str:
    return f'row["{header}"]'


def _refuse_other_files(tree: nodes.Template, where: str) -> None:
    for node in tree.find_all((nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)):
        raise TemplateError(
            "a template stands alone: include, extends and import are not available",
            where=f"{where}, line {node.lineno}",
            fix="write the text into this file",
        )


def _syntax_fix(message: str) -> str | None:
    kind, _, rest = message.partition("named")
    name = rest.strip(" '.")
    known = {"No filter ": _environment().filters, "No test ": _environment().tests}.get(kind)
    near = difflib.get_close_matches(name, known, n=1) if known else []
    return f"did you mean `{near[0]}`?" if near else None


class _Survey:
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
        if header is not None and _row_key(header) not in safe:
            self.lines.setdefault(_row_key(header), node.lineno)
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
        return None if header is None else _row_key(header)

    def _header(self, node: nodes.Node | None) -> str | None:
        """The header in `row["Header"]` and `row.header`; None for any other expression."""
        if isinstance(node, nodes.Getitem) and self._is_row(node.node) and isinstance(node.arg, nodes.Const):
            return str(node.arg.value)
        if isinstance(node, nodes.Getattr) and self._is_row(node.node) and not hasattr(dict, node.attr):
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
