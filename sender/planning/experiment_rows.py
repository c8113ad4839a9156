"""What an experiment makes of the rows of a plan: each row's variant, and who gets nothing, or nothing yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from sender.core.experiment import HOLDOUT, MESSAGES, UNEVEN, Experiment, chance_of_split, count_variants
from sender.core.outcomes import SkipReason
from sender.plan.manifest import Manifest
from sender.plan.plan import Plan
from sender.planning.audience import skip_rows
from sender.planning.compiled import CompiledCampaign


def assign_variants(to: pl.Series, compiled: CompiledCampaign) -> pl.Series:
    """Return the variant of each number (`variant`, String); null where there are none."""
    experiment = compiled.experiment or Experiment("")
    return experiment.assign(to)


def skip_groups(frame: pl.DataFrame, experiment: Experiment | None) -> pl.DataFrame:
    """Skip, as `holdout` and as `outside_share`, the rows that would get a message and whose group gets none.

    Rows that get none for another reason keep it, so that those who are held out are people like those who are not.
    """
    if experiment is None:
        return frame
    to = frame["to"]
    if experiment.holdout:
        share = f"{100 * experiment.holdout:g}% of the people"
        why = f"held out: {share} get nothing, to compare with (experiment {experiment.key})"
        frame = skip_rows(frame, pl.lit(experiment.holds_out(to)), SkipReason.HOLDOUT, pl.lit(why))
    if experiment.share < 1:
        why = f"not in the {100 * experiment.share:g}% of the people who are sent to now (`share`)"
        frame = skip_rows(frame, pl.lit(experiment.leaves_for_later(to)), SkipReason.OUTSIDE_SHARE, pl.lit(why))
    return frame


def with_experiment(plan: Plan, compiled: CompiledCampaign) -> Plan:
    """Return the plan with its experiment in the manifest: what each variant has, and notes on its groups."""
    if compiled.experiment is None:
        return plan
    counts = count_variants(plan.scan().filter(pl.col("seq").is_not_null()))
    manifest = replace(plan.manifest, experiment=compiled.experiment.to_manifest(counts))
    return plan.with_manifest(replace(manifest, notes=(*manifest.notes, *note_experiment(manifest))))


def note_experiment(manifest: Manifest) -> Iterator[str]:
    """Yield what a person should know of the plan's groups: a broken split, and a list too small to tell."""
    experiment = Experiment.from_manifest(manifest.experiment)
    if experiment is None:
        return
    counts = {entry["name"]: entry["messages"] for entry in (manifest.experiment or {})["variants"]}
    if experiment.only is None and chance_of_split(counts, experiment.weights) < UNEVEN:
        shares = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        yield (
            f"the variants are not split by their weights ({shares}): a list or a text that favours one of them makes"
            " the comparison worthless"
        )
    if experiment.base is None or experiment.lift is None or experiment.only is not None:
        return
    wanted = experiment.planned_size or 0
    sizes = {**counts, MESSAGES: manifest.messages, HOLDOUT: manifest.skipped.get(SkipReason.HOLDOUT.value, 0)}
    small = {name: sizes[name] for name in experiment.groups if sizes[name] < wanted}
    if small:
        groups = ", ".join(f"{name} {size:,}" for name, size in small.items())
        yield (
            f"too few people to tell a difference of {100 * experiment.lift:g} percentage points from"
            f" {100 * experiment.base:g}%: {wanted:,} a group are needed ({groups})"
        )
