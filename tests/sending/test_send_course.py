"""The course of a call of `send` that is interrupted while it waits for delivery."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from sender.sandbox import Options, embedded
from sender.sending.open_run import open_run
from sender.sending.options import SendOptions
from sender.sending.run_result import RunResult
from sender.state.heartbeat import Progress
from tests.state.run_history import ADA, GRACE, plan_for


def test_a_stop_ends_the_wait_for_delivery(tmp_path: Path) -> None:
    plan = plan_for(ADA, GRACE, provider="sandbox")

    async def send(options: SendOptions) -> RunResult:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def stop_soon(progress: Progress) -> None:
            if progress.accepted == progress.total:
                loop.call_later(0.3, stop.set)

        with open_run(plan, options) as session:
            async with asyncio.timeout(60):
                return await session.send(options, cancel=stop, on_progress=stop_soon)

    with embedded(Options(sent_after_s=300, delivered_after_s=600)) as url:
        began_s = time.monotonic()
        options = SendOptions(state_dir=tmp_path, env={"SENDER_SANDBOX_URL": url}, wait_s=50, source=None)
        result = asyncio.run(send(options))
    assert time.monotonic() - began_s < 40, "nothing is delivered within the minutes that it might have waited"
    assert result.summary.accepted == 2
    assert result.refreshed is not None
    assert result.refreshed.delivering == 2
