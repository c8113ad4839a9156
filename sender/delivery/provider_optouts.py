"""Brings a provider's own list of opt-outs into the suppression list. Reads from the provider, sends nothing."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

from sender.core.errors import ProviderRefused, ProviderUnreachable
from sender.core.outcomes import SkipReason
from sender.delivery.provider_log import LogReader
from sender.providers.base import Request, Response
from sender.providers.optouts import OptOutList, OptOutPage, opt_out_list
from sender.suppression.entries import (
    EVERYWHERE,
    EntrySource,
    SuppressionEntry,
    check_scope,
    is_number,
)
from sender.suppression.suppression_list import SuppressionList
from sender.transport.base import Transport, TransportFailure

_PAGE_PAUSE_S = 0.1


async def import_opt_outs(
    suppressions: SuppressionList,
    adapter: object,
    transport: Transport,
    *,
    scope: str = EVERYWHERE,
    profile: str | None = None,
    since: datetime | None = None,
) -> tuple[int, int]:
    """Import the provider's opt-outs, each with the date the provider gives. Return how many it has, and the new ones.

    Pages that were read before a failure stay imported: a known opt-out is honoured. Raises InputError where the
    provider has no list that can be read, ProviderRefused when a page cannot be read, and ProviderUnreachable.
    """
    scope, seen, new = check_scope(scope), 0, 0
    opt_outs = opt_out_list(adapter)
    reader = LogReader(transport, pause_s=_PAGE_PAUSE_S)
    first = opt_outs.request(profile=profile, since=since)
    async with contextlib.aclosing(_pages(reader, opt_outs, first)) as pages:
        async for page in pages:
            entries = [
                SuppressionEntry(
                    number=opt_out.number,
                    reason=SkipReason.OPTED_OUT,
                    source=EntrySource.PROVIDER_LIST,
                    via=opt_out.our_number or "",
                    scope=scope,
                    at=opt_out.at or datetime.now(UTC),
                    note=opt_out.keyword,
                )
                for opt_out in page.entries
                if is_number(opt_out.number)
            ]
            seen += len(entries)
            new += suppressions.restore(entries)
    return seen, new


async def _pages(reader: LogReader, opt_outs: OptOutList, first: Request) -> AsyncGenerator[OptOutPage, None]:
    def read_page(response: Response, request: Request) -> OptOutPage:
        try:
            return opt_outs.page(response, request)
        except ValueError as error:
            raise ValueError(f"HTTP {response.status}, {error}") from None

    try:
        async with contextlib.aclosing(reader.pages_from(first, read_page)) as pages:
            async for page in pages:
                yield page
    except TransportFailure as error:
        raise ProviderUnreachable(
            f"the provider's list of opt-outs did not come: {error}",
            fix="run the same command again; the opt-outs read so far are kept",
        ) from None
    except ValueError as error:
        raise ProviderRefused(
            f"the provider's list of opt-outs cannot be read: {error}",
            fix="check the credentials; nothing was sent, and the opt-outs read so far are kept",
        ) from None
