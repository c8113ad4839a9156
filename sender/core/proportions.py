"""Shares of people, compared: how many are needed, how sure a difference is, and whether it may be chance.

Plain arithmetic on counts. The tests compare it with SciPy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

CONFIDENCE, POWER = 0.95, 0.80
_NEGLIGIBLE = 1e-18
_TIE = 1 + 1e-7  # probabilities that differ by less are equal: rounding must not decide which outcomes count


@dataclass(frozen=True, slots=True)
class Successes:
    """How many of `people` did what was hoped for."""

    events: int
    people: int

    @property
    def rate(self) -> float:
        """From 0 to 1; 0 of nobody."""
        return self.events / self.people if self.people else 0.0


def sample_size(
    base: float, other: float, *, confidence: float = CONFIDENCE, power: float = POWER, comparisons: int = 1
) -> int:
    """Return how many people each group needs, to find that two rates (0 to 1) differ, if they do.

    With that many, a test at `confidence` finds it with the probability `power`. Where several `comparisons` are made,
    each is made more strictly (Bonferroni), so that all together are wrong no more often. Raises ValueError for equal
    rates.
    """
    if base == other:
        raise ValueError("equal rates cannot be told apart")
    normal = NormalDist()
    spread = normal.inv_cdf(1 - (1 - confidence) / (2 * comparisons)) + normal.inv_cdf(power)
    variance = base * (1 - base) + other * (1 - other)
    return math.ceil(spread**2 * variance / (other - base) ** 2)


def wilson_interval(group: Successes, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the interval of the group's rate (Wilson 1927); (0, 1) of nobody."""
    if not group.people:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    people, rate = group.people, group.rate
    middle = rate + z * z / (2 * people)
    reach = z * math.sqrt(rate * (1 - rate) / people + z * z / (4 * people * people))
    scale = 1 + z * z / people
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def difference_interval(a: Successes, b: Successes, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the interval of b's rate less a's (Newcombe 1998, his method 10: of two Wilson intervals)."""
    (low_a, high_a), (low_b, high_b) = (wilson_interval(group, confidence=confidence) for group in (a, b))
    difference = b.rate - a.rate
    below = math.hypot(b.rate - low_b, high_a - a.rate)
    above = math.hypot(high_b - b.rate, a.rate - low_a)
    return max(-1.0, difference - below), min(1.0, difference + above)


def chance_of_difference(a: Successes, b: Successes) -> float:
    """Return the probability of a difference at least as unlikely, if there is none: Fisher's exact test, two-sided.

    1 where a group has nobody.
    """
    events, people = a.events + b.events, a.people + b.people
    if not a.people or not b.people:
        return 1.0
    lowest, highest = max(0, events - b.people), min(events, a.people)
    seen = _log_weight(a.events, a.people, events - a.events, b.people)
    whole = math.lgamma(people + 1) - math.lgamma(events + 1) - math.lgamma(people - events + 1)
    limit = seen + math.log(_TIE)
    # Weights rise to the most likely split and fall after it: from each end, those that are as unlikely come first.
    likely = min(max(lowest, (events + 1) * (a.people + 1) // (people + 2)), highest)
    total: list[float] = []
    for ends in (range(lowest, likely + 1), range(highest, likely, -1)):
        last = _last_unlikely(ends, a.people, events, b.people, limit)
        most = 0.0
        for k in reversed(ends[:last]):  # from the most likely of them on
            chance = math.exp(_log_weight(k, a.people, events - k, b.people) - whole)
            most = max(most, chance)
            if chance < most * _NEGLIGIBLE:
                break
            total.append(chance)
    return min(1.0, math.fsum(total))


def _last_unlikely(ends: range, people_a: int, events: int, people_b: int, limit: float) -> int:
    """Return how many of the splits in `ends`, whose weights rise, are at most as likely as `limit` says."""
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high) // 2
        if _log_weight(ends[middle], people_a, events - ends[middle], people_b) <= limit:
            low = middle + 1
        else:
            high = middle
    return low


def _log_weight(events_a: int, people_a: int, events_b: int, people_b: int) -> float:
    """Return the logarithm of the number of ways in which the events may fall on the people of the two groups."""
    return _log_choose(people_a, events_a) + _log_choose(people_b, events_b)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def chi_squared_above(value: float, freedom: int) -> float:
    """Return the probability that a chi-squared variable with `freedom` degrees of freedom is above `value`.

    The closed forms of the upper incomplete gamma function for whole and for half numbers (NIST DLMF, 8.4).
    """
    half = value / 2
    if freedom % 2 == 0:
        return math.exp(-half) * math.fsum(half**n / math.factorial(n) for n in range(freedom // 2))
    terms = math.fsum(half ** (n - 0.5) / math.gamma(n + 0.5) for n in range(1, (freedom - 1) // 2 + 1))
    return math.erfc(math.sqrt(half)) + math.exp(-half) * terms
