"""The jinja2 environment of templates: sandboxed, strict about blanks, without randomness, bounded by
`sender.templating.budget`.

Reads no files; what is in a template's tree is for `sender.templating.instrument`.
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

from sender.core.outcomes import SkipReason
from sender.templating.blanks import Blank, PlaceholderError
from sender.templating.budget import BUDGET, CALL_UNITS, charge, check_binop, check_call, check_width
from sender.templating.filters import FILTERS
from sender.templating.nested_values import Nested, NoValue, has_text_method

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


class _Formatter(SandboxedFormatter):
    def format_field(self, value: Any, format_spec: str) -> Any:
        check_width(format_spec)
        return super().format_field(value, format_spec)


class _MarkupFormatter(_Formatter, SandboxedEscapeFormatter):
    pass


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """jinja2's sandbox; operations that can return much are checked before they run and weighed after."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, Nested):
            found = obj.look_up(attribute)
            if found is not missing:
                return found
            if not hasattr(type(obj), attribute):
                obj = str(obj)  # `tags.split(", ")`
        elif isinstance(obj, Blank) and not attribute.startswith("_"):
            return obj.inside(attribute)
        elif isinstance(obj, NoValue) and not has_text_method(attribute):
            return obj
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Nested):
            found = obj.look_up(argument)
            return self.getattr(obj, str(argument)) if found is missing else found
        if isinstance(obj, Blank) and isinstance(argument, str | int):
            return obj.inside(argument)
        return obj if isinstance(obj, NoValue) else super().getitem(obj, argument)

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
    jinja.filters.update({name: _of_text(jinja.filters[name]) for name in ("indent", "truncate", "wordwrap")})
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


def _of_text(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that takes a mapping or a list of a cell as its text, as most others do by themselves."""
    with_context = hasattr(function, "jinja_pass_arg")

    def filtered(*args: Any, **kwargs: Any) -> Any:
        at = 1 if with_context else 0
        if isinstance(args[at], Nested):
            args = (*args[:at], str(args[at]), *args[at + 1 :])
        return function(*args, **kwargs)

    return update_wrapper(filtered, function)


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


def reason_of(error: Exception) -> str:
    """Return the reason of a row whose text raised `error`."""
    return (SkipReason.MISSING_DATA if isinstance(error, PlaceholderError) else SkipReason.RENDER_ERROR).value


def describe_failure(error: Exception, line: int | None = None) -> str:
    """Return the sentence for a row: the template's line and what went wrong there.

    `line` is for an error that no template has raised.
    """
    trace = error.__traceback__
    while trace is not None:
        template = trace.tb_frame.f_globals.get("__jinja_template__")
        line = template.get_corresponding_lineno(trace.tb_lineno) if isinstance(template, JinjaTemplate) else line
        trace = trace.tb_next
    known = isinstance(error, jinja2.TemplateError)
    what = str(error) if known else f"{type(error).__name__}: {error}"
    return (f"template line {line}: " if line else "") + what[:300]
