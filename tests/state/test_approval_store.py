"""What every store of approvals does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import sender
from sender.core.errors import StateError
from sender.state.approvals import Approval, ApprovalStore, ApprovedText, RunApproval
from sender.state.ledger import Run, RunKind
from sender.state.open import open_approvals, open_state
from tests.state.conftest import SOME_DATABASES

RUN = Run("run-1", "spring", RunKind.LIVE, "twilio", "hash", None, 1, 1, 0, 0)


@pytest.fixture(params=["folder", *SOME_DATABASES])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    kind = request.param
    return str(tmp_path / "state") if kind == "folder" else str(request.getfixturevalue("new_database")(kind))


@pytest.fixture
def store(where: str) -> Iterator[ApprovalStore]:
    with open_state(where) as state:
        yield state.approvals


def approval(name: str, at_ms: int = 1, key: str = "SHA256:a") -> Approval:
    return Approval(name, key, at_ms, f"signature of {name}\n", f"{name} ssh-ed25519 AAAA")


def approved(text: str, *approvals: Approval) -> ApprovedText:
    return ApprovedText(text, "/plans/spring", approvals)


def test_approvals_of_a_text_are_kept_together_and_the_newest_of_a_person_counts(store: ApprovalStore) -> None:
    store.add(approved("text", approval("anna", 1)))
    store.add(approved("text", approval("bob", 2)))
    together = store.add(approved("text", approval("anna", 3)))
    assert {(each.name, each.at_ms) for each in together.approvals} == {("anna", 3), ("bob", 2)}
    assert list(store.read()) == [together]


def test_they_come_in_the_order_of_their_newest(store: ApprovalStore) -> None:
    for text, at_ms in (("a\0 text \N{SNOWMAN}", 20), ("b", 10), ("c", 30)):
        store.add(approved(text, approval("anna", at_ms), approval("bob", 5)))
        store.add(approved(text, approval("carl", 1)))
    assert [each.text for each in store.read()] == ["b", "a\0 text \N{SNOWMAN}", "c"]


def test_another_handle_has_them_before_anything_is_sent(where: str, store: ApprovalStore) -> None:
    other = open_approvals(where)
    other.add(approved("text", approval("anna")))
    assert list(store.read()) == list(other.read()) == [approved("text", approval("anna"))]


def test_of_two_that_approve_at_once_both_are_kept(where: str, store: ApprovalStore) -> None:
    names = [f"person {n}" for n in range(6)]
    threads = [
        threading.Thread(target=lambda name=name: open_approvals(where).add(approved("text", approval(name))))  # type: ignore[misc]
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (together,) = store.read()
    assert sorted(each.name for each in together.approvals) == names


def test_by_what_a_run_began(store: ApprovalStore) -> None:
    assert store.of_run(RUN) is None
    began = RunApproval(approved("text", approval("anna")), "sha256")
    store.note_run(RUN, began)
    store.note_run(RUN, began)
    assert store.of_run(RUN) == began
    assert list(store.read()) == [], "what a run began with approves no other"


def test_one_that_cannot_be_read_is_told(where: str, store: ApprovalStore) -> None:
    store.add(approved("text", approval("anna")))
    if where.startswith("postgresql:"):
        psycopg = pytest.importorskip("psycopg")
        with psycopg.connect(where, autocommit=True) as db:
            db.execute("UPDATE approval SET content = '{}'")
    else:
        next((Path(where) / "approvals").glob("*.json")).write_text("{}")
    with pytest.raises(StateError, match="the approval cannot be read") as told:
        store.read()
    assert "approve again" in str(told.value.fix)


def test_the_library_s_names_are_there() -> None:
    assert sender.open_state is open_state
