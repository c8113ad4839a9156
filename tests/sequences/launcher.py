"""Starts the real `sender` command, or the sandbox, as the sequences need them. For their harness alone.

`python -m tests.sequences.launcher send offer.yaml --yes` is `sender send offer.yaml --yes`, with what the environment
variable SEQUENCE (JSON, see `Setup`) asks for: a kill at a named point, a log whose absence counts soon, or a rule that
is taken away. Production code knows nothing of this.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import sender.cli
from sender.delivery import route_sessions
from sender.delivery.webhooks import server
from tests.crash import launcher as crash
from tests.sequences import mutants

PROVIDER = "--provider-of-the-sequence"


@dataclass(frozen=True)
class Setup:
    """`point`, `passage`: where the process kills itself (`tests.crash.launcher.POINTS`); `mutant`: a rule to break.

    `settle_s` is the age from which absence from the provider's log counts, which is minutes for a real provider.
    """

    point: str | None = None
    passage: int = 1
    mutant: str | None = None
    settle_s: float = 0.2

    def json(self) -> str:
        return json.dumps(asdict(self))


def shorten_settling(settle_s: float) -> None:
    """The sandbox's log shows a message at once, so its absence may count at once."""
    find_facts = route_sessions.log_facts

    def log_facts(*args: Any, **options: Any) -> Any:
        facts = find_facts(*args, **options)
        return facts if facts.settle_s is None else replace(facts, settle_s=settle_s)

    route_sessions.log_facts = log_facts


def believe_replies() -> None:
    """What comes from loopback would count for simulated runs only; here it is the provider."""
    make_handler = server.InboundHandler
    server.InboundHandler = lambda state, handling, **_: make_handler(state, handling, simulated=False)


def serve_provider(port: int, faults: dict[str, list[str]], state_file: str) -> None:
    from sender.sandbox import Faults, Options, serve

    options = Options(
        state_file=Path(state_file),
        sent_after_s=0.0,
        delivered_after_s=0.02,
        faults=Faults(recipients={number: tuple(kinds) for number, kinds in faults.items()}),
    )
    serve(options, port=port, on_ready=lambda url: print(url, flush=True))  # noqa: T201 (the harness reads it)


def main() -> None:
    if sys.argv[1] == PROVIDER:
        serve_provider(int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4])
        return
    setup = Setup(**json.loads(os.environ["SEQUENCE"]))
    shorten_settling(setup.settle_s)
    believe_replies()
    if setup.mutant is not None:
        mutants.apply(setup.mutant)
    if setup.point is not None:
        reaper = crash.Reaper(crash.Trap(setup.point, setup.passage))
        crash.set_traps(reaper)
        crash.set_command_traps(reaper)
    sender.cli.main()


if __name__ == "__main__":
    main()
