"""What a scheduler starts and when, by a virtual clock and processes that are not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import sender
from sender.schedule.scheduler import MOST_FAILURES, Scheduler
from sender.state.open import open_state
from sender.state.state import State
from tests.schedule.virtual_clock import VirtualClock
from tests.state.conftest import SOME_DATABASES, give_back, lent, new_database, servers, state_pools

__all__ = ["give_back", "lent", "new_database", "servers", "state_pools"]  # fixtures

CAMPAIGN = """\
provider: sandbox
from: "+12025550199"
recipients: people.csv
message: Hi
schedule: {{cron: "{cron}", zone: {zone}, late: {late}}}
{more}"""


class FakeChild:
    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = arguments
        self.code: int | None = None
        self.values: Mapping[str, Any] = {}
        self.asked = 0

    def poll(self) -> int | None:
        return self.code

    def terminate(self) -> None:
        self.asked += 1

    def summary(self) -> Mapping[str, Any]:
        return self.values

    def option(self, name: str) -> str:
        return self.arguments[self.arguments.index(name) + 1]


class Job:
    """A folder, a state, a clock, and the processes that schedulers have started."""

    def __init__(self, folder: Path, state: State) -> None:
        self.folder = folder
        self.state = state
        self.clock = VirtualClock("2026-11-30T13:00")  # Monday, 08:00 in New York
        self.children: list[FakeChild] = []
        self.events: list[tuple[str, Mapping[str, Any]]] = []
        self.ends_with: int | None = 0
        (folder / "people.csv").write_text("phone\n+12025550100\n")

    def write(
        self,
        name: str = "a",
        *,
        cron: str = "0 9 * * *",
        zone: str = "America/New_York",
        late: str = "15m",
        more: str = "",
    ) -> None:
        text = CAMPAIGN.format(cron=cron, zone=zone, late=late, more=more)
        (self.folder / f"{name}.yaml").write_text(text, encoding="utf-8")

    def scheduler(self) -> Scheduler:
        def launch(arguments: Sequence[str]) -> FakeChild:
            child = FakeChild(arguments)
            child.code = self.ends_with
            self.children.append(child)
            return child

        return Scheduler(
            self.folder, self.state, self.clock.clock, launch, lambda event, values: self.events.append((event, values))
        )

    def run_until(self, scheduler: Scheduler, until: str) -> None:
        """Let the scheduler look until that time, UTC: every ten seconds near a full hour, where most is due, else 60."""
        end = VirtualClock(until).ms
        while self.clock.ms < end:
            scheduler.step()
            minute = self.clock.ms // 60_000 % 60
            self.clock.jump(10 if minute in (59, 0, 1) else 60)
        scheduler.step()

    def names(self, *names: str) -> list[str]:
        return [event for event, _ in self.events if not names or event in names]

    def of(self, name: str) -> list[Mapping[str, Any]]:
        return [values for event, values in self.events if event == name]


over_all = pytest.mark.parametrize("job", ["folder", *SOME_DATABASES], indirect=True)


@pytest.fixture
def job(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Job]:
    kind = getattr(request, "param", "folder")
    where = tmp_path / ".sender" if kind == "folder" else request.getfixturevalue("new_database")(kind)
    with open_state(where) as state:
        yield Job(tmp_path, state)


def ticks(job: Job) -> list[str]:
    return [child.option("--at") for child in job.children]


def test_each_time_is_started_once(job: Job) -> None:
    job.write()
    job.run_until(job.scheduler(), "2026-12-03T15:00")
    assert ticks(job) == [f"2026-{day}T09:00-05:00" for day in ("11-30", "12-01", "12-02", "12-03")]
    assert job.names() == ["schedule_begun", *["tick_started", "tick_ended"] * 4]
    assert all(values["late_s"] <= 10 for values in job.of("tick_started"))
    [arguments, *_] = [child.arguments for child in job.children]
    assert arguments[:3] == ("send", str(job.folder / "a.yaml"), "--yes")
    assert Path(job.children[0].option("--state")).is_absolute()
    assert job.children[0].option("--late") == "900s"


@over_all
def test_the_edition_is_the_tick(job: Job) -> None:
    job.write("a")
    job.write("b", more='edition: "{{ week }}"\n')
    job.write("c", cron="0 21 * * *", more='edition: "{{ date }}"\n')
    job.run_until(job.scheduler(), "2026-12-01T03:00")
    editions = {Path(child.arguments[1]).stem: child.option("--edition") for child in job.children}
    assert editions == {"a": "2026-11-30T09:00-05:00", "b": "2026-W49", "c": "2026-11-30"}, "in the schedule's zone"


@pytest.mark.parametrize(
    ("zone", "cron", "start", "end", "times"),
    [
        ("America/New_York", "30 1 * * *", "2026-11-01T03:00", "2026-11-01T12:00", ["2026-11-01T01:30-04:00"]),
        ("America/New_York", "30 2 * * *", "2027-03-14T03:00", "2027-03-14T12:00", ["2027-03-14T03:00-04:00"]),
        ("Australia/Lord_Howe", "15 2 * * *", "2026-10-03T10:00", "2026-10-03T20:00", ["2026-10-04T02:30+11:00"]),
        ("Australia/Lord_Howe", "45 1 * * *", "2027-04-03T10:00", "2027-04-03T20:00", ["2027-04-04T01:45+11:00"]),
    ],
    ids=["overlap", "gap", "half-hour-gap", "half-hour-overlap"],
)
def test_where_clocks_change(job: Job, zone: str, cron: str, start: str, end: str, times: list[str]) -> None:
    job.clock = VirtualClock(start)
    job.write(cron=cron, zone=zone)
    job.run_until(job.scheduler(), end)
    assert ticks(job) == times


@pytest.mark.parametrize(
    ("back_at", "started", "missed"),
    [
        pytest.param("2026-12-01T14:10", ["2026-12-01T09:00-05:00"], 0, id="within-late"),
        pytest.param("2026-12-01T14:16", [], 1, id="too-late"),
        pytest.param("2026-12-04T14:05", ["2026-12-04T09:00-05:00"], 3, id="the-newest-of-four"),
        pytest.param("2026-12-04T20:00", [], 4, id="all-too-late"),
    ],
)
def test_what_was_missed(job: Job, back_at: str, started: list[str], missed: int) -> None:
    job.write()
    job.run_until(job.scheduler(), "2026-11-30T15:00")
    assert len(job.children) == 1
    job.children.clear()
    job.clock.jump((VirtualClock(back_at).ms - job.clock.ms) / 1000)
    again = job.scheduler()
    again.step()
    again.step()
    assert ticks(job) == started
    assert sum(values["count"] for values in job.of("ticks_missed")) == missed
    record = job.state.ticks.read("a")
    assert record is not None
    assert record.missed == missed
    assert len(job.of("ticks_missed")) <= 1, "said once"


def test_a_new_schedule_counts_from_now(job: Job) -> None:
    job.clock.jump(3600 + 300)  # five past nine
    job.write()
    scheduler = job.scheduler()
    job.run_until(scheduler, "2026-11-30T20:00")
    assert job.children == []
    job.write(cron="59 14 * * *")  # a minute ago
    scheduler.step()
    assert job.names("schedule_changed")
    job.run_until(scheduler, "2026-11-30T20:30")
    assert job.children == []


def test_a_long_run_is_not_started_twice(job: Job) -> None:
    job.write(cron="*/5 * * * *")
    job.ends_with = None
    scheduler = job.scheduler()
    job.run_until(scheduler, "2026-11-30T13:18")
    assert len(job.children) == 1, "one at a time"
    job.children[0].code = 0
    job.ends_with = 0
    scheduler.step()
    scheduler.step()
    assert [child.option("--at")[11:16] for child in job.children] == ["08:05", "08:15"]
    assert [values["count"] for values in job.of("ticks_missed")] == [1]


@over_all
def test_two_schedulers_start_one_process(job: Job) -> None:
    job.write()
    job.ends_with = None
    one, two = job.scheduler(), job.scheduler()
    for _ in range(400):
        one.step()
        two.step()
        job.clock.jump(10)
    assert len(job.children) == 1
    job.children[0].code = 0
    for scheduler in (one, two, one, two):
        scheduler.step()
    assert len(job.children) == 1
    assert job.names("tick_ended") == ["tick_ended"]


@over_all
def test_a_scheduler_that_was_killed_is_resumed(job: Job) -> None:
    job.write()
    job.ends_with = None
    killed = job.scheduler()
    job.run_until(killed, "2026-11-30T14:01")
    for running in killed._running.values():
        running.locks.close()  # what the system does
    del killed
    job.clock.jump(7200)  # the time is long over, and it was begun
    job.ends_with = 0
    again = job.scheduler()
    again.step()
    again.step()
    assert ticks(job) == ["2026-11-30T09:00-05:00"] * 2
    assert [child.option("--edition") for child in job.children] == ["2026-11-30T09:00-05:00"] * 2
    assert job.names("tick_resumed", "tick_ended") == ["tick_resumed", "tick_ended"]
    again.step()
    assert len(job.children) == 2


def test_a_rehearsal_is_not_the_run_of_a_time(job: Job) -> None:
    """Somebody who rehearses the campaign while its scheduler is down has reached nobody."""
    job.write()
    file = job.folder / "a.yaml"
    file.write_text(file.read_text("utf-8").replace("provider: sandbox", "provider: twilio"), encoding="utf-8")
    job.ends_with = None
    killed = job.scheduler()
    job.run_until(killed, "2026-11-30T14:01")
    for running in killed._running.values():
        running.locks.close()  # what the system does
    del killed
    edition = job.children[0].option("--edition")
    campaign = sender.load_campaign(file, edition=edition, purpose="transactional")  # at any hour
    assert sender.send(sender.build_plan(campaign), state_dir=job.folder / ".sender", rehearse=True).exit_code == 0
    job.ends_with = 0
    again = job.scheduler()
    again.step()
    again.step()
    assert ticks(job) == ["2026-11-30T09:00-05:00"] * 2
    assert [values.get("recovered") for values in job.of("tick_ended")] == [None]


@over_all
def test_an_end_that_was_asked_for_can_be_resumed(job: Job) -> None:
    job.write()
    job.ends_with = None
    scheduler = job.scheduler()
    job.run_until(scheduler, "2026-11-30T14:01")
    scheduler.stop()
    scheduler.stop()
    assert job.children[0].asked == 1, "twice would mean at once"
    scheduler.step()
    assert scheduler.is_busy, "it finishes what is under way"
    job.children[0].code = 130
    scheduler.step()
    assert not scheduler.is_busy
    assert scheduler.exit_codes == [130]
    assert job.names("tick_interrupted")
    job.ends_with = 0
    again = job.scheduler()
    again.step()
    again.step()
    assert len(job.children) == 2


@pytest.mark.parametrize("code", [-9, 70])
def test_a_process_that_crashes_is_tried_again_a_few_times(job: Job, code: int) -> None:
    job.write()
    job.ends_with = code
    job.run_until(job.scheduler(), "2026-11-30T20:00")
    assert len(job.children) == MOST_FAILURES
    assert len(job.of("tick_crashed")) == MOST_FAILURES
    [end] = job.of("tick_ended")
    assert end["gave_up"]
    job.ends_with = 0
    job.run_until(job.scheduler(), "2026-12-01T15:00")
    assert len(job.children) == MOST_FAILURES + 1, "the next day is another"


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 130])
def test_a_campaign_that_fails_stops_no_other(job: Job, code: int) -> None:
    job.write("a")
    job.write("b")
    job.ends_with = code
    job.run_until(job.scheduler(), "2026-12-01T15:00")
    assert len(job.children) == 4
    assert [values["exit_code"] for values in job.of("tick_ended")] == [code] * 4
    record = job.state.ticks.read("a")
    assert record is not None
    assert (record.success_ms is not None) is (code == 1)


def test_a_broken_file_is_an_event_and_can_be_repaired_in_time(job: Job) -> None:
    job.write("a")
    job.write("b")
    scheduler = job.scheduler()
    job.run_until(scheduler, "2026-11-30T13:50")
    (job.folder / "a.yaml").write_text("provider: sandbox\nschedule: {cron: [", encoding="utf-8")
    job.run_until(scheduler, "2026-11-30T14:08")
    assert [Path(child.arguments[1]).stem for child in job.children] == ["b"]
    [fault] = job.of("campaign_broken")
    assert "a.yaml" in fault["error"]
    job.write("a", more="rate: none\n")
    job.run_until(scheduler, "2026-11-30T14:09")
    assert [Path(child.arguments[1]).stem for child in job.children] == ["b", "a"]
    assert job.names("campaign_repaired")


def test_a_name_belongs_to_one_file(job: Job) -> None:
    job.write("a")
    job.write("b", more="name: a\n")
    job.run_until(job.scheduler(), "2026-11-30T15:00")
    assert [Path(child.arguments[1]).stem for child in job.children] == ["a"]
    assert "is the name of a.yaml, too" in job.of("campaign_broken")[0]["error"]


def test_files_without_a_schedule_are_none_of_its_business(job: Job) -> None:
    (job.folder / "prices.yaml").write_text("currency: USD\nprices: {}\n", encoding="utf-8")
    (job.folder / "list.yaml").write_text("- {phone: '+12025550100'}\n", encoding="utf-8")
    (job.folder / "notes.yaml").write_text("{{{", encoding="utf-8")
    job.write("a")
    (job.folder / "once.yaml").write_text("provider: sandbox\nrecipients: people.csv\nmessage: 'no schedule'\n")
    job.run_until(job.scheduler(), "2026-11-30T15:00")
    assert len(job.children) == 1
    assert job.of("campaign_broken") == []


def test_nothing_starts_that_could_not_be_recorded(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    from sender.core.errors import StateError

    job.write()
    scheduler = job.scheduler()
    job.run_until(scheduler, "2026-11-30T13:59")

    def full(record: object) -> None:
        raise StateError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(job.state.ticks, "write", full)
        job.run_until(scheduler, "2026-11-30T14:05")
        assert job.children == []
        assert len(job.of("schedule_error")) == 1, "said once"
    job.run_until(scheduler, "2026-11-30T14:06")
    assert len(job.children) == 1, "within what it may be late"


@over_all
def test_the_clock_may_be_set_back(job: Job) -> None:
    job.write()
    scheduler = job.scheduler()
    job.run_until(scheduler, "2026-11-30T14:01")
    job.clock.jump(-600)
    job.run_until(scheduler, "2026-11-30T14:10")
    assert len(job.children) == 1
    assert datetime.fromisoformat(ticks(job)[0]).hour == 9
