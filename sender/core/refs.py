"""A message's identity: its run and its `seq`; the same across attempts, crashes and machines."""

from __future__ import annotations


def make_ref(run_id: str, seq: int) -> str:
    """The message's identity across attempts, crashes and machines; safe in a URL."""
    return f"{run_id}.{seq}"


def read_ref(ref: str | None) -> tuple[str, int] | None:
    """Run id and `seq` of what `make_ref` made; None for anything else."""
    run_id, _, seq = (ref or "").rpartition(".")
    return (run_id, int(seq)) if run_id and seq.isascii() and seq.isdigit() and len(seq) < 12 else None
