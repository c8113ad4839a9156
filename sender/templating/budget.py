"""How much time and memory one text may take, whatever its template does.

Python cannot interrupt an operation, so nothing here waits for one to end: what could grow is estimated before
it is done and weighed afterwards. The unit is a character or an item. No value may weigh more than MAX_CHARS,
counted deep; a text may spend MAX_UNITS on values made, calls and turns of loops, and MAX_CPU_S of its thread's
time. Counting is the same on every machine and system; the time is only a net below it. Never looks at what a
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

MAX_CHARS = 100_000  # of one text or value; the longest a provider takes is some thousands
MAX_UNITS = 1_000_000  # spent on one text
MAX_CPU_S = 5.0  # of one text; a million units take about a second
FREE_UNITS = 10_000_000  # of all texts of a template together, beside UNITS_A_TEXT for each
UNITS_A_TEXT = 5_000
_MAX_BITS = 10_000  # of an integer
_SMALL_CHARS = 300  # 300 characters put between 300 characters are still within bounds
CALL_UNITS = 20  # a call of a macro takes as long as a loop's turns
_LOOK_UNITS = 1_000  # between two looks at the clock


class Overspent(Exception):  # noqa: N818 (no fault of a row)
    """A template has used up what all its texts may spend together."""


class Budget:
    """What the text being made may still spend, and all texts of its template together.

    There is one, so whoever makes texts holds `lock`: Python would not make two at once anyway.
    """

    __slots__ = ("_all_left", "_begun_s", "_left", "_next_look", "lock")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.open()

    def open(self) -> None:
        """Starts the texts of a template."""
        self._all_left = FREE_UNITS
        self._left, self._next_look = MAX_UNITS, MAX_UNITS - _LOOK_UNITS
        self._begun_s: float | None = None

    def begin(self) -> None:
        """Starts the next text. Raises Overspent when those before have spent too much."""
        self._all_left += UNITS_A_TEXT - (MAX_UNITS - self._left)
        self._left, self._next_look, self._begun_s = MAX_UNITS, MAX_UNITS - _LOOK_UNITS, None
        if self._all_left < 0:
            raise Overspent

    def spend(self, units: int) -> None:
        """Takes `units` off. Raises SecurityError when the text's share is used up."""
        self._left -= units
        if self._left < self._next_look:
            self._look()

    def _look(self) -> None:
        self._next_look = self._left - _LOOK_UNITS
        if self._left < 0:
            raise SecurityError(f"making this text takes more than {MAX_UNITS:,} steps")
        now_s = time.thread_time()
        if self._begun_s is None:
            self._begun_s = now_s
        elif now_s - self._begun_s > MAX_CPU_S:
            raise SecurityError(f"making this text takes more than {MAX_CPU_S:g} seconds")


BUDGET = Budget()


def too_large(what: str) -> SecurityError:
    """The error for an operation whose result would be out of all proportion."""
    return SecurityError(f"`{what}` makes more than a message can hold")


def weigh(value: Any) -> int:
    """Characters and items in `value`, each counted as often as it is reached; stops beyond MAX_CHARS.

    Something that stands twice in a list counts twice, because it is written twice when the list becomes text.
    """
    if type(value) is str:  # nearly always: worth its own line
        return len(value)
    total, stack = 0, [value]
    while stack and total <= MAX_CHARS:
        one = stack.pop()
        total += 1
        if isinstance(one, str | bytes | bytearray | range):
            total += len(one)
        elif isinstance(one, bool | float) or one is None:
            continue
        elif isinstance(one, int):
            total += one.bit_length() // 3
        elif isinstance(one, Namespace):
            stack.append(object.__getattribute__(one, "_Namespace__attrs"))
        elif isinstance(one, Mapping):
            if len(one) > MAX_CHARS:
                return len(one)
            stack.extend(one.keys())
            stack.extend(one.values())
        elif isinstance(one, Sequence | set | frozenset):
            if len(one) > MAX_CHARS:
                return len(one)
            stack.extend(one)
    return total


def held(value: Any, what: str) -> Any:
    """`value`, after paying for it. Raises SecurityError if it is too large."""
    weight = weigh(value) if type(value) is not range else 1  # a range is not made before it is used
    if weight > MAX_CHARS:
        raise too_large(what)
    BUDGET.spend(1 + weight)
    return value


def check_call(name: str, value: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Raises SecurityError if the filter or method `name` on `value` would make too much."""
    if not kwargs and name not in _BY_NUMBER and _is_small(value, args):
        return
    given = [*args, *kwargs.values()]
    weight = weigh(value) + sum(map(weigh, given))
    if weight > MAX_CHARS:
        raise too_large(name)
    BUDGET.spend(1 + weight)
    growth = _GROWTH.get(name)
    if growth is not None and growth(value, given) > MAX_CHARS:
        raise too_large(name)


def _is_small(value: Any, args: Sequence[Any]) -> bool:
    """Whether even the product of these texts is within bounds. (What is made of them is still paid for.)"""
    if type(value) is not str:
        return False
    chars = len(value)
    for one in args:
        if type(one) is str:
            chars += len(one)
        elif type(one) is not int and type(one) is not bool:
            return False
    return chars <= _SMALL_CHARS


def check_binop(operator: str, left: Any, right: Any) -> None:
    """Raises SecurityError if `*`, `**` or `%` would make too much. (What `+` makes is no larger than its sides.)"""
    if operator == "%":
        if isinstance(left, str | bytes) and _formatted(left, [right]) > MAX_CHARS:
            raise too_large("%")
    elif operator in {"*", "**"} and _product(operator, left, right) > 1:
        raise too_large(operator)


def check_width(spec: str) -> None:
    """Raises SecurityError if a format specification, such as `>100`, pads too far."""
    width = sum(int(digits) for digits in re.findall(r"\d+", spec))
    if width > MAX_CHARS:
        raise too_large("format")
    BUDGET.spend(width)


def _product(operator: str, left: Any, right: Any) -> float:
    """How large the result will be, as a part of what is allowed."""
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length()
        return (bits * right if operator == "**" else bits + right.bit_length()) / _MAX_BITS
    for sequence, times in ((left, right), (right, left)):
        if hasattr(sequence, "__len__") and isinstance(times, int):
            return weigh(sequence) * times / MAX_CHARS
    return 0


def _numbers(given: Sequence[Any]) -> int:
    """The largest integer among the arguments."""
    return max((abs(one) for one in given if isinstance(one, int)), default=0)


def _texts(given: Sequence[Any]) -> int:
    """Length of the texts among the arguments."""
    return sum(len(one) for one in given if isinstance(one, str | bytes))


def _padded(_: Any, given: Sequence[Any]) -> int:
    return _numbers(given)


def _indented(value: Any, given: Sequence[Any]) -> int:
    return weigh(value) * (_numbers(given) + _texts(given))


def _inserted(value: Any, given: Sequence[Any]) -> int:
    """Where a text may be put between any two characters or items."""
    return (weigh(value) + 1) * _texts(given)


def _joined(value: Any, given: Sequence[Any]) -> int:
    """`items | join(text)` and `text.join(items)`."""
    return max(_inserted(value, given), weigh(value) * sum(map(weigh, given)) if isinstance(value, str) else 0)


def _replaced(value: Any, given: Sequence[Any]) -> int:
    if len(given) < 2 or not isinstance(value, str | bytes):
        return _inserted(value, given)
    old, new = (one if isinstance(one, type(value)) else str(one) for one in given[:2])
    return weigh(value) + value.count(old) * len(new)  # type: ignore[arg-type]


def _tabbed(value: Any, given: Sequence[Any]) -> int:
    return weigh(value) * max(_numbers(given), 8)


def _formatted(value: Any, given: Sequence[Any]) -> int:
    """`'%5s' % x`: widths that are written, widths that are given (`*`), and each argument as often as it may stand."""
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    widths = sum(int(digits) for digits in re.findall(r"%[^%a-zA-Z]*?(\d{4,})", text)) + sum(
        int(digits) for digits in re.findall(r"\.(\d{4,})", text)
    )
    starred = [one for some in given for one in (some if isinstance(some, tuple) else [some])] if "*" in text else []
    return widths + _numbers(starred) + text.count("%") * sum(map(weigh, given))


def _braced(value: Any, given: Sequence[Any]) -> int:
    return str(value).count("{") * sum(map(weigh, given))


def _endless(_: Any, __: Sequence[Any]) -> int:
    return MAX_CHARS + 1


# Where a number or a format in the arguments says how much is made.
_BY_NUMBER = frozenset(
    {"center", "ljust", "rjust", "zfill", "to_bytes", "batch", "slice", "round", "indent", "tojson", "expandtabs"}
    | {"format", "str.format", "format_map", "translate"}
)

# What the result may weigh, for the filters and methods that can make much of little: (value, arguments) -> units.
_GROWTH: Mapping[str, Callable[[Any, Sequence[Any]], int]] = {
    **dict.fromkeys(("center", "ljust", "rjust", "zfill", "to_bytes", "batch", "slice", "round"), _padded),
    **dict.fromkeys(("indent", "tojson"), _indented),
    **dict.fromkeys(("wordwrap", "urlize"), _inserted),
    "join": _joined,
    "replace": _replaced,
    "expandtabs": _tabbed,
    "format": _formatted,
    "str.format": _braced,
    "format_map": _braced,
    "translate": _endless,  # a table can put any text for any character, and a message needs none
}
