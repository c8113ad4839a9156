"""Receives the providers' callbacks: delivery reports and replies, each checked by its signature."""

from __future__ import annotations

from sender.delivery.webhooks.app import Receiver
from sender.delivery.webhooks.inbound import ReplyHandling
from sender.delivery.webhooks.server import Listener, check_keys, listen, serve
from sender.delivery.webhooks.signatures import Keys, Policy

__all__ = ["Keys", "Listener", "Policy", "Receiver", "ReplyHandling", "check_keys", "listen", "serve"]
