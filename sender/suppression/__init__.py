"""Who gets nothing: what people, files, replies and providers said about a number, and how far it goes."""

from __future__ import annotations

from sender.suppression.entries import Learned, Refusal, SuppressionEntry
from sender.suppression.suppression_list import SuppressionList

__all__ = ["Learned", "Refusal", "SuppressionEntry", "SuppressionList"]
