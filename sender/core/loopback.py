"""Which addresses are this machine and no other: the one rule for credentials, proxies, callbacks and listeners.

By name, so that nothing has to be asked: `localhost`, 127.0.0.0/8, ::1 and ::ffff:127.0.0.0/104. Other spellings that a
resolver may take for one of these (`127.1`, `2130706433`), and 0.0.0.0, are not: who means this machine can say so.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

_NAME = "localhost"


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine and no other."""
    try:
        return is_loopback_host(urlsplit(url).hostname or "")
    except ValueError:
        return False


def is_loopback_host(host: str) -> bool:
    """Whether `host`, a name or an address without brackets, is this machine and no other."""
    if host.lower().removesuffix(".") == _NAME:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


async def loopback_addresses(host: str, port: int) -> list[str]:
    """The addresses to connect to for `host`, of which `is_loopback_host` is true: at least one.

    A hosts file or a name server may lead `localhost` elsewhere, too: such addresses are left out. Raises OSError
    where there is no other.
    """
    import asyncio  # noqa: PLC0415 (whoever plans asks only for names)

    if host.lower().removesuffix(".") != _NAME:
        return [host]
    found = await asyncio.get_running_loop().getaddrinfo(_NAME, port, type=socket.SOCK_STREAM)
    addresses = [str(address) for *_, (address, *_) in found if is_loopback_host(str(address))]
    if not addresses:
        raise OSError(f"{_NAME} does not lead to this machine")
    return addresses
