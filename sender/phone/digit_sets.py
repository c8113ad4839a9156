"""Sets of digit strings as sorted, disjoint ranges of integers, and the regular expressions that spell them.

A string of digits is held as the integer that a leading 1 and the string make (its key): `007` is 1007. So a key holds
length and leading zeros, and the strings of one length are one block of integers. 18 digits fit an Int64.

Knows nothing of phone numbers. Reads only the expressions that a set of this form can hold exactly (digits, classes,
groups, alternatives, counted repeats, and `$` at an end); anything else raises Unreadable, nothing is approximated.
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


class Unreadable(ValueError):  # noqa: N818  (a verdict on an expression; the caller has another way)
    """An expression, or a set, that cannot be held exactly."""


def key(digits: str) -> int:
    """The integer that stands for a string of digits."""
    return int("1" + digits)


def length(one_key: int) -> int:
    """How many digits the string of a key has."""
    return len(str(one_key)) - 1


def joined(ranges: Iterable[tuple[int, int]]) -> DigitSet:
    """The set of all keys in `ranges`, which may overlap and stand in any order."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    if len(merged) > _MOST_RANGES:
        raise Unreadable(f"{len(merged)} ranges")
    return tuple(merged)


def common(one: DigitSet, other: DigitSet) -> DigitSet:
    """What is in both."""
    if len(one) > len(other):
        one, other = other, one
    found: list[tuple[int, int]] = []
    for first, last in one:
        at = _reaching(first, other)
        while at < len(other) and other[at][0] <= last:
            found.append((max(first, other[at][0]), min(last, other[at][1])))
            at += 1
    return tuple(found)


def without(one: DigitSet, other: DigitSet) -> DigitSet:
    """What is in `one` and not in `other`."""
    left: list[tuple[int, int]] = []
    at, low = 0, one[0][0] if one else 0  # the range that may still be cut, and where what is left of it begins
    for first, last in other:
        reaching = _reaching(first, one)
        if reaching > at:  # what lies between two cuts is copied as a whole
            left.append((low, one[at][1]))
            left += one[at + 1 : reaching]
            at, low = reaching, one[reaching][0] if reaching < len(one) else 0
        while at < len(one) and low <= last:
            if low < first:
                left.append((low, first - 1))
            if one[at][1] > last:
                low = last + 1
                break
            at += 1
            low = one[at][0] if at < len(one) else 0
    if at < len(one):
        left.append((low, one[at][1]))
        left += one[at + 1 :]
    return tuple(left)


def _reaching(one_key: int, members: DigitSet) -> int:
    """The place of the first range that ends at `one_key` or behind it."""
    at = bisect_right(members, (one_key,))
    return at - 1 if at and members[at - 1][1] >= one_key else at


def after(prefix: str, members: DigitSet) -> DigitSet:
    """Each member with `prefix` before it; those that become longer than MAX_DIGITS are dropped."""
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
    """Every string that begins with `prefix`, of `shortest` to MAX_DIGITS digits."""
    lead = key(prefix)
    more = range(max(0, shortest - len(prefix)), MAX_DIGITS - len(prefix) + 1)
    return tuple((lead * 10**n, (lead + 1) * 10**n - 1) for n in more)


def continued(members: DigitSet) -> DigitSet:
    """Every string of up to MAX_DIGITS digits that begins with a member."""
    return joined(
        (low * 10**n, (high + 1) * 10**n - 1) for low, high in members for n in range(MAX_DIGITS - length(low) + 1)
    )


def of_lengths(members: DigitSet, lengths: Iterable[int]) -> DigitSet:
    """The members that have one of these lengths."""
    wanted = frozenset(lengths)
    return tuple(one for one in members if length(one[0]) in wanted)


@lru_cache(maxsize=512)
def language(pattern: str) -> DigitSet:
    """The strings that the whole of `pattern` matches. Raises Unreadable."""
    return strings(parse(pattern))


def strings(node: Choice) -> DigitSet:
    """The strings that the whole of `node` matches. Raises Unreadable where a `$` is not at the end of all."""
    return joined(one for sequence in node.sequences for one in _sequence_language(sequence))


def spelled(node: Choice, most: int = 500) -> list[str] | None:
    """The strings that `node` matches, in the order in which a backtracking engine tries them; None above `most`.

    So the first that begins a text is what `re.match` takes of it.
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
    """Pieces one after the other; `ends` where a `$` follows them."""

    pieces: tuple[Repeat, ...]
    ends: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """Alternatives, the first first; `captures` where the group around them is numbered."""

    sequences: tuple[Sequence, ...]
    captures: bool

    def parts(self) -> Iterator[Choice]:
        """The alternatives, each as a choice of one."""
        return (Choice((sequence,), captures=False) for sequence in self.sequences)

    def has_group(self) -> bool:
        """Whether a numbered group is in it."""
        inner = (piece.of for sequence in self.sequences for piece in sequence.pieces)
        return self.captures or any(isinstance(one, Choice) and one.has_group() for one in inner)

    def split_group(self) -> tuple[Choice, Choice | None]:
        """A choice of one with its numbered group filled, and, where the group may be left out, without it."""
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
        """Whether a `$` is in it, at whatever depth."""
        return any(
            sequence.ends or any(isinstance(piece.of, Choice) and piece.of.ends() for piece in sequence.pieces)
            for sequence in self.sequences
        )


def parse(pattern: str) -> Choice:
    """The structure of a regular expression over digits. Raises Unreadable."""
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
        while self._took("|"):
            sequences.append(self._sequence())
        return Choice(tuple(sequences), captures)

    def _sequence(self) -> Sequence:
        pieces = []
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)$":
            pieces.append(self._piece())
        ends = self._took("$")
        if ends and self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            raise Unreadable(self.pattern)
        return Sequence(tuple(pieces), ends)

    def _piece(self) -> Repeat:
        of: str | Choice
        if self._took("(?:"):
            of = self._closed(captures=False)
        elif self._took("(") and not self.pattern.startswith("?", self.at):
            of = self._closed(captures=True)
        elif self._took("["):
            of = self._class()
        elif self._took("\\d"):
            of = _DIGITS
        elif self.at < len(self.pattern) and self.pattern[self.at] in _DIGITS:
            of = self.pattern[self.at]
            self.at += 1
        else:
            raise Unreadable(self.pattern)
        return Repeat(of, *self._times())

    def _closed(self, *, captures: bool) -> Choice:
        node = self.choice(captures=captures)
        if not self._took(")"):
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
        if self._took("?"):
            least, most = 0, 1
        elif self._took("{"):
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

    def _took(self, token: str) -> bool:
        found = self.pattern.startswith(token, self.at)
        self.at += len(token) if found else 0
        return found


def _sequence_language(sequence: Sequence) -> DigitSet:
    found: DigitSet = ((1, 1),)  # the empty string
    for piece in reversed(sequence.pieces):  # the tails are mostly whole blocks, which stay one range
        if isinstance(piece.of, Choice):
            if piece.of.ends():
                raise Unreadable("`$` inside")
            one = strings(piece.of)
        else:
            one = joined((10 + int(digit), 10 + int(digit)) for digit in piece.of)
        repeats: list[tuple[int, int]] = []
        grown = found
        for count in range(piece.most + 1):
            if count >= piece.least:
                repeats += grown
            if count < piece.most:
                grown = _concatenated(one, grown)
        found = joined(repeats)
    return found


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
    return joined(ranges)


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
