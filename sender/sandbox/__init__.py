"""The sandbox: a simulator of four providers' messaging APIs, over real HTTP, on this machine.

For rehearsals, demonstrations and tests. It delivers nothing and charges nothing, says so in every answer, and records
what it accepted, so that "nothing twice" can be counted. `docs/sandbox.md` has the magic numbers.
"""

from __future__ import annotations

from sender.sandbox.app import app
from sender.sandbox.credentials import environment
from sender.sandbox.fault_plan import FAULTS, LOG_FAULTS, Faults
from sender.sandbox.fault_plan import parse as parse_faults
from sender.sandbox.magic_numbers import MAGIC_NUMBERS, MAGIC_SENDERS
from sender.sandbox.server import embedded, serve
from sender.sandbox.simulator import SIMULATOR, Options
from sender.sandbox.store import counts
from sender.sandbox.webhooks import WebhookFaults

__all__ = [
    "FAULTS",
    "LOG_FAULTS",
    "MAGIC_NUMBERS",
    "MAGIC_SENDERS",
    "SIMULATOR",
    "Faults",
    "Options",
    "WebhookFaults",
    "app",
    "counts",
    "embedded",
    "environment",
    "parse_faults",
    "serve",
]
