"""The sandbox: a simulator of four providers' messaging APIs, over real HTTP, on this machine.

For rehearsals, demonstrations and tests. It delivers nothing and charges nothing, says so in every answer, and keeps
the truth of what it accepted, so that "nothing twice" can be counted. `docs/sandbox.md` has the magic numbers.
"""

from __future__ import annotations

from sender.sandbox import callbacks
from sender.sandbox.app import SIMULATOR, Options, app
from sender.sandbox.callbacks import Mischief
from sender.sandbox.fate import MAGIC, MAGIC_SENDERS
from sender.sandbox.faults import FAULTS, LOG_FAULTS, Faults
from sender.sandbox.faults import parse as parse_faults
from sender.sandbox.server import embedded, serve
from sender.sandbox.store import counts

__all__ = [
    "FAULTS",
    "LOG_FAULTS",
    "MAGIC",
    "MAGIC_SENDERS",
    "SIMULATOR",
    "Faults",
    "Mischief",
    "Options",
    "app",
    "counts",
    "embedded",
    "environment",
    "parse_faults",
    "serve",
]

_HEX32 = "5a" * 16


def environment(base_url: str) -> dict[str, str]:
    """Environment variables that point every adapter at a sandbox, with credentials that are good nowhere else."""
    return {
        "SIGNALWIRE_SPACE_URL": base_url,
        "SIGNALWIRE_PROJECT_ID": "5a5a5a5a-0000-4000-8000-5a5a5a5a5a5a",
        "SIGNALWIRE_API_TOKEN": "PT-sandbox",
        "TELNYX_API_BASE": base_url,
        "TELNYX_API_KEY": "KEY-sandbox",
        "TWILIO_API_BASE": base_url,
        "TWILIO_ACCOUNT_SID": f"AC{_HEX32}",
        "TWILIO_AUTH_TOKEN": callbacks.TWILIO_TOKEN,
        "SIGNALWIRE_SIGNING_KEY": callbacks.SIGNING_KEY,
        "TELNYX_PUBLIC_KEY": callbacks.TELNYX_PUBLIC_KEY,
    }
