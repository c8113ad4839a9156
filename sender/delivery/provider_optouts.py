"""Brings a provider's own list of opt-outs into the suppression list. Reads from the provider, sends nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from sender.core.errors import ProviderRefused
from sender.core.outcomes import SkipReason
from sender.providers.base import Request
from sender.providers.optouts import OptOut, opt_out_list
from sender.suppression.entries import (
    EVERYWHERE,
    EntrySource,
    SuppressionEntry,
    check_scope,
    is_number,
)
from sender.suppression.suppression_list import SuppressionList
from sender.transport.base import Transport

_PAGE_PAUSE_S = 0.1
_TIMEOUT_S = 30.0


async def import_opt_outs(
    suppressions: SuppressionList,
    adapter: object,
    transport: Transport,
    *,
    scope: str = EVERYWHERE,
    profile: str | None = None,
    since: datetime | None = None,
) -> tuple[int, int]:
    """How many opt-outs the provider has, and how many were new here; each is dated as the provider dates it.

    What was read before a failure stays: an opt-out that is known is honoured. Raises InputError where the provider
    has no list that can be read, ProviderRefused when it does not give it, TransportFailure.
    """
    scope, seen, new = check_scope(scope), 0, 0
    async for page in _pages(adapter, transport, profile=profile, since=since):
        entries = [
            SuppressionEntry(
                number=one.number,
                reason=SkipReason.OPTED_OUT,
                source=EntrySource.PROVIDER_LIST,
                via=one.our_number or "",
                scope=scope,
                at=one.at or datetime.now(UTC),
                note=one.keyword,
            )
            for one in page
            if is_number(one.number)
        ]
        seen += len(entries)
        new += suppressions.restore(entries)
    return seen, new


async def _pages(
    adapter: object, transport: Transport, *, profile: str | None, since: datetime | None
) -> AsyncIterator[tuple[OptOut, ...]]:
    source = opt_out_list(adapter)
    request: Request | None = source.request(profile=profile, since=since)
    while request is not None:
        response = await transport.send(request, timeout_s=_TIMEOUT_S)
        try:
            page = source.page(response, request)
        except ValueError as error:
            raise ProviderRefused(
                f"the provider's list of opt-outs cannot be read: HTTP {response.status}, {error}",
                fix="check the credentials; nothing was sent, and what was read is kept",
            ) from None
        yield page.entries
        request = page.next
        await asyncio.sleep(_PAGE_PAUSE_S)
