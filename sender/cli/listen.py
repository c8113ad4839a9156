"""`sender listen`: receives delivery reports and replies until it is stopped."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from sender.campaign.load import load_campaign
from sender.campaign.model import ListenSpec
from sender.cli import console
from sender.cli.delivery_options import public_url_option, reply_handling, signatures_option
from sender.cli.invocation import log_format_option
from sender.cli.shared_options import env_file_option, environment, state_options
from sender.core.folder_defaults import find_folder_defaults
from sender.delivery import webhooks
from sender.delivery.callback_urls import status_callback
from sender.state.open import folders_above, open_state
from sender.suppression.learn import learn_from_runs
from sender.suppression.reviews import ReviewPolicy


@click.command(
    help="Receive delivery reports and replies until stopped.\n\n"
    "Each report is on disk before the provider gets an answer. Signatures are checked with SIGNALWIRE_SIGNING_KEY,"
    " TELNYX_PUBLIC_KEY, and TWILIO_AUTH_TOKEN or TWILIO_WEBHOOK_SHARED_KEY. STOP and START replies go to the"
    " suppression list."
)
@click.option("--port", type=click.IntRange(0, 65535), help="0: any free port.  [default: 8026]")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@public_url_option
@signatures_option
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
            replies=reply_handling(spec, env),
        )
    counts, refused = listener.counts, sum(listener.refused.values())
    console.out.print(
        f"stopped: {counts.applied:,} reports applied, {counts.same:,} with nothing new, {counts.kept:,} kept for"
        f" messages not recorded yet, {counts.inbound:,} replies, {refused:,} refused"
    )
    return 0


def _folder_spec(state_dir: Path | str) -> ListenSpec:
    """What `sender.toml` says of where webhooks come in, as for a campaign without a `listen` of its own."""
    defaults = find_folder_defaults(Path.cwd(), *folders_above(state_dir))
    if defaults is None:
        return ListenSpec()
    campaign = {"provider": "sandbox", "recipients": {"file": "people.csv"}}
    return load_campaign(campaign, defaults=defaults.file).listen
