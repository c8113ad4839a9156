"""How delivery reports are received: options of `send` and `listen`, and the receiver that runs while sending."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import click

from sender.campaign.model import ListenSpec
from sender.core.errors import InputError
from sender.core.standard_webhooks import read_target
from sender.delivery.callback_urls import check_public_url
from sender.sending.options import SendOptions
from sender.sending.run import RunSession
from sender.suppression.reviews import ReviewPolicy

if TYPE_CHECKING:  # its web server takes 0.1 s, and most sends need none
    from sender.delivery import webhooks

Command = TypeVar("Command", bound=Callable[..., Any])

public_url_option = click.option(
    "--public-url",
    metavar="URL",
    envvar="SENDER_PUBLIC_URL",
    help="The address that the provider calls: a reverse proxy or a tunnel that leads to the receiver.",
)
signatures_option = click.option(
    "--signatures",
    type=click.Choice(get_args(ListenSpec.model_fields["signatures"].annotation)),
    help="Whether webhooks must be signed; `off` on loopback only.  [default: require]",
)


def delivery_options(command: Command) -> Command:
    """Add the options of `send` about delivery reports."""
    options = (
        click.option("--listen", is_flag=True, help="Receive delivery reports while sending and waiting."),
        click.option("--listen-port", type=click.IntRange(0, 65535), metavar="PORT", help="Port to listen on."),
        public_url_option,
        signatures_option,
        click.option(
            "--wait",
            metavar="TIME",
            help="How long to wait for delivery after the last message: 90s, 10m, 0.  [default: 2m; sandbox: 5s]",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """Whether to receive delivery reports here while sending, on which port, and how signatures are checked."""

    listen: bool
    port: int | None
    signatures: str | None


@contextmanager
def receiving(
    session: RunSession, options: SendOptions, spec: ListenSpec, listen_options: ListenOptions
) -> Iterator[SendOptions]:
    """Yield `options` with the address of the receiver of delivery reports, which runs meanwhile for --listen.

    `spec` is the campaign's `listen`. Raises InputError or CredentialsError if it cannot listen.
    """
    public_url = options.public_url or spec.public_url
    if public_url is not None:
        public_url = check_public_url(public_url)
    if not listen_options.listen:
        yield replace(options, public_url=public_url)
        return
    manifest = session.plan.manifest
    own = {*manifest.fields, *manifest.templates, *(key for route in manifest.routes for key in route["fields"])}
    if "status_callback" in own:
        raise InputError(
            "the campaign has its own `status_callback`, so no report would arrive here",
            where="--listen",
            fix="remove `status_callback`, or leave out --listen",
        )
    if public_url is None and not session.simulated:
        raise InputError(
            "the provider cannot call this machine without a public address",
            where="--listen",
            fix="name it with --public-url, or leave out --listen: then the provider's log is read instead",
        )
    from sender.delivery import webhooks

    environment = options.environment
    if session.simulated:
        from sender import sandbox

        environment = sandbox.environment("")
    keys = webhooks.Keys.of(environment)
    policy = webhooks.Policy(listen_options.signatures or spec.signatures)
    for route in manifest.routes[1:]:
        webhooks.check_keys(keys, policy, route["dialect"])
    port = listen_options.port
    if port is None:
        port = 0 if session.simulated and public_url is None else spec.port
    with webhooks.listen(
        session.state,
        public_url=public_url,
        keys=keys,
        policy=policy,
        port=port,
        dialect=manifest.dialect,
        replies=reply_handling(spec, options.environment),
    ) as listener:
        yield replace(options, public_url=listener.public_url, listening=True)


def reply_handling(spec: ListenSpec, env: Mapping[str, str]) -> webhooks.ReplyHandling:
    """What `spec` says about replies. Raises InputError and CredentialsError for where they are forwarded to."""
    from sender.delivery import webhooks

    return webhooks.ReplyHandling(
        own_words=spec.opt_out_words,
        review=ReviewPolicy(spec.review_policy),
        keep=spec.keep_replies,
        forward_to=None if spec.forward_to is None else read_target(spec.forward_to, env, what="a reply"),
    )
