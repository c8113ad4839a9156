"""A compiled template: what it requires, and one text from it at a time.

A text is what plain jinja2 renders in a sandbox with StrictUndefined and without escaping, with
`sender.templating.filters` in addition to jinja2's own. As in jinja2, one final newline of the source is dropped and
every line break of the source becomes a line feed. A template reaches no files, no Python internals and nothing random:
the same inputs give the same texts.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jinja2
import polars as pl
from jinja2 import meta, nodes
from jinja2.exceptions import SecurityError

from sender.core.composed_text import compose_text
from sender.core.errors import TemplateError
from sender.templating.blanks import row_key
from sender.templating.budget import BUDGET, MAX_CHARS
from sender.templating.filters import FILTERS, find_misuse
from sender.templating.instrument import Names, instrumented
from sender.templating.jinja_environment import environment
from sender.templating.variables import find_required_variables

TOO_LONG = f"the text is longer than {MAX_CHARS:,} characters"
_MOST_NAMED = 30  # columns an error lists

# U+FFFD replaces a character that was lost. The rest is UTF-8 that was read as cp1252 or Latin-1, in sequences
# that no language uses: `Ã¼` for ü, `â€™` for an apostrophe, `ðŸ` for an emoji, `Ð¿Ñ€` for Cyrillic.
_CP1252 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
DAMAGED = (
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

    `needs` are the names it requires, `needs_headers` the headers in `row["Any Header"]`; what has a `default()` or is
    tested by `is defined` is in neither. `uses` are all names it looks up. `placeholders` are words which, alone in a
    cell, stand for a missing value.
    """

    where: str
    needs: frozenset[str]
    needs_headers: frozenset[str]
    uses: frozenset[str]
    source: str = field(repr=False)
    placeholders: frozenset[str] = field(repr=False)
    _looked_up: frozenset[str] | None = field(repr=False)  # headers in `row["Header"]`; None: any
    _lines: Mapping[str, int] = field(repr=False)
    _compiled: jinja2.Template = field(repr=False)

    def check(self, names: Collection[str], headers: Collection[str] | None = None) -> None:
        """Raise TemplateError for the first column that the template needs and that is missing.

        `names` are the names a template may use, `headers` the file's headers (None: `row[...]` is not checked).
        """
        absent = [(self._lines[name], name, f"`{name}`", names) for name in self.needs.difference(names)]
        if headers is not None:
            absent += [
                (self._lines[row_key(header)], header, row_key(header), headers)
                for header in self.needs_headers.difference(headers)
            ]
        if not absent:
            return
        line, name, shown, there = min(absent, key=lambda column: column[:2])
        near = difflib.get_close_matches(name.lower(), [column.lower() for column in there])
        close = [column for column in there if column.lower() in near]
        others = sorted({shown for _, _, shown, _ in absent} - {shown})
        raise TemplateError(
            f"there is no column {shown}" + (f" (nor {', '.join(others)})" if others else ""),
            where=f"{self.where}, line {line}",
            fix=(f"did you mean {_listed(close)}? " if close else "")
            + f"columns here: {_listed(there)}; or write `{shown.strip('`')} | default('...')`",
        )

    def used_headers(self, names: Mapping[str, str], headers: Collection[str]) -> list[str]:
        """Return those of `headers` whose cells the template may look at, in order. `names` maps names to headers."""
        by_name = {names[name] for name in self.uses & names.keys() if name != "row"}
        by_row = self._looked_up if self._looked_up is not None else headers if "row" in self.uses else ()
        return [header for header in headers if header in by_name or header in by_row]

    def render_text(self, variables: Mapping[str, Any]) -> str:
        """Render one text. Raises whatever the template raises, and SecurityError beyond MAX_CHARS."""
        parts: list[str] = []
        room = MAX_CHARS
        BUDGET.begin()
        for part in self._compiled.root_render_func(self._compiled.new_context(dict(variables))):
            room -= len(part)
            if room < 0:
                raise SecurityError(TOO_LONG)
            parts.append(part)
        text = "".join(parts)
        if not text.isascii():
            text.encode()  # raises for a lone surrogate (an escape in the template)
        return text


def compile_template(source: str, *, where: str, placeholders: Collection[str] = ()) -> Template:
    """Return the template in `source`, compiled. Raises TemplateError with file and line if it fails for every row.

    Its letters are composed (`sender.core.composed_text`). A cell that is one of `placeholders` counts as blank; a row
    that needs it fails as `missing_data`.
    """
    source = compose_text(source)
    damage = pl.Series([source]).str.extract(f"({DAMAGED})").item()
    if damage is not None:
        line = source.count("\n", 0, source.index(damage)) + 1
        raise TemplateError(
            f"damaged characters (`{damage}`)", where=f"{where}, line {line}", fix="save the file as UTF-8"
        )
    if len(source) > MAX_CHARS:
        raise TemplateError(
            f"longer than {MAX_CHARS:,} characters", where=where, fix="shorten it: a message has room for far less"
        )
    jinja = environment()
    try:
        tree = jinja.parse(source)
        _refuse_other_files(tree, where)
        _refuse_misuse(tree, where)
        uses = Names(tree).free - {"self"}
        required = find_required_variables(tree, row_is_ours="row" in uses)
        needs = meta.find_undeclared_variables(tree) & required.lines.keys() - jinja.globals.keys() - {"row"}
        compiled = jinja.from_string(instrumented(jinja.parse(source))[0])
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(
            str(error.message), where=f"{where}, line {error.lineno}", fix=_syntax_fix(str(error.message))
        ) from None
    except (RecursionError, SyntaxError, MemoryError):  # Python's limits on the code that jinja2 generates
        raise TemplateError("nested too deeply", where=where, fix="simplify it") from None
    if required.bare_row is not None and "row" in uses:
        raise TemplateError(
            "`row` alone is the whole row",
            where=f"{where}, line {required.bare_row}",
            fix='write `row["Header"]` for the column you mean',
        )
    return Template(
        where=where,
        needs=frozenset(needs),
        needs_headers=required.headers,
        uses=uses,
        source=source,
        placeholders=frozenset(placeholders),
        _looked_up=None if required.any_header else required.looked_up,
        _lines=required.lines,
        _compiled=compiled,
    )


def _listed(names: Iterable[str]) -> str:
    every = list({name.lower(): name for name in names}.values())  # `Name` and `name` are the same column
    more = f" and {len(every) - _MOST_NAMED} more" if len(every) > _MOST_NAMED else ""
    return ", ".join(f"`{name}`" for name in every[:_MOST_NAMED]) + more if every else "none"


def _refuse_other_files(tree: nodes.Template, where: str) -> None:
    for node in tree.find_all((nodes.Include, nodes.Extends, nodes.Import, nodes.FromImport)):
        raise TemplateError(
            "include, extends and import are not available in a template",
            where=f"{where}, line {node.lineno}",
            fix="write the text into this file",
        )


def _refuse_misuse(tree: nodes.Template, where: str) -> None:
    """Raise TemplateError for a filter of ours whose arguments are wrong for every row."""
    for node in tree.find_all(nodes.Filter):
        if node.name not in FILTERS or node.dyn_args is not None or node.dyn_kwargs is not None:
            continue
        args = [_constant(argument) for argument in node.args]
        kwargs = {str(pair.key): _constant(pair.value) for pair in node.kwargs}
        wrong = find_misuse(node.name, args, kwargs)
        if wrong is not None:
            raise TemplateError(wrong, where=f"{where}, line {node.lineno}", fix="see docs/templates.md")


def _constant(node: nodes.Expr) -> Any:
    """Return the value of a constant; None where the value depends on the row."""
    return node.value if isinstance(node, nodes.Const) else None


def _syntax_fix(message: str) -> str | None:
    kind, _, rest = message.partition("named")
    name = rest.strip(" '.")
    known = {"No filter ": environment().filters, "No test ": environment().tests}.get(kind)
    near = difflib.get_close_matches(name, known, n=1) if known else []
    return f"did you mean `{near[0]}`?" if near else None
