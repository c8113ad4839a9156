"""Fetches a provider's list of numbers that are out of service. Reads from the provider, sends nothing.

What the list says about a number is for whoever asks for it (`sender numbers import-deactivations`).
"""

from __future__ import annotations

from datetime import date

from sender.core.errors import ProviderRefused, ProviderUnreachable
from sender.delivery.provider_log import LogReader
from sender.providers.base import Request
from sender.providers.deactivations import file_request, list_request
from sender.transport.base import Transport, TransportFailure

LIST_MAX_BYTES = 256 << 20  # a day's list has some megabytes
_PAUSE_S = 0.1
_REDIRECTS_MAX = 5
_TRIES = 3


async def fetch_deactivations(adapter: object, transport: Transport, day: date) -> bytes:
    """The list of that day, as the provider has it. `transport` must take answers of LIST_MAX_BYTES.

    Raises InputError where the provider has no such list, ProviderRefused when it cannot be read, and
    ProviderUnreachable.
    """
    request = list_request(adapter, day)
    try:
        return await _download(LogReader(transport, pause_s=_PAUSE_S, tries=_TRIES), request)
    except TransportFailure as error:
        raise ProviderUnreachable(
            f"the list of {day.isoformat()} did not come: {error}",
            fix="run the same command again; nothing was changed",
        ) from None
    except ValueError as error:
        raise ProviderRefused(
            f"the list of {day.isoformat()} cannot be read: {error}",
            fix="check the credentials; a day's list appears on the next day; nothing was changed",
        ) from None


async def _download(reader: LogReader, request: Request) -> bytes:
    """The file that the answer to `request` leads to. Raises ValueError and TransportFailure."""
    response = await reader.fetch(request)
    for _ in range(_REDIRECTS_MAX):
        request = file_request(response, request)
        response = await reader.fetch(request)
        if response.truncated:
            raise ValueError(f"it is larger than {LIST_MAX_BYTES >> 20} MB")
        if response.status == 200:
            return response.content
    raise ValueError("its address leads from one to the next")
