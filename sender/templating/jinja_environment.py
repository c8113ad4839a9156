"""The jinja2 environment of templates: sandboxed, strict about blanks, without randomness, bounded by
`sender.templating.budget`.

Also the sentences that say what is missing in a row. Reads no files; what is in a template's tree is for
`sender.templating.instrument`.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Mapping, Sequence
from functools import cache, update_wrapper
from typing import Any

import jinja2
from jinja2.environment import Template as JinjaTemplate
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEscapeFormatter, SandboxedFormatter
from jinja2.utils import missing, pass_context
from markupsafe import Markup

from sender.templating.budget import BUDGET, CALL_UNITS, charge, check_binop, check_call, check_width
from sender.templating.filters import FILTERS

# Filters whose result is at most a few times as long as the text, also when they are repeated: they run as they are.
HARMLESS = frozenset(
    {"default", "d", "upper", "lower", "trim", "capitalize", "title", "length", "count", "first", "last", "int"}
    | {"float", "abs", *FILTERS}
)
# Text to text. With short, constant arguments a cell grows little, so once on a cell they run as they are.
ONCE = frozenset({"center", "indent", "replace", "string", "truncate", "wordwrap"})

# Our own filters in a tree. No template can write these names, and `map` refuses them.
_OURS = "\0"
BEGIN, TURN, CHARGE, CONCAT, SHOW = (_OURS + name for name in ("begin", "turn", "charge", "concat", "show"))


class TemplateRow(dict[str, str]):
    """`row` in a template: header to cell, without the blank ones and the placeholders, which it keeps apart."""

    _placeholders: Mapping[str, str] = types.MappingProxyType({})  # by header

    def set_apart(self, placeholders: Mapping[str, str]) -> None:
        """Say which headers hold a placeholder, and which."""
        self._placeholders = placeholders

    def placeholder(self, header: object) -> str | None:
        """Return the placeholder in the cell; None if there is none."""
        return self._placeholders.get(header) if isinstance(header, str) else None


class PlaceholderError(jinja2.UndefinedError):
    """The text needs a cell that holds a placeholder."""


def row_key(header: str) -> str:
    """Return the column `header` as a template writes it."""
    return f'row["{header}"]'


def is_header(name: str) -> bool:
    """Whether `row.name` can only be a column, not an attribute that every dict has."""
    return not hasattr(TemplateRow, name)


class Blank(jinja2.StrictUndefined):
    """StrictUndefined, with a sentence for the person who fixes the row."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | None = None,
        exc: type[jinja2.TemplateRuntimeError] = jinja2.UndefinedError,
    ) -> None:
        word = obj.placeholder(name) if isinstance(obj, TemplateRow) else None
        if word is not None:
            hint, exc = (
                _placeholder_sentence(row_key(str(name)), f'{row_key(str(name))} | default("...")', word),
                PlaceholderError,
            )
        super().__init__(hint, obj, name, exc)

    def holding(self, word: str) -> Blank:
        """Return the value of the same cell where it holds the placeholder `word`."""
        name = str(self._undefined_name)
        if isinstance(self._undefined_obj, TemplateRow):
            row = TemplateRow()
            row.set_apart({name: word})
            return Blank(obj=row, name=name)
        sentence = _placeholder_sentence(f"`{name}`", f"{name} | default('...')", word)
        return Blank(hint=sentence, name=name, exc=PlaceholderError)

    @property
    def _undefined_message(self) -> str:
        name, owner = self._undefined_name, self._undefined_obj
        if self._undefined_hint or not isinstance(name, str):
            return super()._undefined_message
        if isinstance(owner, TemplateRow):
            return f'{row_key(name)} is blank; give it a value, or write {{{{ {row_key(name)} | default("...") }}}}'
        if owner is missing:
            return f"`{name}` is blank; give it a value, or write {{{{ {name} | default('...') }}}}"
        return super()._undefined_message


def _placeholder_sentence(shown: str, with_default: str, word: str) -> str:
    return (
        f"{shown} holds `{word}`, which stands for a missing value; give it a value, or write {{{{ {with_default} }}}}"
    )


def blank(name: str) -> Blank:
    """Return the value of a blank cell's name."""
    return Blank(name=name)


def blank_in_row(header: str) -> Blank:
    """Return the value of `row["header"]` when the cell is blank."""
    return Blank(obj=TemplateRow(), name=header)


class _Formatter(SandboxedFormatter):
    def format_field(self, value: Any, format_spec: str) -> Any:
        check_width(format_spec)
        return super().format_field(value, format_spec)


class _MarkupFormatter(_Formatter, SandboxedEscapeFormatter):
    pass


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """jinja2's sandbox; operations that can return much are checked before they run and weighed after."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        check_binop(operator, left, right)
        return charge(super().call_binop(context, operator, left, right), operator)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        BUDGET.spend(CALL_UNITS)
        owner = getattr(obj, "__self__", None)
        if type(owner) is str:
            check_call(obj.__name__, owner, args, kwargs)
        elif hasattr(obj, "__wrapped__") and obj.__name__ in {"format", "format_map"}:
            name = "str.format" if obj.__name__ == "format" else "format_map"
            check_call(name, obj.__wrapped__.__self__, args, kwargs)
        elif owner is None or isinstance(owner, type | types.ModuleType):
            check_call("call", "", args, kwargs)
        else:
            check_call(str(getattr(obj, "__name__", "call")), owner, args, kwargs)
        return charge(super().call(context, obj, *args, **kwargs), "()")

    def call_test(self, name: str, value: Any, args: Sequence[Any] | None = None, *rest: Any, **more: Any) -> Any:
        check_call("test", value, args or (), {})  # `select` and `reject` come here for each item
        return super().call_test(name, value, args, *rest, **more)

    def call_filter(self, name: str, value: Any, args: Sequence[Any] | None = None, *rest: Any, **more: Any) -> Any:
        if name.startswith(_OURS):
            raise SecurityError(f"there is no filter {name!r}")
        check_call("filter", value, args or (), {})  # as does `map`
        return charge(super().call_filter(name, value, args, *rest, **more), name)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        if super().wrap_str_format(value) is None:
            return None
        text, by_map = value.__self__, value.__name__ == "format_map"

        def wrapper(*args: Any, **kwargs: Any) -> str:
            formatter = _MarkupFormatter(self, escape=text.escape) if isinstance(text, Markup) else _Formatter(self)
            if by_map and (kwargs or len(args) != 1):
                raise TypeError("format_map() takes one mapping")
            result: str = type(text)(formatter.vformat(text, () if by_map else args, args[0] if by_map else kwargs))
            return result

        return update_wrapper(wrapper, value)


@cache
def environment() -> BoundedEnvironment:
    """Return the environment that all templates share."""
    jinja = BoundedEnvironment(undefined=Blank, autoescape=False, cache_size=0)
    del jinja.globals["lipsum"], jinja.filters["random"]  # random: the same inputs must give the same plan
    jinja.filters.update(FILTERS)
    plain = dict(jinja.filters)
    jinja.filters.update({name: _guard(name, plain[name]) for name in plain if name not in HARMLESS})
    jinja.filters.update({once_name(name): plain[name] for name in ONCE})
    jinja.filters.update({BEGIN: _begin, TURN: _turn, CHARGE: _charge, CONCAT: _concat, SHOW: _show})
    return jinja


def _guard(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the filter `function` within bounds. It takes the context, so jinja2 never runs it while compiling."""
    kind = getattr(getattr(function, "jinja_pass_arg", None), "name", None)

    def guarded(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
        check_call(name, value, args, kwargs)
        match kind:
            case "context":
                result = function(context, value, *args, **kwargs)
            case "eval_context":
                result = function(context.eval_ctx, value, *args, **kwargs)
            case "environment":
                result = function(context.environment, value, *args, **kwargs)
            case _:
                result = function(value, *args, **kwargs)
        return charge(result, name)

    return pass_context(update_wrapper(guarded, function, updated=()))


def once_name(name: str) -> str:
    """Return the name that the filter `name`, one of ONCE, has in a tree where it runs as it is."""
    return _OURS + name


@pass_context
def _begin(_: Context, __: None) -> None:
    BUDGET.begin()


@pass_context
def _turn(_: Context, units: int) -> bool:
    BUDGET.spend(units)
    return True


@pass_context
def _charge(_: Context, value: Any) -> Any:
    return charge(value, "[...]")


@pass_context
def _concat(_: Context, *values: Any) -> str:
    check_call("~", "", values, {})
    return str(charge("".join(map(str, values)), "~"))


@pass_context
def _show(_: Context, value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise jinja2.UndefinedError(f"the value of an expression is `{value}`, which cannot be sent")
    return charge(value, "{{ }}")


def describe_failure(error: Exception) -> str:
    """Return the sentence for a row: the template's line and what went wrong there."""
    line, trace = None, error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        line = template.get_corresponding_lineno(trace.tb_lineno) if isinstance(template, JinjaTemplate) else line
        trace = trace.tb_next
    known = isinstance(error, jinja2.TemplateError)
    what = str(error) if known else f"{type(error).__name__}: {error}"
    return (f"template line {line}: " if line else "") + what[:300]
