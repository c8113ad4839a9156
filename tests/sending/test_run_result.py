"""What a call of `send` says it did: the keys of `send --json`, the exit code, and the results."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sender.core.canary import Canary
from sender.core.errors import ProviderRefused, SenderError, StateError
from sender.delivery.reconcile import ReconcileResult
from sender.plan.waves import HeldMessages
from sender.reports.summary import Summary
from sender.sending.options import SendOptions
from sender.sending.run_result import RunResult
from sender.state.ledger import Run
from tests.state.run_history import ACCEPTED, ADA, GRACE, PENDING, RunHistory, plan_for

SUMMARY = Summary(
    rows=4,
    skipped={"opted_out": 1},
    accepted=1,
    rejected=1,
    canceled=0,
    unknown=0,
    pending=1,
    statuses={"sent": 1, "rejected": 1},
    errors=(),
    segments=2,
    price={"USD": Decimal("0.015")},
)


def result_of(history: RunHistory, run: Run, **values: Any) -> RunResult:
    given: dict[str, Any] = {
        "summary": SUMMARY,
        "results_path": Path("results.csv"),
        "state_dir": history.folder,
        "reconciled": ReconcileResult(),
        "limit": None,
    }
    return RunResult(run, plan_for(ADA, GRACE), **given | values)


def test_it_is_plain_values(history: RunHistory) -> None:
    run = history.add({ADA: ACCEPTED, GRACE: PENDING})
    stopped = ProviderRefused("no funds", fix="add some")
    held = HeldMessages(1_767_268_800_000, ("America/New_York",), ("US quiet hours",), 7)
    result = result_of(
        history,
        run,
        stopped=stopped,
        interrupted=True,
        resent=3,
        taken_out={"+12025550190": "unregistered"},
        held=(held,),
    )
    told = json.loads(json.dumps(result.to_dict()))
    assert told == {
        "run_id": "run-0",
        "campaign": "spring",
        "kind": "live",
        "results": "results.csv",
        "exit_code": 3,
        "stopped": stopped.sentence(),
        "interrupted": True,
        "resent": 3,
        "taken_out": {"+12025550190": "unregistered"},
        "held": [
            {
                "until_ms": 1_767_268_800_000,
                "zones": ["America/New_York"],
                "rules": ["US quiet hours"],
                "messages": 7,
            }
        ],
        "canary": None,
        "law": SUMMARY.totals_line(),
        "rows": 4,
        "skipped": {"opted_out": 1},
        "accepted": 1,
        "rejected": 1,
        "canceled": 0,
        "unknown": 0,
        "pending": 1,
        "statuses": {"sent": 1, "rejected": 1},
        "errors": [],
        "segments": 2,
        "price": {"USD": "0.015"},
    }


def test_a_run_that_nothing_stopped_and_its_canary(history: RunHistory) -> None:
    run, canary = history.add({ADA: ACCEPTED}), Canary(40)
    history.state.ledger.note_canary(run.run_id, canary)
    told = result_of(history, history.state.ledger.run(run.run_id)).to_dict()
    assert (told["stopped"], told["canary"], told["held"]) == (None, canary.to_dict(), [])


@pytest.mark.parametrize(
    ("stopped", "interrupted", "limit", "code"),
    [
        pytest.param(StateError("no disk"), False, None, 5, id="the state failed"),
        pytest.param(ProviderRefused("no funds"), True, None, 3, id="stopped by a guard"),
        pytest.param(None, True, None, 130, id="interrupted"),
        pytest.param(None, False, None, 130, id="some wait for their window"),
        pytest.param(None, True, 2, 130, id="interrupted before its limit"),
        pytest.param(None, False, 2, SUMMARY.exit_code, id="as many as were asked for"),
    ],
)
def test_the_exit_code_says_what_is_left(
    history: RunHistory, stopped: SenderError | None, interrupted: bool, limit: int | None, code: int
) -> None:
    run = history.add({ADA: PENDING})
    assert result_of(history, run, stopped=stopped, interrupted=interrupted, limit=limit).exit_code == code


@pytest.mark.parametrize("with_body", [False, True])
def test_the_results_have_the_texts_where_they_are_asked_for(history: RunHistory, with_body: bool) -> None:
    run = history.add({ADA: ACCEPTED, GRACE: PENDING})
    frame = result_of(history, run).results(with_body=with_body)
    assert frame["status"].to_list().count("pending") == 1
    assert (frame.columns[-1] == "body") is with_body
    assert not with_body or set(frame["body"]) == {"Hi"}


def test_options_reach_another_process_as_they_are(tmp_path: Path) -> None:
    given = SendOptions(
        state_dir=tmp_path / "state",
        source=tmp_path / "spring.yaml",
        results_path=tmp_path / "results.csv",
        env={"TOKEN": "x"},
        rehearse=True,
        limit=7,
        on_unfinished="close",
        wait_s=None,
        public_url="https://reports.example",
    )
    read = SendOptions(**json.loads(json.dumps(given.to_dict())))
    assert read.to_dict() == given.to_dict()
    assert [read.state_dir, read.source, read.results_path] == [
        str(tmp_path / name) for name in ("state", "spring.yaml", "results.csv")
    ]
    assert (read.limit, read.rehearse, read.on_unfinished, read.wait_s) == (7, True, "close", None)
    assert (read.env, SendOptions(state_dir=tmp_path).to_dict()["env"]) == ({"TOKEN": "x"}, None)
