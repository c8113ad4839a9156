"""The course of a call of `send`: what becomes of unknown messages, how long it waits for delivery, and what stops it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

import sender
from sender.core.canary import Canary, CanaryState
from sender.core.errors import CanaryStop, ProviderRefused
from sender.delivery import provider_log
from sender.delivery.settle import OnWait, SettleWait
from sender.sandbox import Faults, Options, embedded
from sender.sending.open_run import open_run
from sender.sending.options import SendOptions
from sender.sending.run_result import RunResult
from sender.sending.send_course import SendCourse
from sender.sending.shifts.run_sharing import RunSharing
from sender.state.heartbeat import Progress
from sender.state.open import open_state
from sender.state.sharing import SharedNews, SharedRun
from tests import local_http
from tests.delivery.test_runs import plan_of
from tests.sending.test_canary_gate import ARRIVED, FAILED, PASSED, TERMS, begin
from tests.state.run_history import ADA, GRACE, JEAN, MARY, RunHistory, plan_for


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


def send(
    plan: sender.Plan,
    folder: Path,
    url: str,
    cancel: asyncio.Event | None = None,
    *,
    settle_s: int = 0,
    on_progress: Callable[[Progress], None] | None = None,
    on_wait: OnWait | None = None,
    **ways: Any,
) -> RunResult:
    """Rehearse it with the sandbox at `url`, whose log proves after `settle_s` that a message has never arrived."""
    env = {"SENDER_SANDBOX_URL": url, "SENDER_SANDBOX_SETTLE_S": str(settle_s)}
    options = SendOptions(state_dir=folder, rehearse=True, env=env, **ways)

    async def go() -> RunResult:
        with open_run(plan, options) as session:
            async with asyncio.timeout(60):
                return await session.send(options, cancel=cancel, on_progress=on_progress, on_wait=on_wait)

    return asyncio.run(go())


def states(folder: Path, result: RunResult) -> list[str]:
    with open_state(folder, read_only=True) as state:
        return state.ledger.journal(result.run.run_id)["state"].to_list()


def lost(*people: str, times: int) -> Options:
    """A sandbox that loses the first requests for these people."""
    return Options(faults=Faults(recipients=dict.fromkeys(people, ("reset-before",) * times)))


@pytest.mark.parametrize(
    ("people", "says"),
    [
        pytest.param([GRACE], "1 message does not arrive: no answer was conclusive", id="one"),
        pytest.param([GRACE, JEAN], "2 messages do not arrive: no answer was conclusive", id="two"),
    ],
)
@pytest.mark.parametrize("retries", [0, 2])
def test_what_never_arrives_is_sent_again_so_often_and_stops_the_run(
    tmp_path: Path, people: Sequence[str], says: str, retries: int
) -> None:
    plan = plan_of("twilio", [ADA, *people], retries=retries)
    with embedded(lost(*people, times=10)) as url:
        result = send(plan, tmp_path, url)
        assert local_http.get(f"{url}/sandbox/faults").json()["faults"] == {"reset-before": (1 + retries) * len(people)}
    assert isinstance(result.stopped, ProviderRefused)
    assert result.stopped.what.startswith(says)
    assert states(tmp_path, result) == ["accepted"] + ["pending"] * len(people), "the same command sends them again"


def test_what_the_log_proves_never_to_have_arrived_is_sent_again(tmp_path: Path) -> None:
    with embedded(lost(GRACE, times=2)) as url:
        result = send(plan_of("twilio", [ADA, GRACE], retries=2), tmp_path, url)
        assert local_http.get(f"{url}/sandbox/counts").json()["recipients"] == {ADA: 1, GRACE: 1}
    assert (result.stopped, result.summary.accepted) == (None, 2)


@pytest.mark.parametrize(
    ("resend_unknown", "is_canceled", "settles", "resent"),
    [
        pytest.param(False, False, True, 0, id="left alone"),
        pytest.param(True, False, True, 1, id="a person asks for it"),
        pytest.param(True, True, True, 0, id="canceled while it is looked up"),
        pytest.param(True, True, False, 0, id="canceled before it is sent again"),
    ],
)
def test_what_is_unknown_is_sent_again_only_where_a_person_asks_for_it(
    tmp_path: Path, resend_unknown: bool, is_canceled: bool, settles: bool, resent: int
) -> None:
    plan, cancel = plan_of("twilio", [ADA, GRACE, JEAN]), asyncio.Event()
    with embedded(lost(GRACE, times=2)) as url:
        first = send(plan, tmp_path, url, settle_unknowns=False, limit=2)
        assert states(tmp_path, first) == ["accepted", "unknown"]
        if is_canceled:
            cancel.set()
        asked: dict[str, Any] = {"settle_unknowns": settles, "resend_unknown": resend_unknown}
        result = send(plan, tmp_path, url, cancel, settle_s=3600, **asked)
        assert local_http.get(f"{url}/sandbox/faults").json()["faults"] == {"reset-before": 1 + resent}
    assert result.resent == resent
    assert states(tmp_path, result)[1] == "unknown"
    assert (result.summary.accepted, result.summary.pending) == ((1, 1) if is_canceled else (2, 0))


@pytest.mark.parametrize(("wait_s", "waits"), [(None, True), (5.0, True), (0.0, False)])
def test_it_waits_for_delivery_unless_it_is_told_not_to(tmp_path: Path, wait_s: float | None, waits: bool) -> None:
    with embedded(Options(sent_after_s=0.05, delivered_after_s=0.1)) as url:
        result = send(plan_of("twilio", [ADA, GRACE]), tmp_path, url, wait_s=wait_s)
    assert result.summary.accepted == 2
    assert (result.refreshed is not None) is waits
    if result.refreshed is not None:
        assert result.refreshed.delivering == 0


def test_what_the_canary_says_stops_the_senders_of_other_machines(history: RunHistory) -> None:
    """They do not see what stops this process."""
    run = begin(history, (ARRIVED, 40), (FAILED, 40), canary=PASSED)
    plan, shared = history.state.plan(run), mock.create_autospec(SharedRun, instance=True)
    shared.look.return_value = SharedNews(None, {}, None)
    others: Any = SimpleNamespace(open=lambda run: shared)
    options = SendOptions(state_dir=history.folder, settle_unknowns=False)

    async def send_all() -> None:
        sharing = RunSharing(history.state, others, run, plan.manifest.pace, options, 2)
        resources: Any = SimpleNamespace(run=run, sharing=sharing)
        course = SendCourse(history.state, plan, plan.manifest.pace, resources, options, None)
        async with sharing.open_rate_limiter(resumed=False):
            await course.run(asyncio.Event(), TERMS)

    with pytest.raises(CanaryStop, match="40 of 80 failed") as stopped:
        asyncio.run(send_all())
    assert [json.loads(text) for (text,), _ in shared.halt.call_args_list] == [stopped.value.to_dict()]


@pytest.mark.parametrize("settle", [True, False], ids=["it stays until the log decides", "it does not"])
def test_the_caller_hears_of_the_wait_for_the_log(tmp_path: Path, settle: bool) -> None:
    waits: list[SettleWait] = []
    cancel = asyncio.Event()

    def give_up(wait: SettleWait) -> None:
        waits.append(wait)
        cancel.set()

    with embedded(lost(GRACE, times=1)) as url:
        plan = plan_of("twilio", [ADA, GRACE])
        result = send(plan, tmp_path, url, cancel, settle_s=3600, settle=settle, on_wait=give_up)
    assert [wait.unknown for wait in waits] == [1] * settle
    assert all(0 < wait.left_s < 3700 for wait in waits)
    assert (result.interrupted, states(tmp_path, result)) == (settle, ["accepted", "unknown"])


def test_a_log_that_cannot_be_read_is_not_asked_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first message, after the last, and once more: each try takes half a minute."""
    monkeypatch.setattr(provider_log, "BACKOFF_S", 0.1)
    faults = Faults({"log-500": 1.0}, {GRACE: ("reset-before",)})
    plan = plan_of("twilio", [ADA, GRACE])
    with embedded(Options(faults=faults)) as url:
        send(plan, tmp_path, url, settle_unknowns=False)
        result = send(plan, tmp_path, url)
        assert local_http.get(f"{url}/sandbox/faults").json()["faults"]["log-500"] == provider_log.PAGE_TRIES
    assert states(tmp_path, result) == ["accepted", "unknown"]
    assert result.reconciled.failure is not None


def test_what_is_found_at_first_and_at_the_end_is_counted_together(tmp_path: Path) -> None:
    people, plan = (ADA, GRACE), plan_of("twilio", [ADA, GRACE, JEAN], retries=0)
    with embedded(Options(faults=Faults(recipients=dict.fromkeys(people, ("reset-after",))))) as url:
        assert states(tmp_path, send(plan, tmp_path, url, settle_unknowns=False, limit=1)) == ["unknown"]
        result = send(plan, tmp_path, url)
    assert result.reconciled.found == 2
    assert states(tmp_path, result) == ["accepted"] * 3


FIRST_TWO = {"first": 2, "wait": "30s"}


def test_the_wait_for_the_canary_is_shown(tmp_path: Path) -> None:
    """A call that is canceled while it waits for receipts has sent the canary and nothing else."""
    shown: list[Progress] = []
    cancel = asyncio.Event()

    def show(progress: Progress) -> None:
        if progress.awaited:
            shown.append(progress)
            cancel.set()

    with embedded(Options(sent_after_s=300, delivered_after_s=600)) as url:
        plan = plan_of("twilio", [ADA, GRACE, JEAN, MARY], canary=FIRST_TWO)
        result = send(plan, tmp_path, url, cancel, on_progress=show)
    assert [(now.awaited, now.accepted, now.pending, now.total) for now in shown] == [(2, 2, 2, 4)]
    assert (result.interrupted, result.stopped) == (True, None)
    assert result.run.canary is not None
    assert result.run.canary.state is CanaryState.WAITING
    assert (result.summary.accepted, result.summary.pending) == (2, 2)


@pytest.mark.parametrize(("limit", "accepted"), [(1, 1), (2, 2)])
def test_a_limit_within_the_canary_waits_for_no_receipts(tmp_path: Path, limit: int, accepted: int) -> None:
    with embedded(Options(sent_after_s=300, delivered_after_s=600)) as url:
        plan = plan_of("twilio", [ADA, GRACE, JEAN, MARY], canary=FIRST_TWO)
        result = send(plan, tmp_path, url, limit=limit)
    assert (result.summary.accepted, result.stopped) == (accepted, None)
    assert result.run.canary == Canary(2), "nothing is awaited, and nothing decided"


def test_without_receipts_the_others_stay(tmp_path: Path) -> None:
    with embedded(Options(sent_after_s=300, delivered_after_s=600)) as url:
        plan = plan_of("twilio", [ADA, GRACE, JEAN, MARY], canary={"first": 2, "wait": "1s"})
        result = send(plan, tmp_path, url)
    assert isinstance(result.stopped, CanaryStop)
    assert (result.summary.accepted, result.summary.pending) == (2, 2)
    assert result.run.canary is not None
    assert result.run.canary.state is CanaryState.STOPPED


def test_the_canary_is_passed_with_its_receipts(tmp_path: Path) -> None:
    with embedded(Options(sent_after_s=0, delivered_after_s=0)) as url:
        plan = plan_of("twilio", [ADA, GRACE, JEAN, MARY], canary=FIRST_TWO)
        result = send(plan, tmp_path, url)
    assert (result.stopped, result.summary.accepted) == (None, 4)
    canary = result.run.canary
    assert canary is not None
    assert canary.evidence is not None
    assert (canary.state, canary.evidence.delivered) == (CanaryState.PASSED, 2)


def test_receipts_that_came_since_a_stop_are_read_before_anything_is_sent(tmp_path: Path) -> None:
    plan = plan_of("twilio", [ADA, GRACE, JEAN], canary={"first": 1, "wait": "30s"})
    with embedded(Options(sent_after_s=0.1, delivered_after_s=0.2)) as url:
        run = send(plan, tmp_path, url, limit=1).run
        with open_state(tmp_path) as state:
            assert state.ledger.delivering(run.run_id) == 1
            time.sleep(0.3)  # until it is delivered
            state.ledger.note_canary(run.run_id, Canary(1, CanaryState.STOPPED, passed_at_ms=1))
        result = send(plan, tmp_path, url, limit=1, listening=True)
    assert result.run.canary is not None
    assert (result.run.canary.state, result.summary.statuses["delivered"]) == (CanaryState.PASSED, 1)
