"""What every store of facts about numbers does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from sender.core.errors import InputError, RunLocked, StateError
from sender.state.database_url import read_database_url
from sender.state.new_state import init_state
from sender.state.number_facts import ANSWER, LOOKUP, EmptyNumbers, NumberFacts, NumberStore
from sender.state.open import open_numbers, open_state
from sender.state.postgres.number_facts import NumberFactsTable
from sender.state.sqlite.number_facts import NumberFactsFile
from tests.state.conftest import SOME_DATABASES

ADA, BOB = "+12025550101", "+12025550102"


def fact(
    number: str = ADA, source: str = LOOKUP, at: int = 10, *, simulated: bool = False, **more: object
) -> NumberFacts:
    return NumberFacts(number, simulated, source, "twilio", at)._replace(**more)  # type: ignore[arg-type]


FULL = NumberFacts(
    ADA, False, LOOKUP, "twilio", 10, "voip", "ACME", "America/New_York", "no", "2026-01-01", True, "odd", "0.008", "USD"
)  # fmt: skip


@pytest.fixture(params=["sqlite", *SOME_DATABASES])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NumberStore]:
    kind = request.param
    url = None if kind == "sqlite" else read_database_url(request.getfixturevalue("new_database")(kind))
    opened = NumberFactsFile.open(tmp_path / "numbers.sqlite3") if url is None else NumberFactsTable(url)
    yield opened
    opened.close()


def test_everything_that_was_put_comes_back(store: NumberStore) -> None:
    assert store.put([FULL, fact(BOB)]) == 2
    assert list(store.everything()) == [FULL, fact(BOB)]
    assert list(store.look_up([BOB, "+12025550199"], simulated=False)) == [fact(BOB)]


def test_one_of_a_simulation_is_apart(store: NumberStore) -> None:
    real, simulated = fact(), fact(simulated=True, valid=False)
    assert store.put([real, simulated]) == 2
    assert list(store.look_up([ADA], simulated=True)) == [simulated]
    assert [(one.simulated, one.valid) for one in store.look_up([ADA], simulated=True)] == [(True, False)]
    assert all(isinstance(one.simulated, bool) for one in store.everything())


def test_one_at_a_time_looks_numbers_up(store: NumberStore) -> None:
    with store.hold_lookups():
        with pytest.raises(RunLocked, match="another process looks numbers up"), store.hold_lookups():
            pass
        store.put([FULL])
    with store.hold_lookups():
        assert list(store.everything()) == [FULL]


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        pytest.param(fact(at=10), fact(at=11), 1, id="a newer lookup"),
        pytest.param(fact(at=10), fact(at=9), 0, id="an older lookup"),
        pytest.param(fact(at=10), fact(at=10, line_type="voip"), 0, id="the same moment"),
        pytest.param(fact(at=10), fact(source=ANSWER, at=11), 0, id="an answer after a lookup"),
        pytest.param(fact(source=ANSWER, at=11), fact(at=10), 1, id="a lookup after an answer"),
        pytest.param(fact(source=ANSWER, at=10), fact(source=ANSWER, at=11), 1, id="a newer answer"),
    ],
)
def test_the_newest_lookup_counts_or_else_the_newest_answer(
    store: NumberStore, first: NumberFacts, second: NumberFacts, kept: int
) -> None:
    store.put([first])
    assert store.put([second]) == kept
    assert list(store.everything()) == [second if kept else first]


def test_simulations_are_apart(store: NumberStore) -> None:
    store.put([fact(line_type="mobile"), fact(simulated=True, line_type="voip")])
    assert [each.line_type for each in store.look_up([ADA], simulated=True)] == ["voip"]
    assert [each.line_type for each in store.look_up([ADA], simulated=False)] == ["mobile"]


def test_facts_are_erased_by_number_and_by_age(store: NumberStore) -> None:
    store.put([fact(at=10), fact(simulated=True, at=10), fact(BOB, at=20)])
    assert store.erase([ADA, "+12025550199"]) == 2
    assert store.drop_before(20) == 0
    assert store.drop_before(21) == 1
    store.compact()
    assert list(store.everything()) == []


def test_what_was_erased_is_gone_from_the_file(tmp_path: Path) -> None:
    store = NumberFactsFile.open(tmp_path / "numbers.sqlite3")
    store.put([fact(carrier="a carrier with a long name")])
    store.erase([ADA])
    store.compact()
    assert not any(ADA.encode() in file.read_bytes() for file in tmp_path.iterdir())
    store.close()


def test_an_empty_store_answers_and_cannot_be_written() -> None:
    empty = EmptyNumbers()
    assert [*empty.everything(), *empty.look_up([ADA], simulated=False)] == []
    assert (empty.erase([ADA]), empty.drop_before(1)) == (0, 0)
    empty.compact()
    empty.close()
    with pytest.raises(InputError):
        empty.put([fact()])


def test_looking_makes_no_file(tmp_path: Path) -> None:
    init_state(tmp_path)
    before = sorted(tmp_path.iterdir())
    open_numbers(tmp_path, create=False).close()
    with open_state(tmp_path, read_only=True) as state:
        state.open_numbers().close()
    assert [file for file in sorted(tmp_path.iterdir()) if "numbers" in file.name] == []
    assert before == [file for file in sorted(tmp_path.iterdir()) if file in before]


@pytest.mark.parametrize(("pragma", "value"), [("user_version", 2), ("application_id", 1)])
def test_another_file_is_refused(tmp_path: Path, pragma: str, value: int) -> None:
    path = tmp_path / "numbers.sqlite3"
    NumberFactsFile.open(path).close()
    db = apsw.Connection(str(path))
    db.pragma(pragma, value)
    db.close()
    with pytest.raises(StateError, match="not a list of numbers"):
        NumberFactsFile.open(path)
