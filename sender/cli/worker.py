"""`sender worker`: waits on this machine for runs that are begun anywhere, and sends them."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import click
from rich.markup import escape

from sender.cli import console
from sender.cli.invocation import log_format_option
from sender.cli.shared_options import env_file_option, environment, state_options
from sender.core.errors import InputError
from sender.sending.shifts.shift_worker import ShiftWorker
from sender.state.open import folder_of, open_state


@click.command(
    help="Wait for runs that `sender send` begins on any machine, and send them from here, over a state in a"
    " database.\n\n"
    "On Ctrl-C or SIGTERM, the worker waits for the answers to requests in flight, and ends; on a second one, it quits"
    " at once. It uses the providers' credentials of this machine's environment."
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, metavar="N", help="Processes that send."
)
@env_file_option()
@log_format_option
@state_options
def worker(workers: int, env_file: Path | None, log_format: str, state_dir: Path | str, debug: bool) -> int:
    console.set_up_logs(debug=debug, log_format=log_format, quiet=False)
    if folder_of(state_dir) is not None:
        raise InputError(
            "`sender worker` needs a state in a database", fix="name one with --state URL, or in SENDER_STATE"
        )
    with open_state(state_dir, create=False):
        pass  # what is wrong with it is said before anything waits
    one = ShiftWorker(str(state_dir), workers, environment(env_file))
    asyncio.run(_work(one, f"waiting for runs in {state_dir} ({console.many(workers, 'process', 'processes')})"))
    return 0


async def _work(one: ShiftWorker, greeting: str) -> None:
    loop, asked = asyncio.get_running_loop(), asyncio.Event()

    def drain() -> None:
        console.err.print("stopping: waiting for the answers to requests in flight (Ctrl-C again quits at once)")
        one.drain()

    def on_signal(number: int, _frame: object) -> None:
        if asked.is_set():
            one.kill()
            os._exit(128 + number)
        asked.set()
        loop.call_soon_threadsafe(drain)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    console.out.print(escape(greeting), highlight=False)
    await one.run()
