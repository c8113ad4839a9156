"""`sender web`: the live page."""

from __future__ import annotations

from pathlib import Path

import click

from sender.cli import console
from sender.cli.invocation import log_format_option
from sender.cli.shared_options import env_file_option, environment, state_options
from sender.web.web_server import DEFAULT_PORT, WebOptions, WebPage, serve


@click.command(
    help="Show runs on a live page: progress, rate, delivery, reasons. Pause, resume and close runs there.\n\n"
    "Prints the address to open, with a token that admits you. Only this machine can reach the page; from another one,"
    " use `ssh -L`, or a proxy with TLS and --name."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0: any free port."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--name", "names", multiple=True, metavar="HOST", help="Host name of a proxy; may be repeated.")
@click.option("--show-people", is_flag=True, help="Also show numbers, texts, and providers' sentences.")
@click.option("--read-only", is_flag=True, help="Leave out pause, resume and close.")
@env_file_option("File of KEY=value lines with the credentials, to cancel scheduled messages on close.")
@log_format_option
@state_options
def web(
    port: int,
    host: str,
    names: tuple[str, ...],
    env_file: Path | None,
    log_format: str,
    state_dir: Path | str,
    *,
    show_people: bool,
    read_only: bool,
    debug: bool,
) -> int:
    console.set_up_logs(debug=debug, log_format=log_format)

    def ready(page: WebPage) -> None:
        console.out.print(f"open {page.open_url}")
        console.out.print("  whoever has this address may see the runs; Ctrl-C stops it")

    options = WebOptions(host, port, names, show_people, read_only, environment(env_file))
    serve(state_dir, options, ready)
    return 0
