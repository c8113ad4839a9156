"""Suppression files while a run is sent: what is added holds, nothing is lifted, and what cannot be read pauses."""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

import sender
from sender import providers
from sender.core.errors import RecipientsError
from sender.recipients.input_file import InputFile
from sender.suppression import number_files
from sender.suppression.number_files import PAUSE_AFTER_S, FileWatch, NumberFile, files_of, watch_files
from sender.suppression.number_list import ListRules

ADA, BOB, EVE = "+12025550101", "+12025550102", "+12025550103"
PEOPLE = pl.Series([ADA, BOB, EVE])
RULES = ListRules(("US",))


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


class Desk:
    """A file, a watch of it, and a clock that a test moves."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "stop.csv"
        self.clock = Clock()
        self.write(ADA)
        self.watch = self.open()

    def open(self, rules: ListRules = RULES) -> FileWatch:
        watch = FileWatch([NumberFile("stop.csv", self.path, rules)], lambda: PEOPLE, clock=self.clock)
        watch.read_all()
        return watch

    def write(self, *numbers: str) -> None:
        self.path.write_text("phone\n" + "".join(f"{number}\n" for number in numbers))

    def look(self, after_s: float = 1.0) -> set[str]:
        self.clock.now_s += after_s
        self.watch.look()
        return set(self.watch.held)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_number_that_is_added_is_held_and_one_that_is_taken_out_still_is(desk: Desk) -> None:
    assert set(desk.watch.held) == {ADA}
    desk.write(ADA, "(202) 555-0102")
    assert desk.look() == {ADA, BOB}
    assert desk.watch.held[BOB] == "the number is in stop.csv"
    desk.write(EVE, "+12025550199")
    assert desk.look() == {ADA, BOB, EVE}
    assert not desk.watch.is_paused


FAULTS = {
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "empty": lambda path: path.write_text(""),
    "only the header": lambda path: path.write_text("phone\n"),
    "a cell that is not a number": lambda path: path.write_text(f"phone\n{ADA}\nnobody\n"),
    "no column": lambda path: path.write_text("name,email\nAda,ada@example.com\n"),
    "a ragged row": lambda path: path.write_text(f"phone,name\n{ADA},Ada\n{BOB}\n{EVE},E,x\n"),
    "not a table": lambda path: path.write_bytes(b"%PDF-1.7"),
}


@pytest.mark.parametrize("spoil", FAULTS.values(), ids=FAULTS)
def test_a_file_that_cannot_be_read_lifts_nothing_and_pauses(
    desk: Desk, spoil: object, caplog: pytest.LogCaptureFixture
) -> None:
    spoil(desk.path)  # type: ignore[operator]
    with caplog.at_level(logging.INFO):
        assert desk.look() == {ADA}
        assert not desk.watch.is_paused
        assert desk.look(PAUSE_AFTER_S - 1) == {ADA}
        assert not desk.watch.is_paused
        assert desk.look(2) == {ADA}
        assert desk.watch.is_paused
        desk.look(600)
        assert desk.watch.is_paused
        if desk.path.is_dir():
            desk.path.rmdir()
        desk.write(ADA, BOB)
        assert desk.look(10) == {ADA, BOB}
        assert not desk.watch.is_paused
    events = [getattr(record, "event", None) for record in caplog.records]
    assert events == [
        "suppression_file_unreadable",
        "suppression_paused",
        "suppression_file_readable",
        "suppression_resumed",
    ]
    assert "+1202555" not in caplog.text, "log lines hold no numbers"


def test_a_file_that_lost_numbers_pauses_until_it_has_as_many(desk: Desk) -> None:
    desk.write(ADA, BOB)
    desk.look()
    desk.write(ADA)
    assert desk.look() == {ADA, BOB}
    desk.look(PAUSE_AFTER_S + 1)
    assert desk.watch.is_paused
    desk.write(ADA, EVE)
    assert desk.look() == {ADA, BOB, EVE}
    assert not desk.watch.is_paused
    assert set(desk.open().held) == {ADA, EVE}, "the next start reads it as it is"


def test_a_cell_that_cannot_be_read_does_not_hide_the_others(desk: Desk) -> None:
    desk.path.write_text(f"phone\n{ADA}\nnobody\n{BOB}\n")
    assert desk.look() == {ADA, BOB}
    with pytest.raises(RecipientsError, match="nobody"):
        desk.open()
    assert set(desk.open(ListRules(("US",), unreadable=1)).held) == {ADA, BOB}


def test_it_is_read_again_only_when_it_has_changed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    real = number_files.read_number_list
    monkeypatch.setattr(
        number_files, "read_number_list", lambda *given, **named: reads.append(1) or real(*given, **named)
    )
    past = time.time() - 60
    os.utime(desk.path, (past, past))
    desk.look()
    assert len(reads) == 1
    for _ in range(5):
        desk.look(10)
    assert len(reads) == 1
    copy = desk.path.with_name("copy.csv")
    copy.write_text(f"phone\n{BOB}\n")  # as many bytes, the same time: another file all the same
    os.utime(copy, (past, past))
    copy.replace(desk.path)
    assert desk.look() == {ADA, BOB}
    assert len(reads) == 2


def test_a_fault_that_leaves_no_trace_in_the_file_is_tried_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    past = time.time() - 60
    desk.write(ADA, BOB)
    os.utime(desk.path, (past, past))
    real = number_files.read_number_list

    def fail(*_: object, **__: object) -> None:
        raise RecipientsError("cannot be read: Input/output error")

    monkeypatch.setattr(number_files, "read_number_list", fail)
    assert desk.look() == {ADA}
    monkeypatch.setattr(number_files, "read_number_list", real)
    assert desk.look(10) == {ADA, BOB}


def test_a_watch_that_hangs_pauses(desk: Desk) -> None:
    """On a network file system whose server is gone, looking never returns."""
    desk.look()
    desk.clock.now_s += PAUSE_AFTER_S + 1
    assert desk.watch.is_paused
    desk.look()
    assert not desk.watch.is_paused


def test_without_files_nothing_is_watched_and_nothing_pauses() -> None:
    clock = Clock()
    watch = FileWatch([], lambda: PEOPLE, clock=clock)
    watch.read_all()
    clock.now_s += 1e6
    assert (dict(watch.held), watch.is_paused) == ({}, False)


def test_a_thread_looks_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(number_files, "LOOK_EVERY_S", 0.02)
    path = tmp_path / "stop.csv"
    path.write_text("phone\n")
    with watch_files([NumberFile("stop.csv", path, RULES)], lambda: PEOPLE) as watch:
        assert not watch.held
        path.write_text(f"phone\n{EVE}\n")
        deadline = time.monotonic() + 20
        while not watch.held:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert set(watch.held) == {EVE}
    with pytest.raises(RecipientsError), watch_files([NumberFile("x", tmp_path / "x.csv", RULES)], lambda: PEOPLE):
        pass


@pytest.mark.parametrize(
    ("provider", "code", "is_taken"),
    [
        pytest.param("signalwire", "988", True, id="a number that the provider takes unchanged"),
        pytest.param("signalwire", "977", False, id="another one"),
        pytest.param("twilio", "988", False, id="another provider"),
    ],
)
def test_a_file_is_read_again_as_the_plan_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: str, code: str, is_taken: bool
) -> None:
    (tmp_path / "stop.csv").write_text(f"phone,other\n{code},(202) 555-0102\n(202) 555-0101,x\n")
    monkeypatch.chdir(tmp_path)
    rules = ListRules(("US",), columns=("phone",), unreadable=1)
    note = json.loads(json.dumps(NumberFile("stop.csv", Path("stop.csv"), rules).to_manifest()))
    monkeypatch.chdir("/")
    again = NumberFile.from_manifest(note, providers.capabilities(provider))
    assert (again.name, again.path) == ("stop.csv", tmp_path / "stop.csv")
    assert set(again.read().numbers) == {ADA, *([code] if is_taken else [])}


def test_what_a_plan_keeps_of_a_file_is_read_by_later_versions(tmp_path: Path) -> None:
    """These keys are in the manifests of plans that exist: another name would lose the file at the next start."""
    file = NumberFile("stop.csv", tmp_path / "stop.csv", ListRules(("US", "GB"), columns=("phone",), unreadable=2))
    assert file.to_manifest() == {
        "name": "stop.csv",
        "path": str(tmp_path / "stop.csv"),
        "regions": ["US", "GB"],
        "columns": ["phone"],
        "unreadable": 2,
    }


@pytest.fixture
def earlier(tmp_path: Path) -> sender.Plan:
    """A plan of a version that named its suppression files and not how they are read, to people in two countries."""
    people = [{"phone": ADA}, {"phone": "+442079460001"}]
    campaign = sender.load_campaign(provider="signalwire", from_="+12025550150", message="Hi", recipients=people)
    plan = sender.build_plan(campaign)
    inputs = tuple(InputFile(role, name, 1, "") for role, name in (("suppress", "stop.csv"), ("recipients", "a.csv")))
    return plan.with_manifest(replace(plan.manifest, suppress=(), inputs=inputs))


@pytest.mark.parametrize("beside", [True, False], ids=["beside the campaign", "in the current folder"])
def test_the_file_of_an_earlier_version_s_plan_is_read_in_the_countries_of_its_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: sender.Plan, beside: bool
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "a.csv").write_text(f"phone\n{EVE}\n")
    (tmp_path / "stop.csv").write_text("phone\n(202) 555-0102\n020 7946 0002\n988\nnobody\n")
    monkeypatch.chdir(tmp_path / "work" if beside else tmp_path)
    (file,) = files_of(earlier, tmp_path / "spring.yaml" if beside else None)
    assert file.name == "stop.csv"
    assert {BOB, "+442079460002", "988"} <= set(file.read().numbers)
    assert EVE not in set(file.read().numbers)


@pytest.mark.parametrize("lost", ["the file", "its name"])
def test_a_plan_of_an_earlier_version_whose_file_is_gone_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: sender.Plan, lost: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if lost == "its name":
        (tmp_path / "stop.csv").write_text(f"phone\n{ADA}\n")
        earlier = earlier.with_manifest(replace(earlier.manifest, inputs=()))
    assert files_of(earlier, tmp_path / "spring.yaml") == ()


def test_a_pipe_is_not_read_again(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert not NumberFile("pipe", tmp_path / "pipe", RULES).can_be_read_again
    assert NumberFile("none", tmp_path / "none", RULES).can_be_read_again, "so that the start says that it is gone"
