"""Who a plan holds back, and who gets nothing after all when the list grows while it is sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from sender.core.outcomes import Canceled, CancelReason, SkipReason
from sender.suppression.entries import EntrySource, SuppressionEntry
from sender.suppression.live_check import LiveSuppression, SendContext, apply_suppression, watch_suppressions
from sender.suppression.suppression_list import SuppressionList

ADA, BOB, EVE = "+12025550101", "+12025550102", "+12025550103"
OURS, OTHER = "+12025550150", "+12025550151"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LIVE = SendContext("spring", "twilio")


@pytest.fixture
def listed(tmp_path: Path) -> SuppressionList:
    return SuppressionList.open(tmp_path)


def later(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_stop_from_another_process_counts_within_a_second(tmp_path: Path) -> None:
    """Another connection writes, as `sender listen` or `sender suppress add` do; the gate notices by itself."""
    clock = Clock()
    with SuppressionList.open(tmp_path) as ours, SuppressionList.open(tmp_path) as theirs:
        gate = LiveSuppression(
            ours, LIVE, since=ours.mark(), numbers=lambda: pytest.fail("asked for the plan"), clock=clock
        )
        assert gate.refuses(ADA, OURS) is None
        theirs.learn_inbound(ADA, "STOP", OURS, "twilio", NOON)
        clock.now = 1.0
        assert gate.refuses(ADA, OURS) == Canceled(
            CancelReason.OPTED_OUT, f"not sent: replied STOP to {OURS} on 2026-11-21 12:00 UTC"
        )
        assert gate.refuses(BOB, OURS) is None
        theirs.learn_inbound(ADA, "start", OURS, "twilio", later(1))
        clock.now = 2.0
        assert gate.refuses(ADA, OURS) is None


@pytest.mark.parametrize("many", [0, 1_000_000])
def test_a_plan_made_before_the_list_grew_is_held_against_what_came_since(
    tmp_path: Path, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sender.suppression.suppression_list.MANY_CHANGES", many)
    with SuppressionList.open(tmp_path) as listed:
        listed.add([BOB])
        mark = listed.mark()
        listed.add([ADA])
        gate = LiveSuppression(listed, LIVE, since=mark, numbers=lambda: pl.Series([ADA, EVE]))
        assert gate.refuses(ADA, OURS)
        assert gate.refuses(EVE, OURS) is None


def test_the_list_is_looked_at_five_times_a_second(tmp_path: Path) -> None:
    clock = Clock()
    with SuppressionList.open(tmp_path) as ours, SuppressionList.open(tmp_path) as theirs:
        gate = LiveSuppression(ours, LIVE, since=ours.mark(), numbers=lambda: pl.Series([ADA]), clock=clock)
        for n, number in enumerate((ADA, BOB, EVE)):
            theirs.add([number])
            clock.now = n * 0.5 + 0.1999  # the last look was at n * 0.5
            assert gate.refuses(number, OURS) is None
            clock.now = n * 0.5 + 0.2
            assert gate.refuses(number, OURS) is not None
            clock.now = (n + 1) * 0.5
            assert gate.refuses(number, OURS) is not None


def test_a_change_made_through_the_same_handle_counts_too(tmp_path: Path) -> None:
    clock = Clock()
    with SuppressionList.open(tmp_path) as listed:
        gate = LiveSuppression(listed, LIVE, since=listed.mark(), numbers=lambda: pl.Series([ADA]), clock=clock)
        listed.add([ADA])
        clock.now = 0.2
        assert gate.refuses(ADA, OURS) is not None


@pytest.mark.parametrize("many", [0, 1_000_000])
def test_who_is_taken_off_the_list_gets_the_message(tmp_path: Path, many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sender.suppression.suppression_list.MANY_CHANGES", many)
    clock = Clock()
    with SuppressionList.open(tmp_path) as listed:
        listed.add([ADA, BOB])
        gate = LiveSuppression(listed, LIVE, since=None, numbers=lambda: pl.Series([ADA, BOB]), clock=clock)
        listed.remove([ADA])
        clock.now = 1.0
        assert gate.refuses(ADA, OURS) is None
        assert gate.refuses(BOB, OURS) is not None


def test_of_like_reasons_the_first_is_shown_and_of_unlike_ones_the_strongest(listed: SuppressionList) -> None:
    listed.add([ADA], scope="campaign:spring", at=later(1))
    listed.add([ADA], source=EntrySource.FILE, via="old.csv", at=NOON)
    listed.add([BOB], reason=SkipReason.LANDLINE, at=NOON)
    listed.add([BOB], source=EntrySource.FILE, via="old.csv", at=later(1))
    frame = pl.DataFrame(
        {"to": [ADA, BOB, EVE], "from_number": [OURS] * 3, "reason": [None] * 3, "detail": ["a", "b", "c"]},
        schema_overrides={"reason": pl.String},
    )
    marked = apply_suppression(frame, listed, SendContext("spring", "twilio", skip_dead=True))
    assert marked["detail"].to_list() == [
        "on the suppression list from old.csv on 2026-11-21 12:00 UTC",
        "on the suppression list from old.csv on 2026-11-21 12:01 UTC",
        "c",
    ]
    assert marked.columns == frame.columns


class TestOfARun:
    """`watch_suppressions`: what a run's check knows is what its plan and the run say."""

    SCOPES = ("campaign:spring", "account:twilio", "sender:MG1", "sandbox")
    CASES = (
        pytest.param({}, False, (True, True, True, False, False), id="the plan's own names"),
        pytest.param({"campaign": "autumn"}, False, (False, True, True, False, False), id="another campaign"),
        pytest.param({"provider": "telnyx"}, False, (True, False, True, False, False), id="another provider"),
        pytest.param({"service": None}, False, (True, True, False, False, False), id="no service"),
        pytest.param({}, True, (True, True, True, True, False), id="simulated"),
        pytest.param({"suppression": {"skip_dead": True}}, False, (True, True, True, False, True), id="dead ones too"),
    )

    @staticmethod
    def watch(
        listed: SuppressionList, numbers: list[str], *, simulated: bool = False, **manifest: object
    ) -> tuple[LiveSuppression, list[str]]:
        asked: list[str] = []

        def recipients() -> pl.Series:
            asked.extend(numbers)
            return pl.Series(numbers)

        given = {"campaign": "spring", "provider": "twilio", "service": "MG1", "suppression": None, **manifest}
        plan: Any = SimpleNamespace(manifest=SimpleNamespace(**given), recipients=recipients)
        run: Any = SimpleNamespace(simulated=simulated)
        return watch_suppressions(run, plan, listed), asked

    @pytest.mark.parametrize(("manifest", "simulated", "held"), CASES)
    def test_scopes(
        self, listed: SuppressionList, manifest: dict[str, object], simulated: bool, held: tuple[bool, ...]
    ) -> None:
        numbers = [f"+1202555011{n}" for n in range(5)]
        for number, scope in zip(numbers, self.SCOPES, strict=False):
            listed.add([number], scope=scope)
        listed.add(numbers[4:], reason=SkipReason.LANDLINE)
        check, asked = self.watch(listed, numbers, simulated=simulated, **manifest)
        assert tuple(check.refuses(number, OURS) is not None for number in numbers) == held
        assert asked == [], "the list has few changes: they are read, not the plan"

    @pytest.mark.parametrize("marked", [True, False])
    def test_only_what_came_after_the_plan_was_checked_is_looked_at(
        self, listed: SuppressionList, monkeypatch: pytest.MonkeyPatch, marked: bool
    ) -> None:
        monkeypatch.setattr("sender.suppression.suppression_list.MANY_CHANGES", 0)
        listed.add([ADA])
        checked = {"mark": listed.mark(), "skip_dead": False} if marked else None
        check, asked = self.watch(listed, [ADA, BOB], suppression=checked)
        assert (check.refuses(ADA, OURS) is None) is marked
        assert asked == ([] if marked else [ADA, BOB]), "too many changes to list: the plan's numbers are looked up"


def test_the_name_in_a_scope_may_have_colons(listed: SuppressionList) -> None:
    listed.add([ADA], scope="sender:our:own")
    frame = pl.DataFrame(
        {"to": [ADA], "from_number": ["our:own"], "reason": [None], "detail": [None]},
        schema_overrides={"reason": pl.String, "detail": pl.String},
    )
    assert apply_suppression(frame, listed, LIVE)["reason"].to_list() == ["suppressed"]


@pytest.mark.parametrize(
    ("reason", "skip_dead", "covers"),
    [
        (SkipReason.OPTED_OUT, False, True),
        (SkipReason.SUPPRESSED, False, True),
        (SkipReason.LANDLINE, False, False),
        (SkipReason.INVALID_NUMBER, False, False),
        (SkipReason.LANDLINE, True, True),
        (SkipReason.INVALID_NUMBER, True, True),
    ],
)
def test_dead_numbers_are_covered_on_request(reason: SkipReason, skip_dead: bool, covers: bool) -> None:
    entry = SuppressionEntry(ADA, reason, EntrySource.PERSON, "", "all", NOON)
    assert SendContext("spring", "twilio", skip_dead=skip_dead).covers(entry, OURS) is covers


def test_each_look_is_about_what_came_since_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the list is, the plan's numbers are not read again for a few changes."""
    monkeypatch.setattr("sender.suppression.suppression_list.MANY_CHANGES", 2)
    clock = Clock()
    with SuppressionList.open(tmp_path) as listed:
        listed.add([f"+120255501{n}" for n in range(60, 70)])
        gate = LiveSuppression(
            listed, LIVE, since=listed.mark(), numbers=lambda: pytest.fail("asked for the plan"), clock=clock
        )
        for place, number in enumerate((ADA, BOB, EVE), 1):
            listed.add([number])
            clock.now = float(place)
            assert gate.refuses(number, OURS) is not None
        assert [gate.refuses(number, OURS) is None for number in (ADA, BOB, EVE)] == [False] * 3, "none is forgotten"


def test_the_list_is_read_only_when_it_has_changed(listed: SuppressionList, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, reads = Clock(), []

    def changed_since(mark: str | None) -> list[str] | None:
        reads.append(clock.now)
        return SuppressionList.changed_since(listed, mark)

    monkeypatch.setattr(listed, "changed_since", changed_since)
    gate = LiveSuppression(listed, LIVE, since=None, numbers=lambda: pl.Series([ADA]), clock=clock)
    for second in range(1, 7):
        clock.now = float(second)
        if second == 4:
            listed.add([ADA])
        gate.refuses(ADA, OURS)
    assert reads == [0.0, 4.0]


def test_a_person_may_be_on_the_list_more_than_once(tmp_path: Path) -> None:
    """Each entry holds for its own scope; when one is taken off, the others stay."""
    clock = Clock()
    with SuppressionList.open(tmp_path) as listed:
        gate = LiveSuppression(listed, LIVE, since=listed.mark(), numbers=lambda: pl.Series([ADA]), clock=clock)
        listed.add([ADA], scope="campaign:autumn")
        listed.add([ADA], scope=f"sender:{OURS}")
        clock.now = 1.0
        assert [gate.refuses(ADA, number) is not None for number in (OURS, OTHER)] == [True, False]
        listed.add([ADA], scope="account:twilio")
        clock.now = 2.0
        assert [gate.refuses(ADA, number) is not None for number in (OURS, OTHER)] == [True, True]
        listed.remove([ADA], scope="account:twilio")
        clock.now = 3.0
        assert [gate.refuses(ADA, number) is not None for number in (OURS, OTHER)] == [True, False]


@pytest.mark.parametrize(
    ("from_number", "own", "campaign_s", "held"),
    [
        pytest.param(OURS, None, None, True, id="its number"),
        pytest.param(OTHER, None, None, False, id="another number"),
        pytest.param(None, None, OURS, True, id="the campaign's service"),
        pytest.param(None, OURS, OTHER, True, id="its own service"),
        pytest.param(None, OTHER, OURS, False, id="its own service comes before the campaign's"),
        pytest.param(None, None, None, False, id="neither"),
    ],
)
def test_a_scope_of_a_sender_is_about_its_messages_alone(
    listed: SuppressionList, from_number: str | None, own: str | None, campaign_s: str | None, held: bool
) -> None:
    """When the plan is made and when it is sent alike."""
    context = SendContext("spring", "twilio", service=campaign_s)
    listed.add([ADA], scope=f"sender:{OURS}")
    gate = LiveSuppression(listed, context, since=None, numbers=lambda: pl.Series([ADA]))
    assert (gate.refuses(ADA, from_number, own) is not None) is held
    frame = pl.DataFrame(
        {"to": [ADA], "from_number": [from_number], "own": [own], "reason": [None], "detail": [None]},
        schema_overrides=dict.fromkeys(("from_number", "own", "reason", "detail"), pl.String),
    )
    marked = apply_suppression(frame, listed, context, own_service=pl.col("own"))
    assert marked["reason"].to_list() == (["suppressed"] if held else [None])
    assert marked.columns == frame.columns


def test_rows_that_have_a_reason_or_no_number_stay_as_they_are(listed: SuppressionList) -> None:
    listed.add([ADA, BOB])
    frame = pl.DataFrame(
        {
            "to": [ADA, None, BOB, EVE],
            "from_number": [OURS] * 4,
            "reason": ["duplicate", "invalid_number", None, None],
            "detail": ["of row 2", "too short", "a note", None],
        }
    )
    marked = apply_suppression(frame, listed, LIVE)
    assert marked["reason"].to_list() == ["duplicate", "invalid_number", "suppressed", None]
    assert marked["detail"].to_list()[:2] == ["of row 2", "too short"]
    assert marked["detail"].to_list()[3] is None
    assert apply_suppression(frame[[0, 1, 3]], listed, LIVE).equals(frame[[0, 1, 3]])


@pytest.mark.parametrize(
    ("scopes", "sender_s", "held"),
    [
        pytest.param([("all", SkipReason.LANDLINE)], OTHER, "landline", id="one for all senders"),
        pytest.param([("sender", SkipReason.OPTED_OUT)], OTHER, None, id="another sender's is not"),
        pytest.param([("sender", SkipReason.SUPPRESSED), ("sender", SkipReason.OPTED_OUT)], OURS, "opted_out", id="of a sender's, the strongest"),
    ],
)  # fmt: skip
def test_which_entry_is_shown(
    listed: SuppressionList, scopes: list[tuple[str, SkipReason]], sender_s: str, held: str | None
) -> None:
    for scope, reason in scopes:
        listed.add([ADA], reason=reason, scope=scope if scope == "all" else f"sender:{OURS}")
    frame = pl.DataFrame(
        {"to": [ADA], "from_number": [sender_s], "reason": [None], "detail": [None]},
        schema_overrides={"reason": pl.String, "detail": pl.String},
    )
    context = SendContext("spring", "twilio", skip_dead=True)
    assert apply_suppression(frame, listed, context)["reason"].to_list() == [held]


@pytest.mark.parametrize(
    ("is_current", "files", "is_paused"),
    [
        pytest.param(True, None, False, id="the list is read, and there are no files"),
        pytest.param(False, None, True, id="the list cannot be read"),
        pytest.param(True, False, False, id="the files are read, too"),
        pytest.param(True, True, True, id="a file cannot be read"),
        pytest.param(False, False, True, id="the files are read, and the list is not"),
    ],
)
def test_nothing_is_sent_while_the_list_or_a_file_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_current: bool, files: bool | None, is_paused: bool
) -> None:
    with SuppressionList.open(tmp_path) as listed:
        watch: Any = None if files is None else SimpleNamespace(is_paused=files)
        gate = LiveSuppression(listed, LIVE, since=None, numbers=lambda: pl.Series([ADA]), files=watch)
        monkeypatch.setattr(listed, "is_current", lambda: is_current)
        assert gate.is_paused() is is_paused
