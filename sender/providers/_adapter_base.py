"""The values that every adapter holds: an account, and what its provider can carry and prove. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sender.providers.base import Capabilities, LogFacts
from sender.providers.credentials import Account


@dataclass(frozen=True, slots=True)
class AdapterBase:
    """The part of `sender.providers.base.Adapter` that is data; adapters share no behaviour beyond it."""

    account: Account
    capabilities: Capabilities
    log_facts: LogFacts

    @property
    def base_url(self) -> str:
        return self.account.base_url

    @property
    def account_id(self) -> str:
        return self.account.account_id

    @property
    def credentials_digest(self) -> str:
        """The same for the same credentials, which it does not show."""
        return hashlib.sha256(f"campaign-sender {self.authorization}".encode()).hexdigest()[:16]

    @property
    def authorization(self) -> str:
        """The value of the `Authorization` header."""
        return self.account.authorization.get_secret_value()
