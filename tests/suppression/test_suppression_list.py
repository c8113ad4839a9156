"""The suppression list: what it learns, what lifts it, how far it reaches."""

from __future__ import annotations

import contextlib
import tempfile
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.core.errors import InputError, StateError
from sender.core.outcomes import Reason, SkipReason
from sender.state.open import open_suppressions
from sender.state.state_dir import SUPPRESSIONS_FILE
from sender.suppression.entries import EntrySource, Refusal, SuppressionEntry, check_scope
from sender.suppression.keywords import Keyword
from sender.suppression.live_check import LiveSuppression, SendContext, apply_suppression
from sender.suppression.suppression_list import SuppressionList, lift_time_ms
from tests.profiles import examples

ADA, BOB, EVE = "+12025550101", "+12025550102", "+12025550103"
OURS, OTHER = "+12025550150", "+12025550151"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
LIVE = SendContext("spring", "twilio")


@pytest.fixture
def listed(tmp_path: Path) -> SuppressionList:
    return SuppressionList.open(tmp_path)


def later(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def is_held(
    listed: SuppressionList,
    number: str,
    sending: SendContext = LIVE,
    sender: str | None = OURS,
    own_service: str | None = None,
) -> bool:
    """As planning says and as the send loop says; they may not differ."""
    frame = pl.DataFrame(
        {"to": [number], "from_number": [sender], "reason": [None], "detail": [None], "own": [own_service]},
        schema=dict.fromkeys(("to", "from_number", "reason", "detail", "own"), pl.String),
    )
    planned = apply_suppression(frame, listed, sending, own_service=pl.col("own"))["reason"][0] is not None
    gate = LiveSuppression(listed, sending, since=None, numbers=lambda: frame["to"])
    refused = gate.refuses(number, sender, own_service) is not None
    assert planned == refused
    return refused


# -- replies -----------------------------------------------------------------------------------------------------------


def test_a_stop_holds_everywhere_and_says_why(listed: SuppressionList) -> None:
    learned = listed.learn_inbound(ADA, " Stop! ", OURS, "twilio", NOON)
    assert learned is not None
    assert (learned.number, learned.keyword, learned.new) == (ADA, "STOP", True)
    [entry] = listed.why(ADA)
    assert entry.reason is SkipReason.OPTED_OUT
    assert learned.active == (entry,)
    assert entry.sentence() == f"replied Stop! to {OURS} on 2026-11-21 12:00 UTC"
    assert is_held(listed, ADA)
    assert is_held(listed, ADA, SendContext("another", "telnyx"), OTHER)
    assert not is_held(listed, BOB)


def test_a_stop_above_a_signature_is_quoted_in_one_line(listed: SuppressionList) -> None:
    listed.learn_inbound(ADA, "STOP\n\nSent from my iPhone", OURS, "twilio", NOON)
    [entry] = listed.why(ADA)
    assert entry.note == "STOP Sent from my iPhone"
    listed.learn_inbound(BOB, "Stop.\n--\n" + "Bob " * 50, OURS, "twilio", NOON)
    assert listed.why(BOB)[0].note == ("Stop. -- " + "Bob " * 50)[:40]


def test_a_start_takes_back_what_was_said_to_the_same_number(listed: SuppressionList) -> None:
    listed.learn_inbound(ADA, "stop", OURS, "twilio", NOON)
    elsewhere = listed.learn_inbound(ADA, "start", OTHER, "twilio", later(1))
    assert elsewhere is not None
    assert [entry.via for entry in elsewhere.active] == [OURS]  # still opted out, and it says of which number
    assert is_held(listed, ADA)
    same = listed.learn_inbound(ADA, "Start", OURS, "twilio", later(2))
    assert same is not None
    assert same.active == ()
    assert not is_held(listed, ADA)
    assert [entry.active for entry in listed.why(ADA)] == [False]  # and the list remembers


def test_a_start_takes_back_the_provider_s_refusal_too_and_no_person_s_word(listed: SuppressionList) -> None:
    listed.learn_errors([Refusal(ADA, "opted_out", "21610", "", OURS, NOON)], provider="twilio")
    listed.add([BOB], note="asked by phone", at=NOON)
    listed.add([EVE], source=EntrySource.FILE, via="old.csv", at=NOON)
    for number in (ADA, BOB, EVE):
        listed.learn_inbound(number, "START", OURS, "twilio", later(1))
    assert not is_held(listed, ADA)
    assert is_held(listed, BOB)
    assert is_held(listed, EVE)


def test_the_provider_s_own_reading_of_a_reply_counts(listed: SuppressionList) -> None:
    assert listed.learn_inbound(ADA, "baja", OURS, "telnyx", NOON, keyword="STOP")
    assert is_held(listed, ADA)
    assert listed.learn_inbound(BOB, "help", OURS, "telnyx", NOON, keyword="HELP") is None


@pytest.mark.parametrize("text", ["thanks", "don't stop", "", None])
def test_any_other_reply_teaches_nothing(listed: SuppressionList, text: str | None) -> None:
    assert listed.learn_inbound(ADA, text, OURS, "twilio", NOON) is None
    assert not listed.why(ADA)


def test_what_is_no_number_is_not_listed(listed: SuppressionList) -> None:
    assert listed.learn_inbound("whatsapp:+12025550101", "stop", OURS, "twilio", NOON) is None
    assert listed.learn_inbound("", "stop", OURS, "twilio", NOON) is None


SAYINGS = st.tuples(
    st.sampled_from(["stop", "start", "error"]), st.sampled_from([OURS, OTHER, None]), st.integers(0, 5)
)


@settings(deadline=None, max_examples=examples(40))
@given(st.lists(SAYINGS, max_size=8), st.randoms(use_true_random=False))
def test_doubled_and_reordered_replies_make_the_same_list(
    sayings: list[tuple[str, str | None, int]], random: object
) -> None:
    """The last word said to each of our numbers counts, whatever the order in which the words arrive."""
    shuffled = [*sayings, *sayings]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    held = []
    for events in (sayings, shuffled):
        with tempfile.TemporaryDirectory() as folder, SuppressionList.open(folder) as listed:
            for what, ours, minute in events:
                if what == "error":
                    listed.learn_errors([Refusal(ADA, "opted_out", "1", None, ours, later(minute))], provider="x")
                else:
                    listed.learn_inbound(ADA, what, ours, "x", later(minute))
            held.append({(one.source, one.via, one.at, one.active) for one in listed.why(ADA)})
    assert held[0] == held[1]
    starts = {(ours or "", minute) for what, ours, minute in sayings if what == "start"}
    for _, via, at, active in held[0]:
        taken_back = any(later(minute) > at and via in ("", ours) for ours, minute in starts)
        assert active == (not taken_back)


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "listed_as"),
    [
        (Reason.OPTED_OUT, SkipReason.OPTED_OUT),
        (Reason.INVALID_NUMBER, SkipReason.INVALID_NUMBER),
        (Reason.LANDLINE, SkipReason.LANDLINE),
        *((one, None) for one in Reason if one not in (Reason.OPTED_OUT, Reason.INVALID_NUMBER, Reason.LANDLINE)),
    ],
)
def test_what_an_error_teaches(listed: SuppressionList, reason: Reason, listed_as: SkipReason | None) -> None:
    refusal = Refusal(ADA, reason, "21610", "unsubscribed", OURS, NOON)
    assert listed.learn_errors([refusal], provider="twilio") == (listed_as is not None)
    assert listed.learn_errors([refusal], provider="twilio") == 0, "nothing new"
    assert [(one.reason, one.via, one.note) for one in listed.why(ADA)] == (
        [(listed_as, OURS, "twilio 21610 unsubscribed")] if listed_as else []
    )


def test_a_dead_number_is_skipped_only_where_that_is_asked(listed: SuppressionList) -> None:
    listed.learn_errors([Refusal(ADA, "landline", "30006", None, OURS, NOON)], provider="twilio")
    assert not is_held(listed, ADA)
    assert is_held(listed, ADA, SendContext("spring", "twilio", skip_dead=True))


def test_what_the_sandbox_teaches_stays_in_the_sandbox(listed: SuppressionList) -> None:
    listed.learn_inbound(ADA, "stop", OURS, "twilio", NOON, simulated=True)
    assert not is_held(listed, ADA)
    assert is_held(listed, ADA, SendContext("spring", "sandbox", simulated=True))
    listed.learn_inbound(BOB, "stop", OURS, "twilio", NOON)
    listed.learn_inbound(BOB, "start", OURS, "twilio", later(1), simulated=True)
    assert is_held(listed, BOB)  # a simulated START takes back nothing that is real
    assert is_held(listed, BOB, SendContext("spring", "sandbox", simulated=True))  # a rehearsal holds back as life does


# -- scopes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "sending", "sender", "held"),
    [
        ("all", LIVE, OURS, True),
        ("campaign:spring", LIVE, OURS, True),
        ("campaign:autumn", LIVE, OURS, False),
        ("account:twilio", LIVE, OURS, True),
        ("account:telnyx", LIVE, OURS, False),
        (f"sender:{OURS}", LIVE, OURS, True),
        (f"sender:{OTHER}", LIVE, OURS, False),
        (f"sender:{OURS}", LIVE, None, False),
        ("sender:MG1", SendContext("spring", "twilio", service="MG1"), None, True),
        ("sandbox", LIVE, OURS, False),
    ],
)
def test_how_far_a_scope_reaches(
    listed: SuppressionList, scope: str, sending: SendContext, sender: str | None, held: bool
) -> None:
    listed.add([ADA], scope=scope)
    assert is_held(listed, ADA, sending, sender) is held


@pytest.mark.parametrize(
    ("scope", "usual", "sender", "own", "held"),
    [
        pytest.param("sender:MG1", None, None, "MG1", True, id="the-rows-own-service"),
        pytest.param("sender:MG1", None, None, "MG2", False, id="another-rows"),
        pytest.param("sender:MG1", "MG1", None, "MG2", False, id="instead-of-the-usual"),
        pytest.param("sender:MG1", "MG1", OURS, None, True, id="a-number-through-a-service"),
        pytest.param(f"sender:{OURS}", "MG1", OURS, None, True, id="and-the-number-itself"),
        pytest.param(f"sender:{OTHER}", "MG1", OURS, "MG2", False, id="neither"),
    ],
)
def test_a_senders_scope_means_its_number_and_the_service_that_picks_it(
    listed: SuppressionList, scope: str, usual: str | None, sender: str | None, own: str | None, held: bool
) -> None:
    listed.add([ADA], scope=scope)
    assert is_held(listed, ADA, SendContext("spring", "twilio", service=usual), sender, own) is held


@pytest.mark.parametrize("scope", ["", "everywhere", "campaign:", "campaign", "sender: ", "account"])
def test_what_is_no_scope_is_refused(listed: SuppressionList, scope: str) -> None:
    with pytest.raises(InputError, match="is not a scope"):
        listed.add([ADA], scope=scope)
    assert check_scope(" all ") == "all"


def test_the_strongest_reason_is_told(listed: SuppressionList) -> None:
    listed.add([ADA], at=NOON)
    listed.learn_inbound(ADA, "stop", OURS, "twilio", later(5))
    frame = pl.DataFrame(
        {"to": [ADA, BOB, None], "from_number": [OURS] * 3, "reason": [None, "too_long", "invalid_number"]},
        schema_overrides={"reason": pl.String},
    ).with_columns(detail=pl.lit("as before"))
    held = apply_suppression(frame, listed, LIVE)
    assert held["reason"].to_list() == ["opted_out", "too_long", "invalid_number"]
    assert held["detail"].to_list() == [f"replied stop to {OURS} on 2026-11-21 12:05 UTC", "as before", "as before"]


# -- people ------------------------------------------------------------------------------------------------------------


def test_what_a_person_removes_is_off_until_it_is_said_again(listed: SuppressionList) -> None:
    listed.add([ADA, BOB], at=later(60 * 24 * 365))  # by a machine whose clock is ahead
    listed.learn_inbound(ADA, "stop", OURS, "twilio", NOON)
    assert listed.remove([ADA, EVE]) == 1
    assert not is_held(listed, ADA)
    assert is_held(listed, BOB)
    assert listed.remove([ADA]) == 0
    listed.learn_inbound(ADA, "stop", OURS, "twilio", datetime(2100, 1, 1, tzinfo=UTC))
    assert is_held(listed, ADA)


def test_a_removal_by_a_clock_that_is_ahead_swallows_no_later_word(listed: SuppressionList) -> None:
    """A lift is later than what it takes back, whenever that was said to be; what people say next is later still."""
    for number in (ADA, BOB, EVE):
        listed.add([number], at=datetime(2100, 1, 1, tzinfo=UTC))
    assert listed.remove([ADA, BOB, EVE]) == 3
    listed.learn_inbound(ADA, "stop", OURS, "twilio", NOON, message_id="a", heard_at=NOON)
    assert listed.add([BOB]) == 1
    assert [is_held(listed, number) for number in (ADA, BOB, EVE)] == [True, True, False]
    assert listed.add([BOB]) == 0, "it is on the list"
    assert listed.restore(listed.why(EVE)) == 0, "an old entry stays taken back"
    assert not is_held(listed, EVE)
    assert listed.remove([ADA, BOB]) == 2
    assert [is_held(listed, number) for number in (ADA, BOB)] == [False, False]
    listed.learn_inbound(ADA, "stop", OURS, "twilio", NOON, message_id="a", heard_at=later(9))
    assert not is_held(listed, ADA), "the same STOP again"


def test_removing_in_one_scope_leaves_the_others(listed: SuppressionList) -> None:
    listed.add([ADA], scope="campaign:spring")
    listed.add([ADA], scope="account:twilio")
    assert listed.remove([ADA], scope="campaign:spring") == 1
    assert [entry.scope for entry in listed.why(ADA) if entry.active] == ["account:twilio"]


def test_a_file_read_again_keeps_the_first_date(listed: SuppressionList) -> None:
    assert listed.add([ADA], source=EntrySource.FILE, via="old.csv", at=NOON) == 1
    assert listed.add([ADA], source=EntrySource.FILE, via="old.csv", at=later(9)) == 0
    assert [entry.at for entry in listed.why(ADA)] == [NOON]
    listed.remove([ADA])
    assert listed.add([ADA], source=EntrySource.FILE, via="old.csv", at=datetime(2100, 1, 1, tzinfo=UTC)) == 1
    assert is_held(listed, ADA)  # the file still says so


def test_entries_are_of_one_scope_or_of_all(listed: SuppressionList) -> None:
    listed.add([ADA], scope="campaign:spring")
    listed.add([BOB])
    listed.add([EVE], scope="campaign:spring")
    listed.remove([EVE])
    for scope, numbers in ((None, {ADA, BOB}), ("campaign:spring", {ADA}), ("all", {BOB}), ("campaign:autumn", set())):
        entries = list(listed.entries(scope))
        assert {entry.number for entry in entries} == numbers
        assert all(entry.active for entry in entries)


@pytest.mark.parametrize(
    ("said_ms", "now_ms", "lift_ms"),
    [
        pytest.param([100], 500, 500, id="now"),
        pytest.param([500], 500, 501, id="said at this moment"),
        pytest.param([499], 500, 500, id="a millisecond ago"),
        pytest.param([100, 900, 300], 500, 901, id="by a clock that is ahead"),
    ],
)
def test_a_lift_is_later_than_what_it_takes_back(said_ms: list[int], now_ms: int, lift_ms: int) -> None:
    entries = [
        SuppressionEntry(
            ADA, SkipReason.SUPPRESSED, EntrySource.PERSON, "", "all", datetime.fromtimestamp(ms / 1000, UTC)
        )
        for ms in said_ms
    ]
    assert lift_time_ms(entries, now_ms) == lift_ms


def test_a_long_reply_and_a_long_error_are_cut(listed: SuppressionList) -> None:
    """A STOP is a whole message, but what a provider reads as one may be long."""
    listed.learn_inbound(ADA, " x" * 50, OURS, "telnyx", NOON, keyword="STOP")
    listed.learn_errors([Refusal(BOB, "opted_out", "1", "y" * 300, OURS, NOON)], provider="telnyx")
    assert [entry.note for entry in listed.why(ADA)] == [(" x" * 50).strip()[:40]]
    assert [entry.note for entry in listed.why(BOB)] == ["telnyx 1 " + "y" * 191]


def test_what_the_provider_alone_read_is_quoted(listed: SuppressionList) -> None:
    listed.learn_inbound(ADA, None, None, "telnyx", NOON, keyword="STOP")
    [entry] = listed.why(ADA)
    assert (entry.note, entry.via) == ("STOP", "")


def test_a_stop_in_either_reading_counts(listed: SuppressionList) -> None:
    for number, text, keyword in ((ADA, "stop", "START"), (BOB, "start", "STOP")):
        learned = listed.learn_inbound(number, text, OURS, "telnyx", NOON, keyword=keyword)
        assert learned is not None
        assert learned.keyword == "STOP"
        assert is_held(listed, number)


def test_what_is_learned_again_is_not_new(listed: SuppressionList) -> None:
    stops = [listed.learn_inbound(ADA, "stop", OURS, "twilio", NOON) for _ in range(2)]
    assert [learned.new for learned in stops if learned] == [True, False]
    starts = [listed.learn_inbound(ADA, "start", OURS, "twilio", later(1)) for _ in range(2)]
    assert [learned.new for learned in starts if learned] == [True, False]


def test_errors_about_no_number_teach_nothing(listed: SuppressionList) -> None:
    refusals = [Refusal(to, "opted_out", "1", None, None, NOON) for to in ("whatsapp:+12025550101", "", ADA)]
    assert listed.learn_errors(refusals, provider="x") == 1
    assert [entry.number for entry in listed.entries()] == [ADA]
    assert [(entry.via, entry.note, entry.scope) for entry in listed.why(ADA)] == [("", "x 1", "all")]


def test_a_list_moves_to_another_machine_as_it_is(listed: SuppressionList, tmp_path: Path) -> None:
    listed.learn_inbound(ADA, "stop", OURS, "twilio", NOON)
    listed.add([BOB], scope="campaign:spring", note="by phone", at=NOON)
    with SuppressionList.open(tmp_path / "other") as other:
        assert other.restore(listed.entries()) == 2
        assert other.restore(listed.entries()) == 0
        assert list(other.entries()) == list(listed.entries())
        other.learn_inbound(ADA, "start", OURS, "twilio", later(1))
        assert [entry.number for entry in other.entries()] == [BOB]


def test_a_list_with_erased_people_moves_without_them(listed: SuppressionList, tmp_path: Path) -> None:
    """Their hashes are of this state's key: another state could not even ask about its own people any more."""
    listed.add([ADA, BOB], at=NOON)
    listed._store.erase(ADA)
    [erased] = [entry for entry in listed.entries() if entry.is_erased]
    assert erased.number == listed.name_of_erased(ADA)
    with SuppressionList.open(tmp_path / "other") as other:
        assert other.restore(listed.entries()) == 1
        assert [entry.number for entry in other.entries()] == [BOB]
        assert [is_held(other, number) for number in (ADA, BOB)] == [False, True]


# -- the file ----------------------------------------------------------------------------------------------------------


def test_a_plan_needs_no_state_directory(tmp_path: Path) -> None:
    with SuppressionList.open(tmp_path / "nowhere", create=False) as listed:
        assert not is_held_by(listed, ADA)
        assert listed.why(ADA) == []
        assert list(listed.entries()) == []
    assert not (tmp_path / "nowhere").exists()


def is_held_by(listed: SuppressionList, number: str) -> bool:
    return bool(listed.matching(pl.Series([number])))


def test_another_program_s_file_is_left_alone(tmp_path: Path) -> None:
    import apsw

    db = apsw.Connection(str(tmp_path / SUPPRESSIONS_FILE))
    db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(StateError, match="not a suppression list"):
        SuppressionList.open(tmp_path)


def test_only_its_owner_reads_it(listed: SuppressionList, tmp_path: Path) -> None:
    listed.add([ADA])
    assert {file.stat().st_mode & 0o777 for file in tmp_path.glob(f"{SUPPRESSIONS_FILE}*")} == {0o600}


@pytest.mark.parametrize(
    ("asked", "most", "looked_up"),
    [
        pytest.param(1, 2, True, id="a larger list"),
        pytest.param(1, 3, False, id="a list that is read as a whole"),
        pytest.param(3, 0, False, id="as many numbers as entries"),
        pytest.param(2, 0, True, id="fewer numbers"),
    ],
)
def test_a_list_is_read_or_looked_up(
    listed: SuppressionList, asked: int, most: int, looked_up: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sender.suppression.suppression_list.WHOLE_LIST", most)
    store = listed._store
    calls: list[str] = []

    def noted(name: str, call: Any, *args: object) -> Any:
        calls.append(name)
        return call(*args)

    for name in ("look_up", "active"):
        monkeypatch.setattr(store, name, partial(noted, name, getattr(store, name)))
    listed.add([ADA, BOB, EVE])
    assert {entry.number for entry in listed.matching(pl.Series([ADA, BOB, EVE][:asked]))} == {ADA, BOB, EVE} - {
        BOB if asked < 2 else "",
        EVE if asked < 3 else "",
    }
    assert calls == ["look_up" if looked_up else "active"]


@pytest.mark.parametrize("most", [0, 1_000_000])
def test_both_ways_of_looking_up_find_the_same(
    listed: SuppressionList, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sender.suppression.suppression_list.WHOLE_LIST", most)
    numbers = [f"+1202555{n:04}" for n in range(3000)]
    listed.add(numbers[::3])
    listed.remove(numbers[::9])
    wanted = pl.Series([*numbers[:50], None, numbers[3], "+442079460000"])
    found = {entry.number for entry in listed.matching(wanted)}
    assert found == set(numbers[:50:3]) - set(numbers[::9])


# -- what a send loop asks ---------------------------------------------------------------------------------------------


def test_a_mark_of_another_list_means_from_the_beginning(tmp_path: Path) -> None:
    with SuppressionList.open(tmp_path / "a") as a, SuppressionList.open(tmp_path / "b") as b:
        for listed in (a, b):
            listed.add([ADA])
        assert b.changed_since(b.mark()) == []
        assert b.changed_since(a.mark()) == [ADA]
        assert b.changed_since(None) == [ADA]


@pytest.mark.parametrize(("extra", "listed_"), [(0, True), (1, False)])
def test_too_many_changes_are_not_listed(
    listed: SuppressionList, extra: int, listed_: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sender.suppression.suppression_list.MANY_CHANGES", 3)
    listed.add([f"+1202555{n:04}" for n in range(100, 103 + extra)])
    assert (listed.changed_since(None) is not None) is listed_


# (text, message id, minute in which it was written, minute in which it reached us), ..., and whether the number is
# listed then.
HEARD = {
    "a START later than the STOP": ([("STOP", "a", 0, 0), ("START", "b", 1, 1)], False),
    "that START again, after another STOP": (
        [("STOP", "a", 0, 0), ("START", "b", 1, 1), ("STOP", "c", 2, 2), ("START", "b", 1, 3)],
        True,
    ),
    "the same without times of the provider's": (
        [("STOP", "a", 0, 0), ("START", "b", 1, 1), ("STOP", "c", 2, 2), ("START", "b", 3, 3)],
        True,
    ),
    "a START that came late, and was written before the STOP": ([("STOP", "a", 1, 1), ("START", "b", 0, 5)], True),
    "a STOP that came late, after a START": ([("START", "b", 1, 1), ("STOP", "a", 0, 5)], True),
    "an old STOP that a log repeats": ([("STOP", "a", 0, 0), ("START", "b", 1, 1), ("STOP", "a", 0, 9)], False),
    "an old STOP that a log brings first": ([("START", "b", 1, 1), ("STOP", "a", 0, 9), ("START", "b", 1, 10)], True),
    "a START from a clock ahead of ours": ([("START", "b", 60, 1), ("STOP", "a", 2, 2)], True),
    "a START with the id of a STOP": ([("STOP", "a", 0, 0), ("START", "a", 5, 5)], True),
    "a STOP heard by a clock that was set back": ([("START", "b", 60, 60), ("STOP", "a", 30, 30)], True),
    "the same after an earlier STOP": ([("STOP", "a", 0, 0), ("START", "b", 60, 60), ("STOP", "c", 30, 30)], True),
    "that STOP again, after another START": (
        [("START", "b", 60, 60), ("STOP", "a", 30, 30), ("START", "c", 90, 90), ("STOP", "a", 30, 95)],
        False,
    ),
    "an unclear reply heard by a clock that was set back": (
        [("START", "b", 60, 60), ("leave me alone", "a", 30, 30)],
        True,
    ),
    "the next START": ([("STOP", "a", 0, 0), ("START", "b", 1, 1), ("STOP", "c", 2, 2), ("START", "d", 3, 3)], False),
}


@pytest.mark.parametrize(("replies", "listed_then"), HEARD.values(), ids=HEARD)
def test_a_start_lifts_no_stop_that_was_heard_after_it(
    listed: SuppressionList, replies: list[tuple[str, str, int, int]], listed_then: bool
) -> None:
    for text, message_id, written, heard in replies:
        listed.learn_inbound(ADA, text, OURS, "twilio", later(written), message_id=message_id, heard_at=later(heard))
    assert any(entry.active for entry in listed.why(ADA)) is listed_then


def test_a_list_of_the_first_version_is_upgraded_when_it_is_opened(tmp_path: Path) -> None:
    path = tmp_path / SUPPRESSIONS_FILE
    with SuppressionList.open(tmp_path) as listed:
        listed.learn_inbound(ADA, "stop", OURS, "twilio", NOON)
    db = apsw.Connection(str(path))
    db.execute("DROP TABLE heard; DROP INDEX entry_review; PRAGMA user_version = 1")
    db.close()
    with SuppressionList.open(tmp_path) as listed:
        assert listed.learn_inbound(ADA, "start", OURS, "twilio", later(1), message_id="b")
        assert not any(entry.active for entry in listed.why(ADA))


# -- people who were erased --------------------------------------------------------------------------------------------


@pytest.fixture(params=[0, 200_000], ids=["looked up", "whole list"])
def way_of_reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long list is asked about each number, a short one is read as a whole."""
    monkeypatch.setattr("sender.suppression.suppression_list.WHOLE_LIST", request.param)


@pytest.mark.usefixtures("way_of_reading")
def test_who_was_erased_stays_opted_out_until_a_start(listed: SuppressionList) -> None:
    listed.learn_inbound(ADA, "stop", OURS, "twilio", NOON)
    listed.add([BOB], note="asked by phone", at=NOON)
    assert listed.name_of_erased(ADA) is None, "nobody has been erased"
    listed._store.erase(ADA)
    name = listed.name_of_erased(ADA)
    assert (name or "").startswith("#")
    assert {entry.number for entry in listed.entries()} == {name, BOB}
    assert [(entry.number, entry.active, entry.note) for entry in listed.why(ADA)] == [(ADA, True, None)]
    assert [is_held(listed, number) for number in (ADA, BOB, EVE)] == [True, True, False]
    assert {entry.number for entry in listed.matching(pl.Series([EVE, ADA, BOB]))} == {ADA, BOB}
    listed.learn_inbound(ADA, "start", OURS, "twilio", later(1))
    assert [is_held(listed, number) for number in (ADA, BOB, EVE)] == [False, True, False]


@pytest.mark.parametrize("many", [0, 1_000_000])
def test_who_is_erased_while_a_run_is_sent_gets_nothing(
    listed: SuppressionList, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr("sender.suppression.suppression_list.MANY_CHANGES", many)
    listed.add([BOB], at=NOON)
    now_s = [0.0]
    numbers = pl.Series([ADA, BOB, EVE])
    before = listed.mark()
    listed.add([ADA], at=NOON)
    gate = LiveSuppression(listed, LIVE, since=before, numbers=lambda: numbers, clock=lambda: now_s[0])
    listed._store.erase(ADA)
    now_s[0] = 1.0
    assert [gate.refuses(number, OURS) is not None for number in (ADA, EVE)] == [True, False]
    later_gate = LiveSuppression(listed, LIVE, since=before, numbers=lambda: numbers)
    assert [later_gate.refuses(number, OURS) is not None for number in (ADA, EVE)] == [True, False]


# -- small things that somebody reads ----------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(1, 10))
def test_a_list_of_any_length_is_matched(listed: SuppressionList, count: int) -> None:
    """Seven entries of seven fields are a square: rows must not be taken for columns."""
    numbers = [f"+120255501{n}" for n in range(60, 60 + count)]
    listed.add(numbers, at=NOON, note="all")
    assert sorted(entry.number for entry in listed.matching(pl.Series(numbers))) == numbers


def test_what_a_person_enters_is_kept_as_it_is(listed: SuppressionList) -> None:
    listed.add([ADA], note="asked by phone", at=NOON)
    listed.add([BOB], via="old.csv", source=EntrySource.FILE, scope="campaign:spring", reason=SkipReason.LANDLINE, at=NOON)  # fmt: skip
    assert list(listed.entries()) == [
        SuppressionEntry(ADA, SkipReason.SUPPRESSED, EntrySource.PERSON, "", "all", NOON, "asked by phone"),
        SuppressionEntry(BOB, SkipReason.LANDLINE, EntrySource.FILE, "old.csv", "campaign:spring", NOON, None),
    ]


def test_a_word_that_one_provider_knows_lifts_there(listed: SuppressionList) -> None:
    listed.learn_inbound(ADA, "stop", OURS, "twilio", NOON)
    assert listed.learn_inbound(ADA, "yes", OURS, "telnyx", later(1)) is None
    assert is_held(listed, ADA)
    assert listed.learn_inbound(ADA, "yes", OURS, "twilio", later(2)) is not None
    assert not is_held(listed, ADA)


@pytest.mark.parametrize(("simulated", "scope"), [(False, "all"), (True, "sandbox")])
def test_what_a_simulation_teaches_stays_in_it(listed: SuppressionList, simulated: bool, scope: str) -> None:
    listed.learn_errors([Refusal(ADA, "opted_out", "1", None, OURS, NOON)], provider="x", simulated=simulated)
    listed.learn_inbound(BOB, "stop", OURS, "twilio", NOON, simulated=simulated)
    assert {entry.scope for entry in listed.entries()} == {scope}
    assert is_held(listed, ADA) is not simulated
    assert is_held(listed, ADA, SendContext("spring", "twilio", simulated=True))


def test_words_of_ones_own_opt_out_too(tmp_path: Path) -> None:
    with contextlib.closing(SuppressionList(open_suppressions(tmp_path), frozenset({"rhubarb"}))) as listed:
        learned = listed.learn_inbound(ADA, "Rhubarb!", OURS, "twilio", NOON)
        assert learned is not None
        assert (learned.keyword, is_held(listed, ADA)) == (Keyword.STOP, True)
    with contextlib.closing(SuppressionList.open(tmp_path)) as without:
        assert without.learn_inbound(BOB, "Rhubarb!", OURS, "twilio", NOON) is None
