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
from sender.delivery.callback_urls import check_public_url
from sender.delivery.webhooks.app import Receiver
from sender.delivery.webhooks.forwarding import Forwarder
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
        arguments = (state, base_url(sock), public_url, keys, policy, dialect, on_refused, replies)
        with _open_receiver(*arguments) as (server, listener), asgi_server.in_thread(server, sock, "receiver"):
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
        arguments = (state, base_url(sock), public_url, keys, policy, None, on_refused, replies)
        with _open_receiver(*arguments) as (server, listener):
            server.on_ready = partial(on_ready, listener) if on_ready else None
            asgi_server.serve(server, sock)
    return listener


def _check_addresses(url: str, public_url: str | None, policy: Policy) -> str:
    """Return the public URL of a receiver that listens at `url`. Raises InputError."""
    if not is_loopback(url) and (public_url is None or policy is Policy.OFF):
        raise InputError(
            "the receiver would be reachable from the network",
            where=f"--host {urlsplit(url).hostname}",
            fix="name the address that providers call with --public-url, and check signatures with require or"
            " verify-if-present",
        )
    return check_public_url(public_url or url)


def check_keys(keys: Keys, policy: Policy, dialect: str | None) -> tuple[str, ...]:
    """Return the dialects whose signatures can be checked. Raises CredentialsError."""
    checkable = tuple(name for name in DIALECTS if keys.has(name))
    # SignalWire's status callbacks need no key.
    unsigned = policy is Policy.VERIFY_IF_PRESENT and dialect in (None, "signalwire")
    if policy is not Policy.OFF and not unsigned and not (dialect in checkable if dialect else checkable):
        raise CredentialsError(
            f"there is no key to check the signatures of {dialect or 'any provider'}",
            where="environment",
            fix="set SIGNALWIRE_SIGNING_KEY, TELNYX_PUBLIC_KEY, TWILIO_AUTH_TOKEN or TWILIO_WEBHOOK_SHARED_KEY, as your"
            " provider needs (docs/delivery.md says where each is shown)",
        )
    return checkable


@contextmanager
def _open_receiver(
    state: State,
    url: str,
    public_url: str | None,
    keys: Keys,
    policy: Policy,
    dialect: str | None,
    on_refused: OnRefused | None,
    replies: ReplyHandling,
) -> Iterator[tuple[asgi_server.Server, Listener]]:
    """A server that is not running yet, and its listener. Raises InputError and CredentialsError."""
    public = _check_addresses(url, public_url, policy)
    checkable = check_keys(keys, policy, dialect)
    simulated = is_loopback(public)  # only the sandbox can call it there
    with closing(InboundHandler(state, replies, simulated=simulated)) as handler:
        intake = Intake(state.open_ledger, handler, on_refused)
        target = replies.forward_to
        forwarder = None if target is None else Forwarder(partial(state.open_replies, create=True), target)
        receiver = Receiver(intake, public_url=public, keys=keys, policy=policy, forwarder=forwarder)
        yield _make_server(receiver), Listener(url, public, checkable, intake.counts, receiver.refused)


def _make_server(receiver: Receiver) -> asgi_server.Server:
    return asgi_server.Server(
        uvicorn.Config(
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
    )
