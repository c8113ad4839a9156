"""Sending from Python: a plan in, a result out, blocking or not."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from sender.core.errors import InputError
from sender.delivery.webhooks.app import check_public_url
from sender.plan.plan import Plan
from sender.sending import event_loop
from sender.sending.open_run import open_run
from sender.sending.run_result import DeliveryOptions, RunResult
from sender.state.heartbeat import Progress
from sender.state.state_dir import DEFAULT_STATE_DIR


async def asend(
    plan: Plan,
    *,
    state_dir: str | Path = DEFAULT_STATE_DIR,
    env: Mapping[str, str] | None = None,
    rehearse: bool = False,
    limit: int | None = None,
    again: bool = False,
    new_run: bool = False,
    resume: bool = False,
    settle_unknowns: bool = True,
    resend_unknown: bool = False,
    public_url: str | None = None,
    wait_s: float = 0.0,
    on_progress: Callable[[Progress], None] | None = None,
    cancel: asyncio.Event | None = None,
    workers: int = 1,
) -> RunResult:
    """What became of `plan`: sent, or resumed where an earlier call stopped.

    `env` holds the credentials (default: the process's environment). `on_progress` is called about ten times a
    second. `public_url` is what `sender listen` runs behind, for delivery reports; `wait_s` is how long to ask the
    provider's log for final statuses afterwards. Setting `cancel` stops claiming and waits for the answers under way;
    the same call resumes. `workers` is how many processes send, for a pace that one cannot keep. The other options are
    those of `sender send`. Raises InputError, RunLocked, RunComplete or InputsChanged before anything is sent; a guard
    that stops the run later is in `RunResult.stopped`.
    """
    with open_run(plan, state_dir=state_dir, rehearse=rehearse, again=again, new_run=new_run, resume=resume) as session:
        return await session.send(
            env=os.environ if env is None else env,
            limit=limit,
            settle_unknowns=settle_unknowns,
            resend_unknown=resend_unknown,
            on_progress=on_progress,
            cancel=cancel,
            delivery=DeliveryOptions(check_public_url(public_url) if public_url else None, wait_s=wait_s),
            workers=workers,
        )


def send(
    plan: Plan,
    *,
    state_dir: str | Path = DEFAULT_STATE_DIR,
    env: Mapping[str, str] | None = None,
    rehearse: bool = False,
    limit: int | None = None,
    again: bool = False,
    new_run: bool = False,
    resume: bool = False,
    settle_unknowns: bool = True,
    resend_unknown: bool = False,
    public_url: str | None = None,
    wait_s: float = 0.0,
    on_progress: Callable[[Progress], None] | None = None,
    workers: int = 1,
) -> RunResult:
    """`asend`, blocking. Raises InputError where an event loop runs already: await `asend` there."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise InputError("an event loop is running here", fix="use `await sender.asend(...)`")
    return event_loop.run(
        asend(
            plan,
            state_dir=state_dir,
            env=env,
            rehearse=rehearse,
            limit=limit,
            again=again,
            new_run=new_run,
            resume=resume,
            settle_unknowns=settle_unknowns,
            resend_unknown=resend_unknown,
            public_url=public_url,
            wait_s=wait_s,
            on_progress=on_progress,
            workers=workers,
        )
    )
