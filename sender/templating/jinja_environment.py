"""The jinja2 that templates run in: sandboxed, strict about blanks, without chance, bounded by
`sender.templating.budget`.

Also the words in which a row says what is missing in it. Reads no files; what stands in a template's tree is the
business of `sender.templating.instrument`.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Sequence
from functools import cache, update_wrapper
from typing import Any

import jinja2
from jinja2.environment import Template as JinjaTemplate
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEscapeFormatter, SandboxedFormatter
from jinja2.utils import missing, pass_context
from markupsafe import Markup

from sender.templating.budget import BUDGET, CALL_UNITS, check_binop, check_call, check_width, held
from sender.templating.filters import FILTERS

# Filters whose result is no longer than a few times a text, and no longer again when they are repeated: they may
# run as they are.
HARMLESS = frozenset(
    {"default", "d", "upper", "lower", "trim", "capitalize", "title", "length", "count", "first", "last", "int"}
    | {"float", "abs", *FILTERS}
)
# Text to text; a cell grows by no more than written, short arguments allow, so once on a cell they may run as they are.
ONCE = frozenset({"center", "indent", "replace", "string", "truncate", "wordwrap"})

# Filters of our own in a tree. No template can write these names, and `map` refuses them.
_OURS = "\0"
BEGIN, TURN, HELD, CONCAT, SHOWN = (_OURS + one for one in ("begin", "turn", "held", "concat", "shown"))


class TemplateRow(dict[str, str]):
    """`row` in a template: header to cell, without the blank ones."""


def row_key(header: str) -> str:
    """How a template writes the column `header`."""
    return f'row["{header}"]'


def is_header(name: str) -> bool:
    """Whether `row.name` can only be a column, not something that every dict has."""
    return not hasattr(TemplateRow, name)


class Blank(jinja2.StrictUndefined):
    """StrictUndefined, in words for whoever mends the row."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        name, of = self._undefined_name, self._undefined_obj
        if self._undefined_hint or not isinstance(name, str):
            return super()._undefined_message
        if isinstance(of, TemplateRow):
            return f'{row_key(name)} is blank; give it a value, or write {{{{ {row_key(name)} | default("...") }}}}'
        if of is missing:
            return f"`{name}` is blank; give it a value, or write {{{{ {name} | default('...') }}}}"
        return super()._undefined_message


def blank(name: str) -> Blank:
    """What the name of a blank cell stands for."""
    return Blank(name=name)


def blank_in_row(header: str) -> Blank:
    """What `row["header"]` stands for when the cell is blank."""
    return Blank(obj=TemplateRow(), name=header)


class _Formatter(SandboxedFormatter):
    def format_field(self, value: Any, format_spec: str) -> Any:
        check_width(format_spec)
        return super().format_field(value, format_spec)


class _MarkupFormatter(_Formatter, SandboxedEscapeFormatter):
    pass


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """jinja2's sandbox, with what can grow checked before and weighed after."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        check_binop(operator, left, right)
        return held(super().call_binop(context, operator, left, right), operator)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        BUDGET.spend(CALL_UNITS)
        of = getattr(obj, "__self__", None)
        if type(of) is str:
            check_call(obj.__name__, of, args, kwargs)
        elif hasattr(obj, "__wrapped__") and obj.__name__ in {"format", "format_map"}:
            name = "str.format" if obj.__name__ == "format" else "format_map"
            check_call(name, obj.__wrapped__.__self__, args, kwargs)
        elif of is None or isinstance(of, type | types.ModuleType):
            check_call("call", "", args, kwargs)
        else:
            check_call(str(getattr(obj, "__name__", "call")), of, args, kwargs)
        return held(super().call(context, obj, *args, **kwargs), "()")

    def call_test(self, name: str, value: Any, args: Sequence[Any] | None = None, *rest: Any, **more: Any) -> Any:
        check_call("test", value, args or (), {})  # `select` and `reject` come here for each item
        return super().call_test(name, value, args, *rest, **more)

    def call_filter(self, name: str, value: Any, args: Sequence[Any] | None = None, *rest: Any, **more: Any) -> Any:
        if name.startswith(_OURS):
            raise SecurityError(f"there is no filter {name!r}")
        check_call("filter", value, args or (), {})  # as does `map`
        return held(super().call_filter(name, value, args, *rest, **more), name)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        if super().wrap_str_format(value) is None:
            return None
        text, by_map = value.__self__, value.__name__ == "format_map"

        def wrapper(*args: Any, **kwargs: Any) -> str:
            formatter = _MarkupFormatter(self, escape=text.escape) if isinstance(text, Markup) else _Formatter(self)
            if by_map and (kwargs or len(args) != 1):
                raise TypeError("format_map() takes one mapping")
            made: str = type(text)(formatter.vformat(text, () if by_map else args, args[0] if by_map else kwargs))
            return made

        return update_wrapper(wrapper, value)


@cache
def environment() -> BoundedEnvironment:
    """The one environment of all templates."""
    made = BoundedEnvironment(undefined=Blank, autoescape=False, cache_size=0)
    del made.globals["lipsum"], made.filters["random"]  # chance: a plan must come out the same
    made.filters.update(FILTERS)
    plain = dict(made.filters)
    made.filters.update({name: _guarded(name, plain[name]) for name in plain if name not in HARMLESS})
    made.filters.update({once_name(name): plain[name] for name in ONCE})
    made.filters.update({BEGIN: _begin, TURN: _turn, HELD: _held, CONCAT: _concat, SHOWN: _shown})
    return made


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter `function` within bounds. It takes the context, so jinja2 never runs it while compiling."""
    kind = getattr(getattr(function, "jinja_pass_arg", None), "name", None)

    def guarded(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        check_call(name, value, args, kwargs)
        match kind:
            case "context":
                made = function(context, value, *args, **kwargs)
            case "eval_context":
                made = function(context.eval_ctx, value, *args, **kwargs)
            case "environment":
                made = function(context.environment, value, *args, **kwargs)
            case _:
                made = function(value, *args, **kwargs)
        return held(made, name)

    return pass_context(update_wrapper(guarded, function, updated=()))


def once_name(name: str) -> str:
    """What the filter `name`, one of ONCE, is called in a tree where it may run as it is."""
    return _OURS + name


@pass_context
def _begin(_: Context, __: None) -> None:
    BUDGET.begin()


@pass_context
def _turn(_: Context, units: int) -> bool:
    BUDGET.spend(units)
    return True


@pass_context
def _held(_: Context, value: Any) -> Any:
    return held(value, "[...]")


@pass_context
def _concat(_: Context, *values: Any) -> str:
    check_call("~", "", values, {})
    return str(held("".join(map(str, values)), "~"))


@pass_context
def _shown(_: Context, value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise jinja2.UndefinedError(f"an expression came to `{value}`, which is nothing to send")
    return held(value, "{{ }}")


def explained(error: Exception) -> str:
    """The sentence for a row: the template's line and what went wrong there."""
    line, trace = None, error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        line = template.get_corresponding_lineno(trace.tb_lineno) if isinstance(template, JinjaTemplate) else line
        trace = trace.tb_next
    known = isinstance(error, jinja2.TemplateError)
    what = str(error) if known else f"{type(error).__name__}: {error}"
    return (f"template line {line}: " if line else "") + what[:300]
