"""How much time and memory one text may take, whatever its template does.

Python cannot interrupt an operation, so an operation whose result may be large is estimated before it runs, and its
result is weighed afterwards. The unit is a character or an item. No value may weigh more than MAX_CHARS, counted with
all that is in it; a text may spend MAX_UNITS on new values, calls and turns of loops, and MAX_CPU_S of its thread's
time. The count is the same on every machine; the time limit is only a safety net below it. Never looks at what a
template means.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.utils import Namespace

MAX_CHARS = 100_000  # of one text or value; the longest message a provider takes has a few thousand
MAX_UNITS = 1_000_000  # spent on one text
MAX_CPU_S = 5.0  # of one text; a million units take about a second
FREE_UNITS = 10_000_000  # for all texts of a template together, in addition to UNITS_A_TEXT for each
UNITS_A_TEXT = 5_000
_MAX_BITS = 10_000  # of an integer
_SMALL_CHARS = 300  # 300 characters inserted between each of 300 are still within MAX_CHARS
CALL_UNITS = 20  # calling a macro takes as long as this many turns of a loop
_CHECK_UNITS = 1_000  # between two looks at the clock


class Overspent(Exception):  # noqa: N818 (not the fault of a row)
    """A template has used up what all its texts together may spend."""


class Budget:
    """What the text being rendered may still spend, and all texts of its template together.

    There is only one, so rendering holds `lock`; Python would not render two texts at once anyway.
    """

    __slots__ = ("_all_left", "_left", "_next_check", "_started_s", "lock")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.open()

    def open(self) -> None:
        """Start with the texts of a template."""
        self._all_left = FREE_UNITS
        self._left, self._next_check = MAX_UNITS, MAX_UNITS - _CHECK_UNITS
        self._started_s: float | None = None

    def begin(self) -> None:
        """Start the next text. Raises Overspent when the earlier ones have spent too much."""
        self._all_left += UNITS_A_TEXT - (MAX_UNITS - self._left)
        self._left, self._next_check, self._started_s = MAX_UNITS, MAX_UNITS - _CHECK_UNITS, None
        if self._all_left < 0:
            raise Overspent

    def spend(self, units: int) -> None:
        """Spend `units`. Raises SecurityError when the text has used up its share."""
        self._left -= units
        if self._left < self._next_check:
            self._check()

    def _check(self) -> None:
        self._next_check = self._left - _CHECK_UNITS
        if self._left < 0:
            raise SecurityError(f"this text takes more than {MAX_UNITS:,} steps to render")
        now_s = time.thread_time()
        if self._started_s is None:
            self._started_s = now_s
        elif now_s - self._started_s > MAX_CPU_S:
            raise SecurityError(f"this text takes more than {MAX_CPU_S:g} seconds to render")


BUDGET = Budget()


def too_large(what: str) -> SecurityError:
    """Return the error for an operation whose result would be too large."""
    return SecurityError(f"`{what}` makes more than a message can hold")


def weigh(value: Any) -> int:
    """Return the number of characters and items in `value`; counting stops beyond MAX_CHARS.

    An item that occurs twice counts twice, because it is written twice when a list becomes text.
    """
    if type(value) is str:  # nearly always, so it is worth a line of its own
        return len(value)
    total, stack = 0, [value]
    while stack and total <= MAX_CHARS:
        item = stack.pop()
        total += 1
        if isinstance(item, str | bytes | bytearray | range):
            total += len(item)
        elif isinstance(item, bool | float) or item is None:
            continue
        elif isinstance(item, int):
            total += item.bit_length() // 3
        elif isinstance(item, Namespace):
            stack.append(object.__getattribute__(item, "_Namespace__attrs"))
        elif isinstance(item, Mapping):
            if len(item) > MAX_CHARS:
                return len(item)
            stack.extend(item.keys())
            stack.extend(item.values())
        elif isinstance(item, Sequence | set | frozenset):
            if len(item) > MAX_CHARS:
                return len(item)
            stack.extend(item)
    return total


def charge(value: Any, what: str) -> Any:
    """Return `value` after spending its weight. Raises SecurityError if it is too large."""
    weight = weigh(value) if type(value) is not range else 1  # a range has no items until it is used
    if weight > MAX_CHARS:
        raise too_large(what)
    BUDGET.spend(1 + weight)
    return value


def check_call(name: str, value: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raise SecurityError if the filter or method `name` on `value` would return too much."""
    if not kwargs and name not in _BY_NUMBER and _is_small(value, args):
        return
    arguments = [*args, *kwargs.values()]
    weight = weigh(value) + sum(map(weigh, arguments))
    if weight > MAX_CHARS:
        raise too_large(name)
    BUDGET.spend(1 + weight)
    growth = _GROWTH.get(name)
    if growth is not None and growth(value, arguments) > MAX_CHARS:
        raise too_large(name)


def _is_small(value: Any, args: Sequence[Any]) -> bool:
    """Whether even the product of these texts is within bounds. (The result is still paid for.)"""
    if type(value) is not str:
        return False
    chars = len(value)
    for argument in args:
        if type(argument) is str:
            chars += len(argument)
        elif type(argument) is not int and type(argument) is not bool:
            return False
    return chars <= _SMALL_CHARS


def check_binop(operator: str, left: Any, right: Any) -> None:
    """Raise SecurityError if `*`, `**` or `%` would return too much. (`+` returns no more than its operands hold.)"""
    if operator == "%":
        if isinstance(left, str | bytes) and _formatted_size(left, [right]) > MAX_CHARS:
            raise too_large("%")
    elif operator in {"*", "**"} and _product_share(operator, left, right) > 1:
        raise too_large(operator)


def check_width(spec: str) -> None:
    """Raise SecurityError if a format specification, such as `>100`, pads too far."""
    width = sum(int(digits) for digits in re.findall(r"\d+", spec))
    if width > MAX_CHARS:
        raise too_large("format")
    BUDGET.spend(width)


def _product_share(operator: str, left: Any, right: Any) -> float:
    """Return the size of the result as a share of what is allowed."""
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length()
        return (bits * right if operator == "**" else bits + right.bit_length()) / _MAX_BITS
    for sequence, times in ((left, right), (right, left)):
        if hasattr(sequence, "__len__") and isinstance(times, int):
            return weigh(sequence) * times / MAX_CHARS
    return 0


# How large a result may get, by filter or method: (value, arguments) -> units.


def _largest_number(arguments: Sequence[Any]) -> int:
    return max((abs(argument) for argument in arguments if isinstance(argument, int)), default=0)


def _text_length(arguments: Sequence[Any]) -> int:
    return sum(len(argument) for argument in arguments if isinstance(argument, str | bytes))


def _padded_size(_: Any, arguments: Sequence[Any]) -> int:
    return _largest_number(arguments)


def _indented_size(value: Any, arguments: Sequence[Any]) -> int:
    return weigh(value) * (_largest_number(arguments) + _text_length(arguments))


def _inserted_size(value: Any, arguments: Sequence[Any]) -> int:
    """A text may be inserted between any two characters or items."""
    return (weigh(value) + 1) * _text_length(arguments)


def _joined_size(value: Any, arguments: Sequence[Any]) -> int:
    """`items | join(text)` and `text.join(items)`."""
    by_method = weigh(value) * sum(map(weigh, arguments)) if isinstance(value, str) else 0
    return max(_inserted_size(value, arguments), by_method)


def _replaced_size(value: Any, arguments: Sequence[Any]) -> int:
    if len(arguments) < 2 or not isinstance(value, str | bytes):
        return _inserted_size(value, arguments)
    old, new = (text if isinstance(text, type(value)) else str(text) for text in arguments[:2])
    return weigh(value) + value.count(old) * len(new)  # type: ignore[arg-type]


def _tabbed_size(value: Any, arguments: Sequence[Any]) -> int:
    return weigh(value) * max(_largest_number(arguments), 8)


def _formatted_size(value: Any, arguments: Sequence[Any]) -> int:
    """`'%5s' % x`: widths in the text, widths among the arguments (`*`), and each argument once for each `%`."""
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    widths = sum(int(digits) for digits in re.findall(r"%[^%a-zA-Z]*?(\d{4,})", text)) + sum(
        int(digits) for digits in re.findall(r"\.(\d{4,})", text)
    )
    starred: list[Any] = []
    if "*" in text:
        starred = [item for group in arguments for item in (group if isinstance(group, tuple) else [group])]
    return widths + _largest_number(starred) + text.count("%") * sum(map(weigh, arguments))


def _braced_size(value: Any, arguments: Sequence[Any]) -> int:
    return str(value).count("{") * sum(map(weigh, arguments))


def _unbounded_size(_: Any, __: Sequence[Any]) -> int:
    return MAX_CHARS + 1


# Where a number or a format in the arguments decides the size of the result.
_BY_NUMBER = frozenset(
    {"center", "ljust", "rjust", "zfill", "to_bytes", "batch", "slice", "round", "indent", "tojson", "expandtabs"}
    | {"format", "str.format", "format_map", "translate"}
)

# For the filters and methods that can make a large result of small values.
_GROWTH: Mapping[str, Callable[[Any, Sequence[Any]], int]] = {
    **dict.fromkeys(("center", "ljust", "rjust", "zfill", "to_bytes", "batch", "slice", "round"), _padded_size),
    **dict.fromkeys(("indent", "tojson"), _indented_size),
    **dict.fromkeys(("wordwrap", "urlize"), _inserted_size),
    "join": _joined_size,
    "replace": _replaced_size,
    "expandtabs": _tabbed_size,
    "format": _formatted_size,
    "str.format": _braced_size,
    "format_map": _braced_size,
    "translate": _unbounded_size,  # a table can replace any character by any text; no message needs that
}
