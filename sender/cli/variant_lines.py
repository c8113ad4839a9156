"""The lines about an experiment in the summary of a plan."""

from __future__ import annotations

from collections.abc import Iterator

from sender.core import money
from sender.core.experiment import Experiment
from sender.plan.manifest import Manifest


def variant_rows(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield for each variant how many messages it has, and its name, segments, cost and share in a sentence."""
    experiment = Experiment.from_manifest(manifest.experiment)
    if experiment is None or manifest.experiment is None:
        return
    for entry in manifest.experiment["variants"]:
        parts = [entry["name"], f"{entry['segments']:,} segment{'' if entry['segments'] == 1 else 's'}"]
        if entry["cost_micros"] is not None and manifest.cost is not None:
            parts.append(f"{money.text(entry['cost_micros'])} {manifest.cost['currency']}")
        if experiment.only is None:
            parts.append(f"{experiment.weights[entry['name']]:.0%} by weight")
        elif experiment.only == entry["name"]:
            parts.append("the one that everybody gets")
        yield f"{entry['messages']:,}", ", ".join(parts)
