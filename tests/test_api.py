"""The library: as good from Python as from the shell, without prints, exits or global state."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

import sender
from sender.core.errors import RunComplete
from sender.sending.options import SendKeywords


def campaign(n: int = 5, **keys: Any) -> sender.Campaign:
    people = pl.DataFrame({"phone": [f"+120255501{i:02}" for i in range(n)], "name": [f"N{i}" for i in range(n)]})
    return sender.load_campaign(
        **{
            "recipients": people,
            "provider": "sandbox",
            "from_": "+12025550100",
            "message": "Hi {{ name }}",
            "rate": "none",
            "name": "lib",
            **keys,
        }
    )


def test_from_frame_to_results(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plan = sender.build_plan(campaign())
    assert plan.messages["body"].to_list() == [f"Hi N{i}" for i in range(5)]
    assert plan.skipped.is_empty()
    seen: list[sender.Progress] = []
    result = sender.send(plan, state_dir=tmp_path / "state", on_progress=seen.append)
    assert result.exit_code == 0
    assert result.summary.accepted == 5
    assert result.summary.holds
    frame = result.results()
    assert frame["name"].to_list() == [f"N{i}" for i in range(5)]
    # The sandbox hands a message on 50 ms after it came, and a busy machine may take longer to read the answer.
    assert set(frame["status"].to_list()) <= {"queued", "sent"}
    assert frame.height == 5
    assert seen[-1].done == 5
    assert capfd.readouterr() == ("", "")


def test_a_pandas_frame(tmp_path: Path) -> None:
    people = pd.DataFrame({"phone": ["+12025550101", None], "name": ["Ada", "Nobody"]})
    plan = sender.build_plan(campaign(recipients=people))
    assert plan.frame["reason"].to_list() == [None, "missing_data"]
    assert sender.send(plan, state_dir=tmp_path).summary.accepted == 1


def test_async_with_cancellation_and_resume(tmp_path: Path) -> None:
    plan = sender.build_plan(campaign(40, rate="100/s"))

    async def go() -> sender.RunResult:
        cancel = asyncio.Event()

        def stop(now: sender.Progress) -> None:
            if now.accepted >= 5:
                cancel.set()

        return await sender.asend(plan, state_dir=tmp_path, on_progress=stop, cancel=cancel)

    first = asyncio.run(go())
    assert first.interrupted
    assert first.exit_code == 130
    assert 5 <= first.summary.accepted < 40
    assert first.summary.unknown == 0
    second = sender.send(plan, state_dir=tmp_path)
    assert second.run.run_id == first.run.run_id
    assert second.summary.accepted == 40


def test_a_sent_plan_is_refused_and_again_sends_it(tmp_path: Path) -> None:
    plan = sender.build_plan(campaign(2))
    first = sender.send(plan, state_dir=tmp_path)
    with pytest.raises(RunComplete):
        sender.send(plan, state_dir=tmp_path)
    assert sender.send(plan, state_dir=tmp_path, again=True).run.run_id != first.run.run_id


def test_options_as_a_value_or_as_keywords(tmp_path: Path) -> None:
    plan = sender.build_plan(campaign(5))
    options = sender.SendOptions(state_dir=tmp_path, limit=2)
    assert sender.send(plan, options).summary.accepted == 2
    assert sender.send(plan, state_dir=tmp_path, limit=4).summary.accepted == 4
    assert sender.send(plan, replace(options, limit=None)).summary.accepted == 5


def test_options_and_keywords_together_are_refused(tmp_path: Path) -> None:
    plan = sender.build_plan(campaign(1))
    with pytest.raises(sender.InputError, match="both options and keyword arguments are given: limit"):
        sender.send(plan, sender.SendOptions(state_dir=tmp_path), limit=1)
    assert not list(tmp_path.iterdir())


def test_the_keywords_are_the_fields_of_the_options() -> None:
    annotations = {field.name: field.type for field in fields(sender.SendOptions)}
    assert {name: hint.__forward_arg__ for name, hint in SendKeywords.__annotations__.items()} == annotations


def test_options_survive_the_way_to_another_process() -> None:
    options = sender.SendOptions(state_dir=Path("state"), env={"TOKEN": "s3cret"}, limit=3, wait_s=None)
    plain = json.loads(json.dumps(options.to_dict()))
    assert sender.SendOptions(**plain) == replace(options, state_dir="state")
    assert "s3cret" not in repr(options)


def test_a_retry_from_python(tmp_path: Path) -> None:
    """A plan of what did not arrive is sent like any other, and is stored with its run alone."""
    people = [{"phone": phone, "name": "x"} for phone in ("+12025550101", "+12025550190")]  # the last one is refused
    first = sender.send(sender.build_plan(campaign(recipients=people)), state_dir=tmp_path)
    with sender.StateDir(tmp_path, read_only=True) as state:
        plan = sender.retry_plan(state, first.run, reasons=["invalid_number"])
    result = sender.send(plan, sender.SendOptions(state_dir=tmp_path))
    assert (result.run.retry_of, result.summary.rows, result.summary.rejected) == (first.run.run_id, 1, 1)
    assert not (tmp_path / "plans").exists()


def test_logs_hold_no_numbers_and_no_bodies(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="sender")
    sender.send(sender.build_plan(campaign(3)), state_dir=tmp_path)
    told = " ".join(
        f"{record.getMessage()} {vars(record)}" for record in caplog.records if record.name.startswith("sender")
    )
    assert told
    assert "55501" not in told
    assert "Hi N" not in told


def test_two_runs_at_once_in_one_process(tmp_path: Path) -> None:
    async def go() -> list[sender.RunResult]:
        plans = [sender.build_plan(campaign(10, name=name)) for name in ("one", "two")]
        return await asyncio.gather(*(sender.asend(plan, state_dir=tmp_path) for plan in plans))

    assert [result.summary.accepted for result in asyncio.run(go())] == [10, 10]


def test_settings_beside_a_frame() -> None:
    people = pl.DataFrame({"phone": ["(202) 555-0101"], "name": ["Ada"]})
    plan = sender.build_plan(campaign(recipients={"frame": people, "default_region": "US"}))
    assert plan.messages["to"].to_list() == ["+12025550101"]


def test_the_blocking_form_says_where_it_cannot_be_called(tmp_path: Path) -> None:
    plan = sender.build_plan(campaign(1))

    async def go() -> None:
        sender.send(plan, state_dir=tmp_path)

    with pytest.raises(sender.InputError, match=r"await sender\.asend"):
        asyncio.run(go())


def test_a_plan_without_messages_is_no_run(tmp_path: Path) -> None:
    plan = sender.build_plan(campaign(recipients=[{"phone": "1", "name": "x"}]))
    with pytest.raises(sender.InputError, match="nobody to send to"):
        sender.send(plan, state_dir=tmp_path)
