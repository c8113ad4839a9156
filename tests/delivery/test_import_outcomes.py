"""Outcomes from a file: whom each is of, by whatever the file has of a person, and which run it belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

import sender
from sender.core.outcomes import Accepted
from sender.delivery.import_outcomes import ImportedOutcomes, RowProblem, import_outcomes
from sender.plan.plan import Plan
from sender.planning.recipient_links import list_links
from sender.planning.stored_messages import number_messages, recount
from sender.state.ledger import Run, RunKind, Settlement
from sender.state.state_dir import StateDir

PEOPLE = ("+12025550101", "+12025550102", "+12025550103")
FIRST, SECOND = (round(datetime(2026, 11, day, tzinfo=UTC).timestamp() * 1000) for day in (1, 8))
BEFORE, AT_FIRST, AFTER = "2026-10-31T23:59:59Z", "2026-11-01T00:00:00Z", "2026-11-09T00:00:00Z"


@dataclass
class World:
    """A state in which one campaign went to PEOPLE twice, as `first` and a week later as `second`."""

    state: StateDir
    folder: Path

    def load(
        self, text: str, *, run_id: str | None = None, event: str | None = "buy", id_column: str | None = None
    ) -> ImportedOutcomes:
        file = self.folder / "sold.csv"
        file.write_text(text, encoding="utf-8")
        run = None if run_id is None else self.state.ledger.run(run_id)
        return import_outcomes(self.state, file, run=run, event=event, id_column=id_column, default_region="US")

    def retry(self, row_number: int) -> None:
        """Send the message of this row of `second` again, as the run `again`."""
        whole = self.state.plan(self.state.ledger.run("second"))
        rows = number_messages(whole.frame.filter(row_number=row_number))
        self.send("again", Plan(recount(whole.manifest, rows, ""), rows), SECOND + 1, retry_of="second")

    def send(self, run_id: str, plan: Plan, created_at_ms: int, *, retry_of: str | None = None) -> None:
        count = plan.manifest.messages
        run = Run(
            run_id, "offer", RunKind.LIVE, "twilio", plan.hash, None, count, count, 0, created_at_ms, retry_of=retry_of
        )
        self.state.plans.save(run, plan)
        self.state.ledger.create_run(run)
        claims = self.state.ledger.claim(run_id, limit=count, lease_ms=60_000)
        accepted = [Settlement(claim, Accepted(f"{run_id}-m{claim.seq}")) for claim in claims]
        self.state.ledger.record(run_id, accepted)

    def kept(self, run_id: str = "second") -> list[tuple[int, str, int | None, float | None]]:
        """`row_number`, event, time and value."""
        frame = self.state.outcomes.read(self.state.ledger.run(run_id)).sort("row_number", "event")
        return frame.select("row_number", "event", "at_ms", "value").rows()

    def token(self, row_number: int) -> str:
        links = list_links(self.state.plan(self.state.ledger.run("second")), "")
        return str(links.filter(row_number=row_number)["token"].item())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with StateDir(tmp_path / "state") as state:
        people = pl.DataFrame({"phone": PEOPLE, "customer": ["C1", "C2", "C3"]})
        campaign = sender.load_campaign(
            recipients=people,
            provider="sandbox",
            from_="+12025550100",
            message="Hi {{ link('https://shop.example.com/') }}",
            links={"base": "https://l.example.com/", "domains": ["shop.example.com"]},
            name="offer",
        )
        plan = sender.build_plan(campaign, state_dir=tmp_path / "state")
        world = World(state, tmp_path)
        world.send("first", plan, FIRST)
        world.send("second", plan, SECOND)
        yield world


@pytest.mark.parametrize(
    ("header", "of_the_third"),
    [
        pytest.param("phone", "+1 202-555-0103", id="a number"),
        pytest.param("ref", "second.2", id="a ref"),
        pytest.param("message_id", "second-m2", id="the provider's id"),
        pytest.param("customer", " C3 ", id="a column of the list"),
    ],
)
def test_a_person_is_found_by_what_the_file_has(world: World, header: str, of_the_third: str) -> None:
    id_column = header if header == "customer" else None
    imported = world.load(f"{header}\n{of_the_third}\n", id_column=id_column)
    assert (imported.rows, imported.by_run, imported.new, imported.problems) == (1, {"second": 1}, 1, ())
    assert world.kept() == [(3, "buy", None, None)]


@pytest.mark.parametrize("text", ["{}", "https://l.example.com/{}", "https://l.example.com/{}/?utm=1"])
def test_a_click_is_found_by_the_token_of_its_link(world: World, text: str) -> None:
    imported = world.load(f"token\n{text.format(world.token(3))}\n", event=None)
    assert (imported.by_run, imported.problems) == ({"second": 1}, ())
    assert world.kept() == [(3, "click", None, None)]


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        pytest.param("1794182400", 1_794_182_400_000, id="seconds"),
        pytest.param("1794182400.25", 1_794_182_400_250, id="seconds and a part"),
        pytest.param("1794182400123", 1_794_182_400_123, id="milliseconds"),
        pytest.param("1794182400123.6", 1_794_182_400_124, id="milliseconds and a part"),
        pytest.param("2026-11-09T00:00:00+02:00", 1_794_175_200_000, id="ISO 8601 with an offset"),
        pytest.param("2026-11-09 00:00:00.5", 1_794_182_400_500, id="without an offset it is UTC"),
    ],
)
def test_how_a_time_is_written(world: World, text: str, at_ms: int) -> None:
    imported = world.load(f"phone,time\n{PEOPLE[0]},{text}\n")
    assert (imported.by_run, imported.problems) == ({"second": 1}, ())
    assert world.kept() == [(1, "buy", at_ms, None)]


def test_an_outcome_belongs_to_the_newest_run_before_it(world: World) -> None:
    at = (BEFORE, AT_FIRST, AFTER)
    imported = world.load("phone,time\n" + "".join(f"{to},{when}\n" for to, when in zip(PEOPLE, at, strict=True)))
    assert (imported.rows, imported.by_run, imported.new) == (3, {"second": 1, "first": 1}, 2)
    assert imported.problems == (RowProblem(2, "nobody in these runs, or before them"),)
    assert [row[0] for row in world.kept("first")] == [2]
    assert [row[0] for row in world.kept("second")] == [3]


def test_one_outcome_counts_for_one_run_and_once(world: World) -> None:
    file = f'phone,event,time,amount\n{PEOPLE[0]},buy,{AFTER},"1,250.50"\n{PEOPLE[0]},return,,\n'
    assert world.load(file, event=None).new == 2
    again = world.load(file, event=None)
    assert (again.by_run, again.new) == ({"second": 2}, 0)
    at_ms = round(datetime(2026, 11, 9, tzinfo=UTC).timestamp() * 1000)
    assert world.kept() == [(1, "buy", at_ms, 1250.5), (1, "return", None, None)]
    assert world.kept("first") == []


def test_only_the_run_that_is_named_is_looked_at(world: World) -> None:
    imported = world.load(f"phone\n{PEOPLE[0]}\n+12025550199\n", run_id="first")
    assert imported.by_run == {"first": 1}
    assert imported.problems == (RowProblem(3, "nobody in run first, or before it"),)
    assert (len(world.kept("first")), world.kept("second")) == (1, [])


def test_an_outcome_of_a_retry_belongs_to_the_run_that_was_retried(world: World) -> None:
    """Whatever run is named: both are one sending, and a report on either counts each person once."""
    world.retry(row_number=3)
    third = [("phone", PEOPLE[2]), ("ref", "again.0"), ("message_id", "again-m0"), ("ref", "second.2")]
    for run_id in ("again", "second", None):
        for header, cell in third:
            imported = world.load(f"{header}\n{cell}\n", run_id=run_id)
            assert (imported.by_run, imported.problems) == ({"second": 1}, ()), (run_id, header)
    assert world.load(f"phone\n{PEOPLE[0]}\n", run_id="again").by_run == {"second": 1}, (
        "whom only the first try reached"
    )
    assert [row[0] for row in world.kept("second")] == [1, 3]
    assert world.kept("again") == []


def test_rows_that_count_for_nothing_say_why(world: World) -> None:
    rows = [
        f"{PEOPLE[0]},,,",
        ",buy,,",
        f"{PEOPLE[0]},buy,soon,",
        f"{PEOPLE[0]},buy,,much",
        "+12025550199,buy,,",
        f"{PEOPLE[0]},buy,,",
    ]
    imported = world.load("phone,event,time,value\n" + "\n".join(rows) + "\n", event=None)
    assert [(problem.row_number, problem.why) for problem in imported.problems] == [
        (2, "no event"),
        (3, "no number"),
        (4, "soon is not a time: write 2026-11-29T14:05:00Z"),
        (5, "much is not a number"),
        (6, "nobody in these runs, or before them"),
    ]
    assert (imported.rows, imported.by_run, imported.new) == (6, {"second": 1}, 1)
