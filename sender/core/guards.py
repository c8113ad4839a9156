"""The limits of refusals after which a run stops, where a campaign sets none."""

from __future__ import annotations

MAX_REJECTED_IN_A_ROW = 20
MAX_FAILED = 0.25  # of the first 200: a carrier that filters a text filters most of it
