"""Environment variables that point every adapter at a sandbox."""

from __future__ import annotations

from sender.sandbox import webhooks

_HEX32 = "5a" * 16


def environment(base_url: str) -> dict[str, str]:
    """Return environment variables that point every adapter at a sandbox, with credentials valid nowhere else."""
    return {
        "SIGNALWIRE_SPACE_URL": base_url,
        "SIGNALWIRE_PROJECT_ID": "5a5a5a5a-0000-4000-8000-5a5a5a5a5a5a",
        "SIGNALWIRE_API_TOKEN": "PT-sandbox",
        "TELNYX_API_BASE": base_url,
        "TELNYX_API_KEY": "KEY-sandbox",
        "TWILIO_API_BASE": base_url,
        "TWILIO_ACCOUNT_SID": f"AC{_HEX32}",
        "TWILIO_AUTH_TOKEN": webhooks.TWILIO_TOKEN,
        "SIGNALWIRE_SIGNING_KEY": webhooks.SIGNING_KEY,
        "TELNYX_PUBLIC_KEY": webhooks.TELNYX_PUBLIC_KEY,
    }
