"""Columns of raw numbers as E.164, or a reason why not. Knows no campaign."""

from __future__ import annotations

from sender.phone.cell import caution, region_ok
from sender.phone.e164 import normalize

__all__ = ["caution", "normalize", "region_ok"]
