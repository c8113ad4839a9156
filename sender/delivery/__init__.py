"""After the send: what became of accepted messages, by the provider's callbacks and by its log.

Touches only the ledger, and the suppression list for replies. Sends nothing but questions to the provider's log.
`docs/delivery.md` has the rules.
"""

from __future__ import annotations

from sender.delivery.receiver import Receiver
from sender.delivery.server import Listener, listen, serve
from sender.delivery.signatures import Keys, Policy

__all__ = ["Keys", "Listener", "Policy", "Receiver", "listen", "serve"]
