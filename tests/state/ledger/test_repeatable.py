"""Which messages' create requests can be written again, byte for byte, whatever keeps the ledger."""

from __future__ import annotations

from typing import Any

import pytest

from sender.core.outcomes import SubmissionState
from sender.state.ledger import REPEATABLE_SCHEMA, Ledger, RequestFormat, Settlement
from tests.state.ledger.steps import ACCEPTED, LEASE_MS, RUN, UNKNOWN

FIRST, SECOND = RequestFormat("https://one.example", "1", "abc"), RequestFormat(None, "1", "abc")


@pytest.fixture
def asked(store: Any, ledger: Ledger) -> dict[str, int]:
    """Six messages in doubt or accepted, a second apart, and the numbers of the two formats they were claimed with."""
    formats = {name: ledger.note_request_format(RUN.run_id, one) for name, one in (("1", FIRST), ("2", SECOND))}
    for name, outcome in (("1", UNKNOWN), ("2", UNKNOWN), ("1", ACCEPTED), ("", UNKNOWN), ("1", UNKNOWN)):
        (one,) = ledger.claim(RUN.run_id, limit=1, lease_ms=LEASE_MS, request_format=formats.get(name))
        ledger.use_senders(RUN.run_id, [(one, "+12025550150")])
        ledger.record(RUN.run_id, [Settlement(one, outcome)])
        store.clock.ms += 1000
    ledger.claim(RUN.run_id, limit=1, lease_ms=LEASE_MS, request_format=formats["2"])
    return formats


@pytest.mark.parametrize(
    ("state", "since_s", "name", "limit", "seqs"),
    [
        pytest.param(SubmissionState.UNKNOWN, 0, None, None, [4, 1, 0], id="all, the last first"),
        pytest.param(SubmissionState.UNKNOWN, 0, None, 2, [4, 1], id="the last two"),
        pytest.param(SubmissionState.UNKNOWN, 0, None, 0, [], id="none"),
        pytest.param(SubmissionState.UNKNOWN, 1, None, None, [4, 1], id="claimed since then"),
        pytest.param(SubmissionState.UNKNOWN, 1.001, None, None, [4], id="claimed later"),
        pytest.param(SubmissionState.UNKNOWN, 0, "1", None, [4, 0], id="of one format"),
        pytest.param(SubmissionState.UNKNOWN, 0, "1", 1, [4], id="the last of one format"),
        pytest.param(SubmissionState.INTENT, 0, None, None, [5], id="under way"),
        pytest.param(SubmissionState.ACCEPTED, 0, "2", None, [], id="none of that format"),
    ],
)
def test_requests_that_can_be_written_again(
    ledger: Ledger, asked: dict[str, int], state: SubmissionState, since_s: float, name: str | None, limit: int | None,
    seqs: list[int],
) -> None:  # fmt: skip
    frame = ledger.repeatable(
        RUN.run_id,
        state,
        since_ms=RUN.created_at_ms + round(since_s * 1000),
        request_format=None if name is None else asked[name],
        limit=limit,
    )
    assert dict(frame.schema) == REPEATABLE_SCHEMA
    assert frame["seq"].to_list() == seqs


def test_a_request_is_described_as_it_was(ledger: Ledger, asked: dict[str, int]) -> None:
    rows = ledger.repeatable(RUN.run_id, SubmissionState.UNKNOWN, since_ms=0, limit=2).rows()
    assert rows == [
        (4, 1, RUN.created_at_ms + 4000, "+12025550150", asked["1"]),
        (1, 1, RUN.created_at_ms + 1000, "+12025550150", asked["2"]),
    ]
    assert ledger.request_formats(RUN.run_id) == {asked["1"]: FIRST, asked["2"]: SECOND}
