"""What a log proves about messages of several runs: each entry settles one at most, and what was accepted is not absent."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sender.core.outcomes import Status
from sender.delivery.log_evidence import DoubtfulMessage, KnownMessage, LoggedMessage, may_be, weigh
from sender.providers.base import LogEntry, LogFacts

T0 = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
TO, OTHER, FROM = "+12025550101", "+12025550109", "+12025550100"
FACTS = {
    "twilio": LogFacts(True, carries_ref=False, carries_body=True, settle_s=600, source="test"),
    "signalwire": LogFacts(False, carries_ref=False, carries_body=False, settle_s=600, source="test"),
    "telnyx": LogFacts(True, carries_ref=True, carries_body=False, settle_s=600, source="test"),
}


def doubt(
    run: str = "a", seq: int = 0, to: str | None = TO, body: str | None = "Hi", at_s: float = 0.0
) -> DoubtfulMessage:
    begun = T0 + timedelta(seconds=at_s)
    return DoubtfulMessage(run, seq, f"{run}.{seq}", to, FROM, body, begun, begun + timedelta(seconds=30), 1)


def entry(
    name: str = "id", to: str = TO, body: str | None = "Hi", at_s: float | None = 1.0, ref: str | None = None
) -> LogEntry:
    at = None if at_s is None else T0 + timedelta(seconds=at_s)
    return LogEntry(name, to, FROM, body, at, Status.QUEUED, "queued", ref)


@pytest.mark.parametrize("dialect", ["twilio", "signalwire"])
@pytest.mark.parametrize(
    ("logged", "found", "rivalled"),
    [
        pytest.param(LoggedMessage(entry(), TO), True, False, id="everything-fits"),
        pytest.param(LoggedMessage(entry(to="+1 202-555-0101"), TO), True, False, id="with-separators"),
        pytest.param(LoggedMessage(entry(to=""), TO), False, True, id="no-number"),
        pytest.param(LoggedMessage(entry(to="+1202555XXXX"), TO), False, True, id="masked"),
        pytest.param(LoggedMessage(entry(to="XXXXXXX0101"), TO), False, True, id="masked-at-its-beginning"),
        pytest.param(LoggedMessage(entry(to="2025550101"), TO), False, True, id="national"),
        pytest.param(LoggedMessage(entry(to="(202) 555-0101"), TO), False, True, id="national-with-separators"),
        pytest.param(LoggedMessage(entry(to="12025550101"), TO), False, True, id="without-plus"),
        pytest.param(LoggedMessage(entry(to="whatsapp:+12025550101"), TO), False, True, id="another-channel"),
        pytest.param(LoggedMessage(entry(to="2025550199"), TO), False, True, id="unreadable-in-a-query-for-it"),
        pytest.param(LoggedMessage(entry(to="2025550199")), False, False, id="another-in-national-form"),
        pytest.param(LoggedMessage(entry(to="+1202555XXX9")), False, False, id="another-masked"),
        pytest.param(LoggedMessage(entry(to="+1202555XXXX")), False, True, id="masked-in-a-walk-of-all"),
        pytest.param(LoggedMessage(entry(to="")), False, True, id="no-number-in-a-walk-of-all"),
        pytest.param(LoggedMessage(entry(to="+12025550199"), TO), False, False, id="readably-another"),
        pytest.param(LoggedMessage(entry(at_s=None), TO), False, True, id="no-time-or-local-time"),
        pytest.param(LoggedMessage(entry(), TO, dated=False), False, True, id="no-date"),
        pytest.param(LoggedMessage(entry(at_s=-9e9), TO, dated=False), False, True, id="an-old-time-without-a-date"),
        pytest.param(LoggedMessage(entry(), TO, repeated=True), False, True, id="on-two-pages"),
        pytest.param(LoggedMessage(entry(at_s=-500), TO), False, False, id="before-our-intent"),
        pytest.param(LoggedMessage(entry(at_s=5000), TO), False, True, id="later-than-ours-could-be"),
    ],
)
def test_what_an_entry_settles_and_what_it_holds_in_doubt(
    dialect: str, logged: LoggedMessage, found: bool, rivalled: bool
) -> None:
    evidence = weigh([doubt()], [], [logged], {}, FACTS[dialect])
    assert (bool(evidence.entries), bool(evidence.rivalled)) == (found, rivalled)


@pytest.mark.parametrize("dialect", ["twilio", "signalwire"])
@pytest.mark.parametrize(
    ("other", "settled"),
    [
        pytest.param(doubt("b"), False, id="another-runs-same-message"),
        pytest.param(doubt("b", at_s=60), False, id="another-run-a-minute-later"),
        pytest.param(doubt("b", to=None, body=None), False, id="another-run-without-its-plan"),
        pytest.param(doubt("b", at_s=3600), True, id="another-run-an-hour-later"),
        pytest.param(doubt("b", to="+12025550102"), True, id="to-somebody-else"),
    ],
)
def test_an_entry_that_fits_messages_of_two_runs_settles_none(
    dialect: str, other: DoubtfulMessage, settled: bool
) -> None:
    evidence = weigh([doubt()], [other], [LoggedMessage(entry(), TO)], {}, FACTS[dialect])
    assert (bool(evidence.entries), bool(evidence.rivalled)) == (settled, not settled)


def test_another_text_of_another_run_is_told_apart_where_the_log_has_it() -> None:
    other = doubt("b", body="Bye")
    assert weigh([doubt()], [other], [LoggedMessage(entry(), TO)], {}, FACTS["twilio"]).entries
    assert not weigh([doubt()], [other], [LoggedMessage(entry(), TO)], {}, FACTS["signalwire"]).entries


@pytest.mark.parametrize(
    ("logged", "found", "rivalled"),
    [
        pytest.param([entry(ref="a.0")], {"id"}, False, id="ours"),
        pytest.param([entry(ref="b.0")], set(), False, id="another-runs"),
        pytest.param([entry(ref=None)], set(), True, id="without-a-ref"),
        pytest.param([entry(ref="a.0", to="")], {"id"}, False, id="ours-without-a-number"),
        pytest.param([entry(ref="a.0", at_s=None)], {"id"}, False, id="ours-without-a-time"),
        pytest.param([entry(ref="a.0", to="+12025550199")], set(), False, id="our-ref-to-somebody-else"),
        pytest.param([entry("one", ref="a.0"), entry("two", ref="a.0")], {"one"}, False, id="our-ref-twice"),
    ],
)
def test_refs(logged: list[LogEntry], found: set[str], rivalled: bool) -> None:
    others = [doubt("b")]
    evidence = weigh([doubt()], others, [LoggedMessage(each, TO) for each in logged], {}, FACTS["telnyx"])
    assert {each.message_id for each in evidence.entries.values()} == found
    assert bool(evidence.rivalled) is rivalled


@pytest.mark.parametrize(
    ("dialect", "logged", "known", "found", "rivalled"),
    [
        pytest.param("twilio", entry(), [(TO, "Hi")], False, False, id="it is that message"),
        pytest.param("twilio", entry(), [(OTHER, "Hi")], True, False, id="that message is to somebody else"),
        pytest.param(
            "signalwire", entry(), [(OTHER, "Hi")], True, False, id="to somebody else, in a log without texts"
        ),
        pytest.param("twilio", entry(), [(TO, "Bye")], True, False, id="that message has another text"),
        pytest.param("signalwire", entry(), [(TO, "Bye")], False, False, id="in a log without texts it may be"),
        pytest.param("twilio", entry(body=None), [(TO, "Bye")], False, False, id="an entry without its text may be"),
        pytest.param("twilio", entry(body="Bye"), [(TO, "By")], False, False, id="altered, and not ours"),
        pytest.param("twilio", entry(), [(None, None)], False, False, id="that message may be to anybody"),
        pytest.param("twilio", entry(), [(OTHER, "Hi"), (TO, "Hi")], False, False, id="two have the id, one may be it"),
        pytest.param("twilio", entry(to="+1202555XXXX"), [(OTHER, "Hi")], False, False, id="masked, so it may be"),
        pytest.param("telnyx", entry(ref="a.0"), [(OTHER, "Hi")], True, False, id="our ref"),
        pytest.param("telnyx", entry(ref="a.0"), [(TO, "Hi")], True, False, id="our ref, and to the same person"),
        pytest.param("telnyx", entry(ref="b.0"), [(TO, "Hi")], False, False, id="the other's ref"),
    ],
)
def test_an_id_that_a_message_has_already(
    dialect: str, logged: LogEntry, known: list[tuple[str | None, str | None]], found: bool, rivalled: bool
) -> None:
    """An answer can have the id of another message, which has then no proof but the log that it was accepted."""
    messages = {logged.message_id: [KnownMessage(*each) for each in known]}
    evidence = weigh([doubt()], [], [LoggedMessage(logged, TO)], messages, FACTS[dialect])
    assert (bool(evidence.entries), bool(evidence.rivalled)) == (found, rivalled)


def test_a_short_code_is_compared_as_it_stands() -> None:
    message = doubt(to="988")
    assert may_be(message, LoggedMessage(entry(to="988")))
    assert may_be(message, LoggedMessage(entry(to="")))
    assert not may_be(message, LoggedMessage(entry(to=TO)))


# -- any number of runs, any log ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """Messages in doubt of several runs, and what the provider's log shows of those it has accepted."""

    doubts: list[DoubtfulMessage]
    accepted: dict[str, str]  # ref -> the provider's id
    logged: list[LoggedMessage]


DISTORTIONS = ("clean", "clean", "clean", "masked", "national", "null", "timeless", "undated", "repeated")


def distorted(each: LogEntry, how: str, to: str) -> LoggedMessage:
    changed = {
        "masked": replace(each, to=each.to[:6] + "X" * 6),
        "national": replace(each, to=each.to[2:]),
        "null": replace(each, to=""),
        "timeless": replace(each, created_at=None),
    }.get(how, each)
    return LoggedMessage(changed, to, dated=how != "undated", repeated=how == "repeated")


@st.composite
def worlds(draw: st.DrawFn) -> World:
    rng = random.Random(draw(st.integers(0, 2**32)))
    people = [f"+1202555010{n}" for n in range(draw(st.integers(1, 3)))]
    refs = draw(st.booleans())
    doubts, accepted, logged = [], {}, []
    for run in "abc"[: draw(st.integers(1, 3))]:
        begun_s = rng.choice([0, 0, 60, 200, 4000])
        pairs = [(to, body) for to in people for body in ("Hi", "Bye")]
        for seq, (to, body) in enumerate(rng.sample(pairs, rng.randint(1, len(pairs)))):
            message = doubt(run, seq, to, body, begun_s + seq)
            doubts.append(message)
            if rng.random() < 0.5:
                accepted[message.ref] = name = f"id-{message.ref}"
                made = entry(name, to, body, begun_s + seq + rng.uniform(-100, 100), message.ref if refs else None)
                logged.append(distorted(made, rng.choice(DISTORTIONS), to))
    for n in range(rng.randint(0, 2)):  # of another program with the same account
        to = rng.choice(people)
        made = entry(f"theirs-{n}", to, rng.choice(["Hi", "Bye", "News"]), rng.uniform(-50, 300))
        logged.append(distorted(made, rng.choice(DISTORTIONS), to))
    rng.shuffle(logged)
    return World(doubts, accepted, logged)


@settings(max_examples=1500, deadline=None)
@given(worlds(), st.sampled_from(["twilio", "signalwire", "telnyx"]), st.randoms(use_true_random=False))
def test_what_was_accepted_is_never_absent_and_no_entry_counts_twice(
    world: World, dialect: str, rng: random.Random
) -> None:
    """Runs are reconciled one after another, in any order; each knows what the earlier ones have recorded."""
    facts = FACTS[dialect]
    runs = sorted({message.run_id for message in world.doubts})
    rng.shuffle(runs)
    known: dict[str, list[KnownMessage]] = {}
    doubts = list(world.doubts)
    for run in runs:
        messages = [message for message in doubts if message.run_id == run]
        others = [message for message in doubts if message.run_id != run]
        evidence = weigh(messages, others, world.logged, known, facts)
        ids = [each.message_id for each in evidence.entries.values()]
        assert len(ids) == len(set(ids)), "an entry counts for one message"
        assert not known.keys() & set(ids), "across runs as well"
        texts = {message.seq: KnownMessage(message.to, message.body) for message in messages}
        known |= {each.message_id: [texts[seq]] for seq, each in evidence.entries.items()}
        for message in messages:
            if message.seq not in evidence.entries and message.seq not in evidence.rivalled:
                assert message.ref not in world.accepted, "an accepted message is not absent"
            if message.seq in evidence.entries or message.seq not in evidence.rivalled:
                doubts.remove(message)  # accepted, or proved absent


@settings(max_examples=500, deadline=None)
@given(worlds(), st.sampled_from(["twilio", "signalwire", "telnyx"]))
def test_two_runs_that_read_the_log_at_once_take_no_entry_together(world: World, dialect: str) -> None:
    taken: list[str] = []
    for run in sorted({message.run_id for message in world.doubts}):
        messages = [message for message in world.doubts if message.run_id == run]
        others = [message for message in world.doubts if message.run_id != run]
        evidence = weigh(messages, others, world.logged, {}, FACTS[dialect])
        taken += [each.message_id for each in evidence.entries.values()]
    assert len(taken) == len(set(taken))
