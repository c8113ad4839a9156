"""`sender listen`, and the receiver of delivery reports that `send --listen` runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from sender import sandbox
from sender.campaign.load import load_campaign
from sender.campaign.model import ListenSpec
from sender.cli import console
from sender.cli.invocation import log_format_option
from sender.cli.shared_options import env_file_option, environment, state_options
from sender.core.errors import InputError
from sender.core.folder_defaults import find_folder_defaults
from sender.core.standard_webhooks import read_target
from sender.delivery import webhooks
from sender.delivery.webhooks.app import check_public_url, status_callback
from sender.sending.options import SendOptions
from sender.sending.run import RunSession
from sender.state.open import folders_above, open_state
from sender.suppression.learn import learn_from_runs
from sender.suppression.reviews import ReviewPolicy

Command = TypeVar("Command", bound=Callable[..., Any])

_PUBLIC_URL = click.option(
    "--public-url",
    metavar="URL",
    envvar="SENDER_PUBLIC_URL",
    help="The address that the provider calls: a reverse proxy or a tunnel that leads to the receiver.",
)
_SIGNATURES = click.option(
    "--signatures",
    type=click.Choice([policy.value for policy in webhooks.Policy]),
    help="Whether webhooks must be signed; `off` on loopback only.  [default: require]",
)


def delivery_options(command: Command) -> Command:
    """Add the options of `send` about delivery reports."""
    options = (
        click.option("--listen", is_flag=True, help="Receive delivery reports while sending and waiting."),
        click.option("--listen-port", type=click.IntRange(0, 65535), metavar="PORT", help="Port to listen on."),
        _PUBLIC_URL,
        _SIGNATURES,
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
    keys = webhooks.Keys.of(sandbox.environment("") if session.simulated else options.environment)
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
        replies=_reply_handling(spec, options.environment),
    ) as listener:
        yield replace(options, public_url=listener.public_url, listening=True)


@click.command(
    help="Receive delivery reports and replies until stopped.\n\n"
    "Each report is on disk before the provider gets an answer. Signatures are checked with SIGNALWIRE_SIGNING_KEY,"
    " TELNYX_PUBLIC_KEY, and TWILIO_AUTH_TOKEN or TWILIO_WEBHOOK_SHARED_KEY. STOP and START replies go to the"
    " suppression list."
)
@click.option("--port", type=click.IntRange(0, 65535), help="0: any free port.  [default: 8026]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@_PUBLIC_URL
@_SIGNATURES
@click.option(
    "--keep-replies/--no-keep-replies", default=None, help="Keep replies with their texts, for `sender replies`."
)
@click.option(
    "--forward-to",
    metavar="URL",
    help="Post each reply to this address, signed with SENDER_WEBHOOK_SECRET (Standard Webhooks); try again for up to"
    " three days.",
)
@click.option(
    "--review-policy",
    type=click.Choice([policy.value for policy in ReviewPolicy]),
    help="If a reply may be an opt-out in other words: send nothing to the number until somebody decides"
    " (`sender replies --review`), or ignore it.  [default: hold]",
)
@env_file_option("File of KEY=value lines with the keys.")
@log_format_option
@state_options
def listen(
    port: int | None,
    host: str,
    public_url: str | None,
    signatures: str | None,
    keep_replies: bool | None,
    forward_to: str | None,
    review_policy: str | None,
    env_file: Path | None,
    log_format: str,
    debug: bool,
    state_dir: Path | str,
) -> int:
    console.set_up_logs(debug=debug, log_format=log_format)
    given = {"keep_replies": keep_replies, "forward_to": forward_to, "review_policy": review_policy}
    spec = _folder_spec(state_dir).model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )
    env = environment(env_file)

    def ready(listener: webhooks.Listener) -> None:
        console.out.print(f"listening on {listener.url} for {listener.public_url}")
        for dialect in listener.dialects:
            console.out.print(
                f"  {dialect}: replies to {listener.public_url}/inbound/{dialect},"
                f" reports to {status_callback(listener.public_url, dialect)}"
            )
        console.out.print(f"  health: {listener.url}/health; Ctrl-C stops it")

    with open_state(state_dir) as state:
        listener = webhooks.serve(
            state,
            public_url=public_url or spec.public_url,
            keys=webhooks.Keys.of(env),
            policy=webhooks.Policy(signatures or spec.signatures),
            host=host,
            port=spec.port if port is None else port,
            on_ready=ready,
            on_refused=partial(learn_from_runs, state.where),
            replies=_reply_handling(spec, env),
        )
    counts, refused = listener.counts, sum(listener.refused.values())
    console.out.print(
        f"stopped: {counts.applied:,} reports applied, {counts.same:,} with nothing new, {counts.kept:,} kept for"
        f" messages not recorded yet, {counts.inbound:,} replies, {refused:,} refused"
    )
    return 0


def _reply_handling(spec: ListenSpec, env: Mapping[str, str]) -> webhooks.ReplyHandling:
    """What `spec` says about replies. Raises InputError and CredentialsError for where they are forwarded to."""
    return webhooks.ReplyHandling(
        own_words=spec.opt_out_words,
        review=ReviewPolicy(spec.review_policy),
        keep=spec.keep_replies,
        forward_to=None if spec.forward_to is None else read_target(spec.forward_to, env, what="a reply"),
    )


def _folder_spec(state_dir: Path | str) -> ListenSpec:
    """What `sender.toml` says of where webhooks come in, as for a campaign without a `listen` of its own."""
    defaults = find_folder_defaults(Path.cwd(), *folders_above(state_dir))
    if defaults is None:
        return ListenSpec()
    campaign = {"provider": "sandbox", "recipients": {"file": "people.csv"}}
    return load_campaign(campaign, defaults=defaults.file).listen
