"""Which addresses are this machine and no other, however they are spelled."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from sender.core.loopback import is_loopback, is_loopback_host, loopback_addresses

HOSTS = {
    "localhost": True,
    "LOCALHOST": True,
    "localhost.": True,
    "127.0.0.1": True,
    "127.0.0.2": True,
    "127.255.255.255": True,
    "::1": True,
    "0:0:0:0:0:0:0:1": True,
    "::ffff:127.0.0.1": True,
    "::ffff:7f00:1": True,
    "": False,
    ".": False,
    "localhost..": False,
    "localhost.example.com": False,
    "localhost.localdomain": False,
    "notlocalhost": False,
    "evil.localhost": False,
    "127.0.0.1.": False,
    "127.0.0.1.example.com": False,
    "126.255.255.255": False,
    "128.0.0.1": False,
    "0.0.0.0": False,
    "::": False,
    "::2": False,
    "::ffff:128.0.0.1": False,
    "::127.0.0.1": False,
    "10.0.0.1": False,
    "192.168.0.1": False,
    "169.254.169.254": False,
    "fe80::1": False,
    "127.1": False,  # a resolver may read these three as 127.0.0.1
    "2130706433": False,
    "0x7f.0.0.1": False,
    "0177.0.0.1": False,
    "127.0.0.01": False,
    "１２７.0.0.1": False,
    "ⓛocalhost": False,
}


@pytest.mark.parametrize("host", HOSTS)
def test_host(host: str) -> None:
    assert is_loopback_host(host) is HOSTS[host]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:8080/x", True),
        ("http://LocalHost", True),
        ("http://[::1]:8080", True),
        ("http://[::ffff:127.0.0.1]", True),
        ("http://127.0.0.1@example.com/", False),
        ("http://example.com#@127.0.0.1", False),
        ("http://example.com?@127.0.0.1", False),
        ("http://[::1", False),
        ("127.0.0.1:8080", False),
        ("", False),
    ],
)
def test_url(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    async def getaddrinfo(_: object, host: str, port: int, **__: Any) -> list[Any]:
        assert host == "localhost"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize(
    ("resolved", "expected"),
    [
        (["127.0.0.1"], ["127.0.0.1"]),
        (["::1", "127.0.0.1"], ["::1", "127.0.0.1"]),
        (["192.0.2.1", "127.0.0.1", "2001:db8::1"], ["127.0.0.1"]),
        (["192.0.2.1"], None),
        ([], None),
    ],
)
def test_the_name_leads_to_this_machine_or_nowhere(
    monkeypatch: pytest.MonkeyPatch, resolved: list[str], expected: list[str] | None
) -> None:
    resolving(monkeypatch, *resolved)
    if expected is None:
        with pytest.raises(OSError, match="does not lead to this machine"):
            asyncio.run(loopback_addresses("localhost", 80))
    else:
        for name in ("localhost", "localhost.", "LOCALHOST"):
            assert asyncio.run(loopback_addresses(name, 80)) == expected


def test_an_address_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch)
    assert asyncio.run(loopback_addresses("127.0.0.5", 80)) == ["127.0.0.5"]
