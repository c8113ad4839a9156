"""`sender init`, `sender sandbox`, `sender schema`: what one needs before the first campaign."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import click
from rich.markup import escape

from sender import sandbox as simulator
from sender.campaign.json_schema import json_schema, reference
from sender.campaign.values import parse_rate
from sender.cli import console, starter_campaign
from sender.core.errors import InputError

SCHEMA_FILE = "campaign.schema.json"
SECONDS = click.FloatRange(0, 3600)
HANG_HELP = "Seconds of silence where no answer comes, and of an answer byte by byte."


@click.command(help="Write a campaign, a template, a list and the campaign schema into FOLDER. They run as they are.")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=Path())
@click.option("--force", is_flag=True, help="Overwrite files that are there.")
@click.option("--debug", is_flag=True, hidden=True)
def init(folder: Path, force: bool, debug: bool) -> int:
    files = {**starter_campaign.FILES, SCHEMA_FILE: _schema_text()}
    there = [name for name in files if (folder / name).exists()]
    if there and not force:
        raise InputError(
            f"already there: {', '.join(there)}",
            where=str(folder),
            fix="choose another folder, or --force to overwrite",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror}", where=str(folder), fix="choose another folder"
        ) from None
    campaign = folder / "campaign.yaml"
    console.out.print(f"wrote {', '.join(files)} in {escape(str(folder))}")
    console.out.print(f"  look:  sender preview {escape(str(campaign))}")
    console.out.print(f"  send:  sender send {escape(str(campaign))}   (to the sandbox)")
    return 0


@click.command(
    help="Run the provider simulator: SignalWire, SignalWire Compatibility, Telnyx and Twilio on one port.\n\n"
    "Point an adapter at it with SIGNALWIRE_SPACE_URL, TELNYX_API_BASE or TWILIO_API_BASE. It sends nothing to anybody."
)
@click.option("--port", type=click.IntRange(0, 65535), default=8025, show_default=True, help="0 takes a free one.")
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
@click.option("--rate", metavar="4/s", help="Answer 429 above this pace.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Keep what was accepted in FILE. Default: in memory.",
)
@click.option(
    "--faults",
    metavar="LIST|FILE",
    help="Inject faults: `500-after=0.02,reset-after=0.01` (kind=probability, +number=kind), or a YAML file of these. "
    f"Kinds: {', '.join([*simulator.FAULTS, *simulator.LOG_FAULTS])}.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same requests: same faults.")
@click.option("--hang", "hang_s", type=SECONDS, default=60.0, show_default=True, help=HANG_HELP)
@click.option("--outage", "outage_s", type=SECONDS, default=2.0, show_default=True, help="Seconds an outage lasts.")
@click.option(
    "--log-lag",
    "log_lag_s",
    type=SECONDS,
    default=0.0,
    show_default=True,
    help="Seconds until the log shows a message.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks and debug logs.")
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
    debug: bool,
) -> int:
    console.set_up_logs(debug=debug)
    try:
        rate_per_s = parse_rate(rate).per_s if rate else None
    except ValueError as error:
        raise InputError(f"--rate: {error}") from None
    options = simulator.Options(
        latency_ms=latency_ms,
        rate_per_s=rate_per_s,
        state_file=state,
        hang_s=hang_s,
        faults=simulator.parse_faults(faults, seed=seed) if faults else simulator.Faults(),
        outage_s=outage_s,
        log_lag_s=log_lag_s,
    )

    def ready(url: str) -> None:
        console.out.print(f"sandbox (a simulator: nothing is sent to anybody) on {url}")
        console.out.print(f"  SIGNALWIRE_SPACE_URL={url} TELNYX_API_BASE={url} TWILIO_API_BASE={url}")
        console.out.print(f"  what was accepted: {url}/sandbox/counts; Ctrl-C stops it")
        logging.getLogger("sender.sandbox").debug("ready", extra={"event": "ready", "url": url})

    simulator.serve(options, host=host, port=port, on_ready=ready)
    return 0


@click.command(help="Print the campaign file's JSON Schema, so that editors complete and check campaign files.")
@click.option(
    "--format", "form", type=click.Choice(["json", "markdown"]), default="json", help="markdown: the reference table."
)
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Default: standard output."
)
@click.option("--debug", is_flag=True, hidden=True)
def schema(form: str, output: Path | None, debug: bool) -> int:
    text = _schema_text() if form == "json" else reference()
    if output is None:
        click.echo(text, nl=False)
        return 0
    try:
        output.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(output)) from None
    return 0


def _schema_text() -> str:
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
