"""`retry`: a new plan out of what did not arrive, and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sender
from sender.core.errors import InputError, RunComplete, RunUnfinished
from sender.core.outcomes import DeliveryReport, Reason, Status
from sender.plan.plan import Plan
from sender.planning.retry import find_taken_over, retry_plan
from sender.reports.run_results import latest_results
from sender.sandbox import Options, embedded
from sender.state.ledger import ReceivedReport, Run
from sender.state.state_dir import StateDir
from sender.suppression.suppression_list import SuppressionList

OURS = "+12025550150"


def number(n: int) -> str:
    return f"+120255501{n:02}"


@contextlib.contextmanager
def patient_sandbox() -> Iterator[dict[str, str]]:
    """Yield the variables of a sandbox where every message stays queued, however long its answer takes to arrive."""
    with embedded(Options(sent_after_s=3600, delivered_after_s=7200)) as url:
        yield {"SENDER_SANDBOX_URL": url}


class Past:
    """A run of the sandbox, and what its messages came to."""

    def __init__(self, folder: Path, numbers: list[int], **keys: Any) -> None:
        self.folder = folder
        people = pl.DataFrame({"phone": [*map(number, numbers)], "name": [f"N{n}" for n in numbers]})
        campaign = sender.load_campaign(
            recipients=people,
            name="offer",
            provider="sandbox",
            from_=OURS,
            message="Hi {{ name }}",
            rate="none",
            **keys,
        )
        plan = sender.build_plan(campaign, state_dir=folder)
        with patient_sandbox() as env:
            self.result = sender.send(plan, state_dir=folder, env=env, settle_unknowns=False)
        self.run = self.result.run

    def report(self, told: dict[int, tuple[Status, Reason | None]], run: Run | None = None) -> None:
        """What the provider says later of the rows in `told`."""
        run = run or self.run
        with StateDir(self.folder) as state:
            plan, journal = state.plan(run), state.ledger.journal(run.run_id)
            ids = plan.frame.join(journal, on="seq").select("row_number", "message_id", "seq")
            reports = [
                ReceivedReport(DeliveryReport(message_id, status, status.value, reason=reason), run.run_id, seq)
                for row, message_id, seq in ids.iter_rows()
                if row in told
                for status, reason in [told[row]]
            ]
            assert state.ledger.record_reports(reports).applied == len(told)

    def retry(self, run: Run | None = None, **options: Any) -> Plan:
        with StateDir(self.folder) as state:
            return retry_plan(state, run or self.run, **options)

    def rows(self, **options: Any) -> list[int]:
        """The rows that a retry would send."""
        with contextlib.suppress(InputError):
            return self.retry(**options).messages["row_number"].to_list()
        return []


WORDS = [
    (Status.DELIVERED, None),  # row 1
    (Status.SENT, None),  # 2
    (Status.UNCONFIRMED, None),  # 3
    (Status.UNDELIVERED, Reason.UNREACHABLE),  # 4
    (Status.UNDELIVERED, None),  # 5
    (Status.FAILED, Reason.OTHER),  # 6
    (Status.FAILED, Reason.FILTERED),  # 7
    (Status.UNDELIVERED, Reason.INVALID_NUMBER),  # 8
    (Status.UNDELIVERED, Reason.OPTED_OUT),  # 9
    (Status.CANCELED, None),  # 10
]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """Ten accepted messages with a word each, and row 11 that the provider has refused as no number."""
    past = Past(tmp_path_factory.mktemp("past"), [*range(1, 11), 90])
    past.report(dict(enumerate(WORDS, start=1)))
    return past


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({}, [4, 5, 6]),
        ({"statuses": ["undelivered"]}, [4, 5]),
        ({"statuses": ["failed"]}, [6]),
        ({"statuses": ["canceled", "unconfirmed"]}, [3, 10]),
        ({"statuses": ["rejected"]}, []),
        ({"reasons": ["filtered"]}, [7]),
        ({"reasons": ["unreachable", "none"]}, [4, 5]),
        ({"reasons": ["invalid_number"]}, [8, 11]),
        ({"statuses": ["rejected"], "reasons": ["invalid_number"]}, [11]),
        ({"include_delivered": True}, [1, 4, 5, 6]),
        ({"include_delivered": True, "reasons": ["filtered"]}, [1, 7]),
        ({"include_opted_out": True}, [4, 5, 6, 9]),
        ({"include_unknown": True}, [4, 5, 6]),
    ],
    ids=str,
)
def test_which_rows_are_sent_again(past: Past, options: dict[str, Any], rows: list[int]) -> None:
    assert past.rows(**options) == rows


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"statuses": ["unknown"]}, "--include-unknown"),
        ({"statuses": ["delivered"]}, "--include-delivered"),
        ({"statuses": ["sent"]}, "cannot retry by status"),
        ({"statuses": ["lost"]}, "cannot retry by status"),
        ({"reasons": ["bad luck"]}, "there is no reason"),
        ({"reasons": ["opted_out"]}, "--include-opted-out"),
    ],
    ids=str,
)
def test_what_must_be_asked_for_by_its_name(past: Past, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        past.retry(**options)


def test_texts_numbers_and_rows_stay_as_they_were(past: Past) -> None:
    plan = past.retry()
    before = past.result.plan.frame.filter(pl.col("row_number").is_in([4, 5, 6]))
    assert plan.frame.drop("seq").equals(before.drop("seq"))
    assert plan.frame["seq"].to_list() == [0, 1, 2]
    manifest = plan.manifest
    assert (manifest.retry_of, manifest.retry) == (past.run.run_id, 1)
    assert (manifest.rows, manifest.messages, manifest.segments, manifest.skipped) == (3, 3, 3, {})


def test_whoever_has_opted_out_since_is_skipped(past: Past, tmp_path: Path) -> None:
    own = Past(tmp_path, [1, 2])
    own.report(dict.fromkeys((1, 2), (Status.UNDELIVERED, Reason.UNREACHABLE)))
    with SuppressionList.open(tmp_path) as listed:
        listed.add([number(1)])
    plan = own.retry()
    assert plan.frame["reason"].to_list() == ["suppressed", None]
    assert plan.messages["row_number"].to_list() == [2]


def test_what_was_refused_for_the_hour_is_sent_again_by_default(tmp_path: Path) -> None:
    past = Past(tmp_path, [1, 2])
    past.report({1: (Status.FAILED, Reason.QUIET_HOURS), 2: (Status.DELIVERED, None)})
    assert past.rows() == [1]


def test_a_row_counts_as_what_became_of_it_last(tmp_path: Path) -> None:
    """Four did not arrive. The retry reaches two; a second one goes to the other two and nobody else."""
    past = Past(tmp_path, [1, 2, 3, 4, 5])
    failed = (Status.UNDELIVERED, Reason.UNREACHABLE)
    past.report(dict.fromkeys((1, 2, 3, 4), failed))
    with patient_sandbox() as env:
        first = sender.send(past.retry(), state_dir=tmp_path, env=env)
    assert (
        first.summary.totals_line()
        == "4 rows = 0 skipped + 4 accepted + 0 rejected + 0 canceled + 0 unknown + 0 pending"
    )
    assert first.run.retry_of == past.run.run_id
    assert past.rows() == []  # under way
    past.report({1: (Status.DELIVERED, None), 2: (Status.DELIVERED, None), 3: failed, 4: failed}, first.run)
    assert past.rows() == [3, 4]
    assert past.rows(run=first.run) == [3, 4]  # by either name
    with patient_sandbox() as env:
        second = sender.send(past.retry(), state_dir=tmp_path, env=env)
    assert second.plan.manifest.retry == 2
    with StateDir(tmp_path) as state:
        told = latest_results(state, past.run)
        assert [one.run_id for one in state.retries(past.run)] == [first.run.run_id, second.run.run_id]
        assert state.find("offer").run_id == past.run.run_id  # a name means the run, not its retries
    assert told["row_number"].to_list() == [1, 2, 3, 4, 5]
    assert told["status"].to_list() == ["delivered", "delivered", "queued", "queued", "queued"]
    assert told["run_id"].to_list() == [
        *[first.run.run_id] * 2,
        *[second.run.run_id] * 2,
        past.run.run_id,
    ]


def test_a_plan_of_a_retry_is_sent_once(tmp_path: Path) -> None:
    past = Past(tmp_path, [1, 2])
    past.report({1: (Status.FAILED, None)})
    plan = past.retry()
    sender.send(plan, state_dir=tmp_path)
    with pytest.raises(RunComplete, match="has been retried since this plan was made"):
        sender.send(plan, state_dir=tmp_path)


def test_an_unfinished_retry_is_finished_first(tmp_path: Path) -> None:
    past = Past(tmp_path, [1, 2, 3])
    past.report(dict.fromkeys((1, 2), (Status.FAILED, None)))
    begun = sender.send(past.retry(), state_dir=tmp_path, limit=1)
    assert begun.summary.pending == 1
    plan = past.retry()
    assert plan.hash == begun.plan.hash
    ended = sender.send(plan, state_dir=tmp_path)
    assert ended.run.run_id == begun.run.run_id
    assert ended.summary.accepted == 2


def test_a_run_that_is_not_finished_is_refused(tmp_path: Path) -> None:
    past = Past(tmp_path, [1, 2])
    people = pl.DataFrame({"phone": [number(n) for n in range(1, 4)]})
    campaign = sender.load_campaign(recipients=people, name="half", provider="sandbox", from_=OURS, message="Hi")
    half = sender.send(sender.build_plan(campaign), state_dir=tmp_path, limit=1)
    with pytest.raises(RunUnfinished, match="2 messages are pending"):
        past.retry(run=half.run)


def test_the_unknown_are_sent_again_only_when_told(tmp_path: Path) -> None:
    past = Past(tmp_path, [1, 97], retries=0)  # 0197: accepted, and a 500 for an answer
    assert past.result.summary.unknown == 1
    assert past.rows() == []
    assert past.rows(include_unknown=True) == [2]


def test_a_rehearsed_retry_of_a_simulation_is_one_of_its_retries(tmp_path: Path) -> None:
    past = Past(tmp_path, [1, 2])
    past.report(dict.fromkeys((1, 2), (Status.FAILED, None)))
    with patient_sandbox() as env:
        first = sender.send(past.retry(), state_dir=tmp_path, env=env)
    past.report({1: (Status.DELIVERED, None), 2: (Status.FAILED, None)}, first.run)
    assert past.rows(rehearse=True) == past.rows() == [2]
    assert past.retry(rehearse=True).manifest.retry == 2


def test_an_unknown_message_that_is_sent_again_is_taken_over(tmp_path: Path) -> None:
    past = Past(tmp_path, [1, 97, 2], retries=0)  # 0197: accepted, and a 500 for an answer
    assert past.result.summary.unknown == 1
    past.report({3: (Status.FAILED, None)})
    for include_unknown, taken_over in ((False, []), (True, [1])):
        plan = past.retry(include_unknown=include_unknown)
        with StateDir(tmp_path) as state:
            assert find_taken_over(state, plan, past.run.kind) == {past.run.run_id: taken_over}


def test_whoever_is_put_into_a_suppression_file_since_is_skipped(tmp_path: Path) -> None:
    stop = tmp_path / "stop.csv"
    stop.write_text(f"phone\n{number(9)}\n", encoding="utf-8")
    past = Past(tmp_path / "state", [1, 2], suppress=str(stop))
    past.report(dict.fromkeys((1, 2), (Status.UNDELIVERED, Reason.UNREACHABLE)))
    stop.write_text(f"phone\n{number(9)}\n{number(2)}\n", encoding="utf-8")
    plan = past.retry()
    assert plan.frame.select("reason", "detail").rows() == [
        (None, None),
        ("suppressed", "the number is in stop.csv"),
    ]
