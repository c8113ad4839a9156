"""The providers' messaging APIs: a table of what each can carry, and an adapter for each. Performs no I/O.

Adapters turn a message into a request and an answer into an outcome, and know nothing of one another.
"""

from __future__ import annotations

from sender.providers._http import retry_after_s
from sender.providers._rules import CARRIERS, sender_kind
from sender.providers.credentials import (
    SANDBOX_ACCOUNT_SID,
    SANDBOX_PROJECT_ID,
    SANDBOX_TELNYX_KEY,
    SANDBOX_TOKEN,
)
from sender.providers.registry import (
    DIALECTS,
    account_family,
    adapter,
    capabilities,
    check,
    check_parts,
    inbound_answer,
    log_facts,
    rate_kind,
    reports,
    sandbox_adapter,
    webhook_dialect,
)

__all__ = [
    "CARRIERS",
    "DIALECTS",
    "SANDBOX_ACCOUNT_SID",
    "SANDBOX_PROJECT_ID",
    "SANDBOX_TELNYX_KEY",
    "SANDBOX_TOKEN",
    "account_family",
    "adapter",
    "capabilities",
    "check",
    "check_parts",
    "inbound_answer",
    "log_facts",
    "rate_kind",
    "reports",
    "retry_after_s",
    "sandbox_adapter",
    "sender_kind",
    "webhook_dialect",
]
