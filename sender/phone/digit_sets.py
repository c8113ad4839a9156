"""Sets of digit strings as sorted, disjoint ranges of integers, and the regular expressions that describe them.

A string of digits is held as its key, the integer of a leading 1 and the string: `007` is 1007. So a key keeps length
and leading zeros, and the strings of a length are a block of integers. 18 digits fit an Int64.

Knows nothing of phone numbers. Reads only expressions that such a set can hold exactly (digits, classes, groups,
alternatives, counted repeats, and `$` at an end); anything else raises Unreadable. Never approximates.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

MAX_DIGITS = 18
_DIGITS = "0123456789"
_MOST_RANGES = 200_000

DigitSet = tuple[tuple[int, int], ...]
"""First and last key of each range, in order; no two of them touch."""

EMPTY: DigitSet = ()


class Unreadable(ValueError):  # noqa: N818  (a property of the expression; the caller has another way)
    """An expression or a set that cannot be held exactly."""


def key(digits: str) -> int:
    """Return the key of a string of digits."""
    return int("1" + digits)


def length(of_key: int) -> int:
    """Return the number of digits of a key's string."""
    return len(str(of_key)) - 1


def union(ranges: Iterable[tuple[int, int]]) -> DigitSet:
    """Return the set of all keys in `ranges`, which may overlap and be in any order."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    if len(merged) > _MOST_RANGES:
        raise Unreadable(f"{len(merged)} ranges")
    return tuple(merged)


def intersection(a: DigitSet, b: DigitSet) -> DigitSet:
    """Return what is in both."""
    if len(a) > len(b):
        a, b = b, a
    ranges: list[tuple[int, int]] = []
    for first, last in a:
        at = _reaching(first, b)
        while at < len(b) and b[at][0] <= last:
            ranges.append((max(first, b[at][0]), min(last, b[at][1])))
            at += 1
    return tuple(ranges)


def difference(a: DigitSet, b: DigitSet) -> DigitSet:
    """Return what is in `a` and not in `b`."""
    left: list[tuple[int, int]] = []
    at, low = 0, a[0][0] if a else 0  # the range to cut next, and where the rest of it begins
    for first, last in b:
        reaching = _reaching(first, a)
        if reaching > at:  # what is between two cuts is copied as a whole
            left.append((low, a[at][1]))
            left += a[at + 1 : reaching]
            at, low = reaching, a[reaching][0] if reaching < len(a) else 0
        while at < len(a) and low <= last:
            if low < first:
                left.append((low, first - 1))
            if a[at][1] > last:
                low = last + 1
                break
            at += 1
            low = a[at][0] if at < len(a) else 0
    if at < len(a):
        left.append((low, a[at][1]))
        left += a[at + 1 :]
    return tuple(left)


def _reaching(from_key: int, members: DigitSet) -> int:
    """Return the index of the first range that ends at `from_key` or behind it."""
    at = bisect_right(members, (from_key,))
    return at - 1 if at and members[at - 1][1] >= from_key else at


def after(prefix: str, members: DigitSet) -> DigitSet:
    """Return each member with `prefix` before it, without those that become longer than MAX_DIGITS."""
    if not prefix:
        return members
    lead = key(prefix)
    moved = []
    for low, high in members:
        digits = length(low)
        if digits + len(prefix) <= MAX_DIGITS:
            shift = (lead - 1) * 10**digits
            moved.append((low + shift, high + shift))
    return tuple(moved)


def anything(prefix: str = "", shortest: int = 0) -> DigitSet:
    """Return every string of `shortest` to MAX_DIGITS digits that begins with `prefix`."""
    lead = key(prefix)
    more = range(max(0, shortest - len(prefix)), MAX_DIGITS - len(prefix) + 1)
    return tuple((lead * 10**n, (lead + 1) * 10**n - 1) for n in more)


def continued(members: DigitSet) -> DigitSet:
    """Return every string of up to MAX_DIGITS digits that begins with a member."""
    return union(
        (low * 10**n, (high + 1) * 10**n - 1) for low, high in members for n in range(MAX_DIGITS - length(low) + 1)
    )


def of_lengths(members: DigitSet, lengths: Iterable[int]) -> DigitSet:
    """Return the members of these lengths."""
    allowed = frozenset(lengths)
    return tuple((low, high) for low, high in members if length(low) in allowed)


@lru_cache(maxsize=512)
def language(pattern: str) -> DigitSet:
    """Return the strings that the whole of `pattern` matches. Raises Unreadable."""
    return strings(parse(pattern))


def strings(node: Choice) -> DigitSet:
    """Return the strings that the whole of `node` matches. Raises Unreadable for a `$` before an end."""
    return union(keys for sequence in node.sequences for keys in _sequence_language(sequence))


def spelled(node: Choice, most: int = 500) -> list[str] | None:
    """Return the strings that `node` matches, in the order of a backtracking engine; None if more than `most`.

    The first of them with which a text begins is what `re.match` takes of it.
    """
    texts: list[str] = []
    for sequence in node.sequences:
        partial = [""]
        for piece in sequence.pieces:
            options = _spelled_piece(piece, most)
            if options is None or len(partial) * len(options) > most:
                return None
            partial = [head + tail for head in partial for tail in options]
        texts += partial
    return texts if len(texts) <= most else None


@dataclass(frozen=True, slots=True)
class Repeat:
    """Digits (a class) or a group, from `least` to `most` times."""

    of: str | Choice
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Sequence:
    """Pieces one after the other; `ends`: a `$` follows them."""

    pieces: tuple[Repeat, ...]
    ends: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """Alternatives in order; `captures`: the group around them is numbered."""

    sequences: tuple[Sequence, ...]
    captures: bool

    def parts(self) -> Iterator[Choice]:
        """Yield the alternatives, each as a choice of one."""
        return (Choice((sequence,), captures=False) for sequence in self.sequences)

    def has_group(self) -> bool:
        """Whether it contains a numbered group."""
        inner = (piece.of for sequence in self.sequences for piece in sequence.pieces)
        return self.captures or any(isinstance(part, Choice) and part.has_group() for part in inner)

    def split_group(self) -> tuple[Choice, Choice | None]:
        """Return a choice of one with its numbered group filled, and without the group where that is optional."""
        pieces = self.sequences[0].pieces
        for at, piece in enumerate(pieces):
            if isinstance(piece.of, Choice) and piece.of.has_group() and (piece.least, piece.most) == (0, 1):
                filled = (*pieces[:at], Repeat(piece.of, 1, 1), *pieces[at + 1 :])
                left_out = (*pieces[:at], *pieces[at + 1 :])
                ends = self.sequences[0].ends
                plain = Choice((Sequence(left_out, ends),), captures=False)
                return Choice((Sequence(filled, ends),), captures=False), None if plain.has_group() else plain
        return self, None

    def ends(self) -> bool:
        """Whether it contains a `$`, at whatever depth."""
        return any(
            sequence.ends or any(isinstance(piece.of, Choice) and piece.of.ends() for piece in sequence.pieces)
            for sequence in self.sequences
        )


def parse(pattern: str) -> Choice:
    """Return the structure of a regular expression over digits. Raises Unreadable."""
    parser = _Parser(pattern)
    node = parser.choice(captures=False)
    if parser.at != len(pattern):
        raise Unreadable(pattern)
    return node


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0

    def choice(self, *, captures: bool) -> Choice:
        sequences = [self._sequence()]
        while self._take("|"):
            sequences.append(self._sequence())
        return Choice(tuple(sequences), captures)

    def _sequence(self) -> Sequence:
        pieces = []
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)$":
            pieces.append(self._piece())
        ends = self._take("$")
        if ends and self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            raise Unreadable(self.pattern)
        return Sequence(tuple(pieces), ends)

    def _piece(self) -> Repeat:
        of: str | Choice
        if self._take("(?:"):
            of = self._closed(captures=False)
        elif self._take("(") and not self.pattern.startswith("?", self.at):
            of = self._closed(captures=True)
        elif self._take("["):
            of = self._class()
        elif self._take("\\d"):
            of = _DIGITS
        elif self.at < len(self.pattern) and self.pattern[self.at] in _DIGITS:
            of = self.pattern[self.at]
            self.at += 1
        else:
            raise Unreadable(self.pattern)
        return Repeat(of, *self._times())

    def _closed(self, *, captures: bool) -> Choice:
        node = self.choice(captures=captures)
        if not self._take(")"):
            raise Unreadable(self.pattern)
        return node

    def _class(self) -> str:
        inside, closed, _ = self.pattern[self.at :].partition("]")
        self.at += len(inside) + 1
        chars: set[str] = set()
        rest = inside.replace("\\d", "0-9")
        while rest:
            first, last, taken = (rest[0], rest[2], 3) if rest[1:2] == "-" and len(rest) > 2 else (rest[0], rest[0], 1)
            if first not in _DIGITS or last not in _DIGITS or first > last:
                raise Unreadable(self.pattern)
            chars.update(_DIGITS[int(first) : int(last) + 1])
            rest = rest[taken:]
        if not closed or not chars:
            raise Unreadable(self.pattern)
        return "".join(sorted(chars))

    def _times(self) -> tuple[int, int]:
        if self._take("?"):
            least, most = 0, 1
        elif self._take("{"):
            inside, _, _ = self.pattern[self.at :].partition("}")
            self.at += len(inside) + 1
            low, comma, high = inside.partition(",")
            if not low.isdecimal() or (comma and not high.isdecimal()):
                raise Unreadable(self.pattern)
            least, most = int(low), int(high or low)
        else:
            least = most = 1
        if self.pattern[self.at : self.at + 1] in ("?", "*", "+", "{") and self.at < len(self.pattern):
            raise Unreadable(self.pattern)  # lazy, unbounded or doubled repeats
        return least, most

    def _take(self, token: str) -> bool:
        matches = self.pattern.startswith(token, self.at)
        self.at += len(token) if matches else 0
        return matches


def _sequence_language(sequence: Sequence) -> DigitSet:
    members: DigitSet = ((1, 1),)  # the empty string
    for piece in reversed(sequence.pieces):  # the tails are mostly whole blocks, which stay a single range
        if isinstance(piece.of, Choice):
            if piece.of.ends():
                raise Unreadable("`$` inside")
            heads = strings(piece.of)
        else:
            heads = union((10 + int(digit), 10 + int(digit)) for digit in piece.of)
        repeats: list[tuple[int, int]] = []
        grown = members
        for count in range(piece.most + 1):
            if count >= piece.least:
                repeats += grown
            if count < piece.most:
                grown = _concatenated(heads, grown)
        members = union(repeats)
    return members


def _concatenated(heads: DigitSet, tails: DigitSet) -> DigitSet:
    ranges: list[tuple[int, int]] = []
    for low, high in tails:
        block = 10 ** length(low)
        if (low, high) == (block, 2 * block - 1):
            ranges += [(first * block, (last + 1) * block - 1) for first, last in heads]
            continue
        for first, last in heads:
            if len(ranges) + last - first > _MOST_RANGES:
                raise Unreadable(f"more than {_MOST_RANGES} ranges")
            ranges += [(head * block + low - block, head * block + high - block) for head in range(first, last + 1)]
    return union(ranges)


def _spelled_piece(piece: Repeat, most: int) -> list[str] | None:
    once = list(piece.of) if isinstance(piece.of, str) else spelled(piece.of, most)
    if once is None or len(once) ** piece.most > most:
        return None
    texts: list[str] = []
    for count in range(piece.most, piece.least - 1, -1):  # greedy: the longest first
        some = [""]
        for _ in range(count):
            some = [head + tail for head in some for tail in once]
        texts += some
    return texts
