"""Telnyx' statuses, and its types of numbers in the names of `sender.phone`. Tables only.

Facts: Telnyx' OpenAPI file, OutboundMessagePayload and MessageDetailRecord (2026-07-16).
"""

from __future__ import annotations

from collections.abc import Mapping

from sender.core.outcomes import Status

STATUSES: Mapping[str, Status] = {
    "scheduled": Status.QUEUED,
    "queued": Status.QUEUED,
    "sending": Status.QUEUED,
    "sent": Status.SENT,
    "delivered": Status.DELIVERED,
    "sending_failed": Status.FAILED,
    "expired": Status.FAILED,
    "delivery_failed": Status.UNDELIVERED,
    "delivery_unconfirmed": Status.UNCONFIRMED,
    "cancelled": Status.CANCELED,
    # statuses of the detail record; the gateway has failures of its own, so `failed` is the carrier's
    "gw_timeout": Status.FAILED,
    "gw_reject": Status.FAILED,
    "failed": Status.UNDELIVERED,
    "dlr_unconfirmed": Status.UNCONFIRMED,
    "dlr_timeout": Status.UNCONFIRMED,
}

# Of a message's recipient. A handset that calls by Wi-Fi is a mobile phone; of VoIP some numbers take texts.
LINE_TYPES: Mapping[str, str] = {
    "Wireline": "fixed_line",
    "Wireless": "mobile",
    "Pre-Paid Wireless": "mobile",
    "VoWiFi": "mobile",
    "VoIP": "voip",
}
