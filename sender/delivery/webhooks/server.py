"""Puts the receiver on a real socket: for a process of its own (`sender listen`), or during a run (`send --listen`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

import uvicorn

from sender.core import asgi_server
from sender.core.asgi_server import LOOPBACK, base_url, listening_socket
from sender.core.bounded_http import BoundedProtocol, connections_at_most
from sender.core.errors import CredentialsError, InputError
from sender.core.loopback import is_loopback
from sender.delivery.webhooks.app import Receiver, check_public_url
from sender.delivery.webhooks.inbound import InboundHandler, ReplyHandling
from sender.delivery.webhooks.intake import Intake, OnRefused, WebhookCounts
from sender.delivery.webhooks.signatures import Keys, Policy
from sender.providers.registry import DIALECTS
from sender.state.state import State

DEFAULT_PORT = 8026
_KEEP_ALIVE_S = 75  # longer than a proxy's or a provider's, so that none of them finds its connection just closed
_DRAIN_S = 10  # at the end, for requests under way
_REPLIES = ReplyHandling()


class _ListenerProtocol(BoundedProtocol):
    most_connections = connections_at_most(500)


@dataclass(frozen=True, slots=True)
class Listener:
    """A running receiver: where it listens, what providers call, and what it has received so far."""

    url: str
    public_url: str
    dialects: tuple[str, ...]  # those whose signatures it can check
    counts: WebhookCounts
    refused: Mapping[int, int]


@contextmanager
def listen(
    state: State,
    *,
    public_url: str | None,
    keys: Keys,
    policy: Policy = Policy.REQUIRE,
    host: str = LOOPBACK,
    port: int = 0,
    dialect: str | None = None,
    on_refused: OnRefused | None = None,
    replies: ReplyHandling = _REPLIES,
) -> Iterator[Listener]:
    """Run a receiver in a thread of this process, writing to the ledger of `state`; stop it on exit.

    Without `public_url`, it is the address it listens on, for the sandbox. `dialect` is the one that must be checkable
    (None: any). `on_refused` gets the runs in which numbers were refused, as for `Intake`; without it the sender of
    the run learns that itself. `replies` says how replies are handled. Raises InputError or CredentialsError when the
    receiver could not do its work.
    """
    with closing(listening_socket(host, port)) as sock:
        server, listener = _make_server(state, base_url(sock), public_url, keys, policy, dialect, on_refused, replies)
        with asgi_server.in_thread(server, sock, "receiver"):
            yield listener


def serve(
    state: State,
    *,
    public_url: str | None,
    keys: Keys,
    policy: Policy = Policy.REQUIRE,
    host: str = LOOPBACK,
    port: int = DEFAULT_PORT,
    on_ready: Callable[[Listener], None] | None = None,
    on_refused: OnRefused | None = None,
    replies: ReplyHandling = _REPLIES,
) -> Listener:
    """Serve until interrupted, and return the listener with what it has received. Otherwise as `listen`."""
    with closing(listening_socket(host, port)) as sock:
        server, listener = _make_server(state, base_url(sock), public_url, keys, policy, None, on_refused, replies)
        server.on_ready = partial(on_ready, listener) if on_ready else None
        asgi_server.serve(server, sock)
    return listener


def _make_server(
    state: State,
    url: str,
    public_url: str | None,
    keys: Keys,
    policy: Policy,
    dialect: str | None,
    on_refused: OnRefused | None,
    replies: ReplyHandling,
) -> tuple[asgi_server.Server, Listener]:
    if not is_loopback(url) and (public_url is None or policy is Policy.OFF):
        raise InputError(
            "the receiver would be reachable from the network",
            where=f"--host {urlsplit(url).hostname}",
            fix="name the address that providers call with --public-url, and check signatures with require or"
            " verify-if-present",
        )
    public = check_public_url(public_url or url)
    checkable = tuple(name for name in DIALECTS if keys.has(name))
    unsigned = policy is Policy.VERIFY_IF_PRESENT and dialect in (
        None,
        "signalwire",
    )  # its status callbacks need no key
    if policy is not Policy.OFF and not unsigned and not (dialect in checkable if dialect else checkable):
        raise CredentialsError(
            f"there is no key to check the signatures of {dialect or 'any provider'}",
            where="environment",
            fix="set SIGNALWIRE_SIGNING_KEY, TELNYX_PUBLIC_KEY, TWILIO_AUTH_TOKEN or TWILIO_WEBHOOK_SHARED_KEY, as your"
            " provider needs (docs/delivery.md says where each is shown)",
        )
    simulated = is_loopback(public)  # only the sandbox can call it there
    intake = Intake(state.open_ledger, InboundHandler(state, replies, simulated=simulated), on_refused)
    receiver = Receiver(intake, public_url=public, keys=keys, policy=policy)
    config = uvicorn.Config(
        receiver.app,
        http=_ListenerProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_DRAIN_S,
    )
    return asgi_server.Server(config), Listener(url, public, checkable, intake.counts, receiver.refused)
