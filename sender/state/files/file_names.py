"""The names of files that belong to a campaign: different campaigns have different ones, on every file system."""

from __future__ import annotations

import hashlib
import re

_DIGEST = 8  # hexadecimal digits: two campaigns of one state, not two of the world


def file_name(campaign: str) -> str:
    """The campaign's name as a part of a file's name.

    A hash follows where characters had to be replaced, or where a file system may not tell capital letters from small
    ones: another campaign's name may look the same then.
    """
    plain = older_file_name(campaign)
    if plain == campaign == campaign.lower():
        return plain
    return f"{plain}-{hashlib.sha256(campaign.encode()).hexdigest()[:_DIGEST]}"


def older_file_name(campaign: str) -> str:
    """The same as programs up to version 0.1.0 had it: several campaigns may share it."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", campaign)
