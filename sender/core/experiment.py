"""An experiment: which variant of a message a person gets, and who gets none.

Both follow from the person's number and the experiment's key alone, by weighted rendezvous hashing: a variant never
depends on the rest of the list; a weight that grows moves people only to its own variant; and whoever is held out at
5 % is held out at 10 % too. The next campaign that names the key treats everybody alike. Reads and writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from sender.core.number_hash import SPAN, hash_digits, mix, read_digits, seed_of
from sender.core.proportions import chi_squared_above, sample_size

WAIT_S = 3 * 86_400.0
UNEVEN = 0.001  # below this chance a split is called uneven
HOLDOUT, MESSAGES = "holdout", "messages"  # groups, beside the variants
REPLY = "reply"  # the event that replies are, where a receiver keeps them
_SLICE = 250_000  # rows scored at a time, which bounds the memory for a large list


@dataclass(frozen=True, slots=True)
class VariantShare:
    """A variant by its name, and its weight among the others."""

    name: str
    weight: float


@dataclass(frozen=True, slots=True)
class Experiment:
    """Who gets which of `variants`, by `key`.

    `holdout` is the share of people who get nothing, `share` that of people who get something now (1: everybody but
    the holdout). `only` is the variant that everybody gets, whatever theirs would be. `event` names what counts as
    success; `base` and `lift` are its expected rate and the difference that matters, from 0 to 1, which give the size
    that was planned. Outcomes count until `wait_s` seconds after the last message; then the comparison is decided.
    """

    key: str
    variants: tuple[VariantShare, ...] = ()
    holdout: float = 0.0
    share: float = 1.0
    only: str | None = None
    event: str | None = None
    base: float | None = None
    lift: float | None = None
    wait_s: float = WAIT_S

    @classmethod
    def from_manifest(cls, values: Mapping[str, Any] | None) -> Experiment | None:
        """The experiment that a plan's manifest describes; None without one."""
        if values is None:
            return None
        shares = tuple(VariantShare(entry["name"], entry["weight"]) for entry in values["variants"])
        names = ("key", "holdout", "share", "only", "event", "base", "lift", "wait_s")
        return cls(variants=shares, **{name: values[name] for name in names})

    def to_manifest(self, counts: pl.DataFrame) -> dict[str, Any]:
        """Plain values for a plan's manifest, each variant with what `counts` has for it: see `count_variants`."""
        by_name = {row.pop("variant"): row for row in counts.to_dicts()}
        none = {"messages": 0, "segments": 0, "cost_micros": None}
        variants = [{**asdict(share), **by_name.get(share.name, none)} for share in self.variants]
        return {**asdict(self), "variants": variants}

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that are compared: the variants that people get, or `messages`, and `holdout`."""
        drawn = tuple(variant.name for variant in self.variants if variant.weight > 0) or (MESSAGES,)
        drawn = drawn if self.only is None else (self.only,)
        return (*drawn, HOLDOUT) if self.holdout else drawn

    @property
    def comparisons(self) -> int:
        """How many pairs of groups there are, 1 at least."""
        return max(1, len(self.groups) * (len(self.groups) - 1) // 2)

    @property
    def planned_size(self) -> int | None:
        """How many people each group needs; None where `base` and `lift` do not say it."""
        if self.base is None or self.lift is None:
            return None
        return sample_size(self.base, self.base + self.lift, comparisons=self.comparisons)

    @property
    def weights(self) -> dict[str, float]:
        """The share of the people of each variant, from 0 to 1, by its name."""
        total = sum(variant.weight for variant in self.variants)
        return {variant.name: variant.weight / total for variant in self.variants}

    def assign(self, to: pl.Series) -> pl.Series:
        """Return each person's variant (`variant`, String); null without a number, and without variants."""
        if not self.variants:
            return pl.repeat(None, to.len(), dtype=pl.String, eager=True).alias("variant")
        if self.only is not None:
            own = pl.Series([self.only], dtype=pl.String).new_from_index(0, to.len())
        else:
            parts = [self._assign_part(part) for part in to.to_frame("to").iter_slices(_SLICE)]
            own = pl.concat(parts) if parts else pl.Series([], dtype=pl.String)
        return pl.select(variant=pl.when(pl.lit(to).is_not_null()).then(pl.lit(own)))["variant"]

    def holds_out(self, to: pl.Series) -> pl.Series:
        """Return for whom `holdout` is meant (Boolean)."""
        return self._draw(to, "holdout") < self.holdout * SPAN

    def leaves_for_later(self, to: pl.Series) -> pl.Series:
        """Return who is not in the `share` that is sent to now (Boolean)."""
        return self._draw(to, "share") >= self.share * SPAN

    def _draw(self, to: pl.Series, purpose: str) -> pl.Series:
        return mix(hash_digits(read_digits(to)) ^ self._seed(purpose))

    def _seed(self, *purpose: str) -> int:
        return seed_of("\0".join((self.key, *purpose)))

    def _assign_part(self, frame: pl.DataFrame) -> pl.Series:
        base = hash_digits(read_digits(frame["to"]))
        drawn = [variant for variant in self.variants if variant.weight > 0]
        best: pl.Series | None = None
        place = pl.repeat(0, frame.height, dtype=pl.UInt32, eager=True)
        for n, variant in enumerate(drawn):
            score = ((mix(base ^ self._seed("variant", variant.name)).cast(pl.Float64) + 0.5) / SPAN).log()
            score = score / variant.weight
            wins = pl.repeat(True, frame.height, eager=True) if best is None else score > best
            best = score if best is None else score.zip_with(wins, best)
            place = pl.repeat(n, frame.height, dtype=pl.UInt32, eager=True).zip_with(wins, place)
        return pl.Series([variant.name for variant in drawn], dtype=pl.String).gather(place)


def count_variants(messages: pl.LazyFrame) -> pl.DataFrame:
    """Return `variant`, and its `messages`, `segments` and `cost_micros`, of a plan's messages."""
    counts = pl.len().alias("messages"), pl.col("segments").sum(), pl.col("cost_micros").sum()
    return messages.group_by("variant").agg(*counts).sort("variant").collect()


def chance_of_split(counts: Mapping[str, int], weights: Mapping[str, float]) -> float:
    """Return the probability of a split at least as uneven as `counts`, by variant, if `weights` are kept.

    The chi-squared test of a sample-ratio mismatch. 1 for fewer than two variants, and without messages.
    """
    total = sum(counts.values())
    drawn = {name: weight for name, weight in weights.items() if weight > 0}
    if len(drawn) < 2 or not total:
        return 1.0
    deviation = sum((counts.get(name, 0) - weight * total) ** 2 / (weight * total) for name, weight in drawn.items())
    return chi_squared_above(deviation, len(drawn) - 1)
