"""A network of its own for a worker: two cables to this machine, one for the database and one for the provider.

The command sends in the clear to loopback alone, so a forwarder on each side carries the provider's traffic.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import pytest

FORWARD = """
import asyncio, sys

async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    writer.close()

async def main(host, port, to, to_port):
    async def serve(reader, writer):
        try:
            r, w = await asyncio.open_connection(to, int(to_port))
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, w), copy(r, writer))
    server = await asyncio.start_server(serve, host, int(port))
    await server.serve_forever()

asyncio.run(main(*sys.argv[1:]))
"""


def require_namespaces() -> None:
    """Skip the test where no network can be made; in our own CI that is a failure."""
    done = (
        subprocess.run(["ip", "netns", "add", "sender-probe"], capture_output=True, check=False) if _has_ip() else None
    )
    if done is not None and done.returncode == 0:
        run("ip", "netns", "del", "sender-probe")
        return
    if os.environ.get("SENDER_REQUIRE_NETNS"):
        pytest.fail("network namespaces cannot be made here")
    pytest.skip("network namespaces cannot be made here: run as root, with iproute2")


def _has_ip() -> bool:
    with contextlib.suppress(OSError):
        subprocess.run(["ip", "-V"], capture_output=True, check=True)
        return True
    return False


def free_network() -> str:
    """The first half of addresses that no other harness on this machine has."""
    known = subprocess.run(["ip", "-o", "-4", "addr"], capture_output=True, check=False, text=True).stdout
    begin = os.getpid()  # of two that begin at once, each looks elsewhere
    return next(net for i in range(55) if f" {(net := f'10.{200 + (begin + i) % 55}')}." not in known)


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Namespace:
    """One of them. `database_host` is where a server of this machine answers."""

    def __init__(self, network: str, number: int, provider_port: int) -> None:
        self.name = f"sender-{os.getpid()}-{number}"
        self._cables = {
            "database": f"sd{os.getpid() % 10000}x{number}",
            "provider": f"sp{os.getpid() % 10000}x{number}",
        }
        self.database_host = f"{network}.{2 * number}.1"
        self._forwarders: list[subprocess.Popen[bytes]] = []
        run("ip", "netns", "add", self.name)
        run("ip", "-n", self.name, "link", "set", "lo", "up")
        for place, cable in enumerate(self._cables.values()):
            net = f"{network}.{2 * number + place}"
            run("ip", "link", "add", cable, "type", "veth", "peer", "name", "to" + cable, "netns", self.name)
            run("ip", "addr", "add", f"{net}.1/24", "dev", cable)
            run("ip", "link", "set", cable, "up")
            run("ip", "-n", self.name, "addr", "add", f"{net}.2/24", "dev", "to" + cable)
            run("ip", "-n", self.name, "link", "set", "to" + cable, "up")
        here = f"{network}.{2 * number + 1}.1"
        port = str(provider_port)
        self._forward([], here, port, "127.0.0.1", port)
        self._forward(self.wrap([]), "127.0.0.1", port, here, port)

    def _forward(self, prefix: list[str], *words: str) -> None:
        self._forwarders.append(subprocess.Popen([*prefix, sys.executable, "-c", FORWARD, *words]))

    def wrap(self, command: list[str]) -> list[str]:
        """`command`, to be run inside."""
        return ["ip", "netns", "exec", self.name, *command]

    def cut(self, what: str) -> None:
        """Lose the `database`, the `provider` or `both`: packets vanish."""
        for cable in self._cables.values() if what == "both" else [self._cables[what]]:
            run("ip", "link", "set", cable, "down")

    def join(self, what: str) -> None:
        """Have it again."""
        for cable in self._cables.values() if what == "both" else [self._cables[what]]:
            run("ip", "link", "set", cable, "up")

    def close(self) -> None:
        for forwarder in self._forwarders:
            forwarder.kill()
            forwarder.wait()
        with contextlib.suppress(subprocess.CalledProcessError):
            run("ip", "netns", "del", self.name)
