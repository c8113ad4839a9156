"""`sender sandbox`: the provider simulator as a server of its own."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from sender import sandbox as simulator
from sender.campaign.values import parse_rate
from sender.cli import console
from sender.cli.invocation import debug_option
from sender.core.errors import InputError
from sender.core.output_files import OutputKind, check_output

_SECONDS = click.FloatRange(0, 3600)
_HANG_HELP = "Seconds for which a request without an answer, or an answer sent byte by byte, stays open."


@click.command(
    help="Run the provider simulator: SignalWire, SignalWire Compatibility, Telnyx and Twilio on one port.\n\n"
    "Point an adapter at it with SIGNALWIRE_SPACE_URL, TELNYX_API_BASE or TWILIO_API_BASE. It sends nothing to anybody."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8025, show_default=True, help="0: any free port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--latency",
    "latency_ms",
    type=click.IntRange(0, 60_000),
    default=40,
    show_default=True,
    metavar="MS",
    help="Time to answer.",
)
@click.option("--rate", metavar="4/s", help="Answer 429 above this rate.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Keep the accepted messages in FILE. Default: in memory.",
)
@click.option(
    "--faults",
    metavar="LIST|FILE",
    help="Inject faults: `500-after=0.02,reset-after=0.01` (kind=probability, +number=kind), or a YAML file of these. "
    f"Kinds: {', '.join([*simulator.FAULTS, *simulator.LOG_FAULTS])}.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same requests: same faults.")
@click.option("--hang", "hang_s", type=_SECONDS, default=60.0, show_default=True, help=_HANG_HELP)
@click.option("--outage", "outage_s", type=_SECONDS, default=2.0, show_default=True, help="Seconds an outage lasts.")
@click.option(
    "--log-lag",
    "log_lag_s",
    type=_SECONDS,
    default=0.0,
    show_default=True,
    help="Seconds until the log shows a message.",
)
@click.option(
    "--no-keys", is_flag=True, help="Ignore Telnyx's Idempotency-Key: a repeated request is a second message."
)
@debug_option()
def sandbox(
    port: int,
    host: str,
    latency_ms: int,
    rate: str | None,
    state: Path | None,
    faults: str | None,
    seed: int,
    hang_s: float,
    outage_s: float,
    log_lag_s: float,
    no_keys: bool,
    debug: bool,
) -> int:
    console.set_up_logs(debug=debug)
    try:
        rate_per_s = parse_rate(rate).per_s if rate else None
    except ValueError as error:
        raise InputError(f"--rate: {error}") from None
    if state is not None:
        state = check_output(state, _STATE_FILE, force=None)
    options = simulator.Options(
        latency_ms=latency_ms,
        rate_per_s=rate_per_s,
        state_file=state,
        hang_s=hang_s,
        faults=simulator.parse_faults(faults, seed=seed) if faults else simulator.Faults(),
        outage_s=outage_s,
        log_lag_s=log_lag_s,
        keys=not no_keys,
    )
    simulator.serve(options, host=host, port=port, on_ready=_announce)
    return 0


# Whether an existing file is one, the simulator finds out when it opens it.
_STATE_FILE = OutputKind("a sandbox state file", lambda _: True)


def _announce(url: str) -> None:
    console.out.print(f"sandbox (a simulator: nothing is sent to anybody) on {url}")
    console.out.print(f"  SIGNALWIRE_SPACE_URL={url} TELNYX_API_BASE={url} TWILIO_API_BASE={url}")
    console.out.print(f"  accepted messages: {url}/sandbox/counts; Ctrl-C stops it")
    logging.getLogger("sender.sandbox").debug("ready", extra={"event": "ready", "url": url})
