"""A message's `ref`: its run and its `seq`; the same across attempts, crashes and machines."""

from __future__ import annotations


def make_ref(run_id: str, seq: int) -> str:
    """Return the `ref` of a message, which is safe in a URL."""
    return f"{run_id}.{seq}"


def read_ref(ref: str | None) -> tuple[str, int] | None:
    """Return run id and `seq` of a `ref`; None for anything else."""
    run_id, _, seq = (ref or "").rpartition(".")
    return (run_id, int(seq)) if run_id and seq.isascii() and seq.isdigit() and len(seq) < 12 else None
