"""Whom a run has messages for, in a file beside its plan, sorted: what a later plan asks of every run before it.

The plan itself has texts and cells around the numbers, and is checked and decoded whole to be asked; this file takes a
tenth of that time. It is made from the plan, and belongs to one version of it: where it is missing, damaged, or of
another version, the plan is asked. Its first 64 bytes are the SHA-256 of the plan's digest and of the Parquet that
follows.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from pathlib import Path

from sender.core.lazy_modules import pl
from sender.core.output_files import write_whole
from sender.plan.plan import Plan
from sender.state.people import as_integer

INDEX_FILE = "recipients.index"
_DIGEST = 64  # hexadecimal digits


def write_index(folder: Path, plan: Plan) -> None:
    """Write the index of a written plan into `folder`, unless it has recipients that are not E.164 numbers.

    Does nothing where there is no room or no permission: the index saves time, and is needed for nothing.
    """
    messages = plan.scan().filter(pl.col("seq").is_not_null() & pl.col("to").is_not_null())
    rows = messages.select(number=as_integer(pl.col("to")), seq="seq").collect().sort("number", "seq")
    if rows["number"].null_count() or plan.manifest.parquet_sha256 is None:
        return
    stored = io.BytesIO()
    rows.write_parquet(stored, compression="uncompressed", statistics=False)
    digest = _digest(plan.manifest.parquet_sha256, stored.getbuffer())
    with contextlib.suppress(OSError):
        write_whole(folder / INDEX_FILE, lambda file: (file.write(digest), file.write(stored.getbuffer())))


def remove_index(folder: Path) -> None:
    """Remove the index in `folder`, if there is one. Raises OSError."""
    (folder / INDEX_FILE).unlink(missing_ok=True)


def read_index(folder: Path, plan_sha256: str | None) -> pl.DataFrame | None:
    """The messages of the plan whose file has that SHA-256, as RECIPIENTS_SCHEMA, sorted by number.

    None where the plan has to be asked.
    """
    try:
        data = memoryview((folder / INDEX_FILE).read_bytes())
    except OSError:
        return None
    digest, stored = data[:_DIGEST], data[_DIGEST:]
    if plan_sha256 is None or digest != _digest(plan_sha256, stored):
        return None
    return pl.read_parquet(io.BytesIO(stored)).with_columns(pl.col("number").set_sorted())


def _digest(plan_sha256: str, stored: memoryview) -> bytes:
    digest = hashlib.sha256(plan_sha256.encode())
    digest.update(stored)
    return digest.hexdigest().encode()
