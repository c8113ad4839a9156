"""How texts are encoded, how many segments each takes, and which characters cost segments. Knows no campaign."""

from __future__ import annotations

from sender.segments.encoding import GSM_7, GSM_BASIC, GSM_EXTENSION, LOOK_ALIKES, UCS_2, measure, smart_encode

__all__ = ["GSM_7", "GSM_BASIC", "GSM_EXTENSION", "LOOK_ALIKES", "UCS_2", "measure", "smart_encode"]
