"""Columns of raw numbers as E.164, or a reason why not. Knows no campaign."""

from __future__ import annotations

from sender.phone.cell import caution, region_ok
from sender.phone.e164 import normalize
from sender.phone.numbering import HELD_TYPES

__all__ = ["HELD_TYPES", "caution", "normalize", "region_ok"]
