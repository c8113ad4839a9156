"""Unknown messages of a provider that makes one message of repeated requests: settled, never doubled, never against a rule."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import sender
from sender import providers
from sender.core.outcomes import Unknown
from sender.providers import idempotency
from sender.providers.base import Message, Request, Response
from sender.sandbox import Faults, Options, embedded
from sender.sending import idempotent_retry, send_windows
from sender.sending.idempotent_retry import request_format
from sender.sending.open_run import open_run_again
from sender.sending.options import SendOptions
from sender.sending.rate_limit import RateLimiter
from sender.state.open import open_state
from sender.suppression.suppression_list import EntrySource, SuppressionList
from tests import local_http
from tests.delivery.test_runs import numbers, plan_of
from tests.profiles import current

ADA, GRACE, JEAN = "+12015550100", "+12015550101", "+12015550102"
HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotent_retry, "PAUSE_S", 0.05)


def options(state: Path, url: str, **changed: Any) -> SendOptions:
    # The log proves absence only after an hour: what is settled sooner was settled by a repeated request.
    env = {"SENDER_SANDBOX_URL": url, "SENDER_SANDBOX_SETTLE_S": "3600"}
    return SendOptions(**{"state_dir": state, "rehearse": True, "env": env, **changed})


def send(plan: sender.Plan, state: Path, url: str, **changed: Any) -> sender.RunResult:
    chosen = options(state, url, **changed)

    async def go() -> sender.RunResult:
        with sender.sending.open_run.open_run(plan, chosen) as session:
            return await session.send(chosen)

    return asyncio.run(go())


def resume(run_id: str, state: Path, url: str, cancel: asyncio.Event | None = None, **changed: Any) -> sender.RunResult:
    chosen = options(state, url, **changed)

    async def go() -> sender.RunResult:
        with open_run_again(run_id, chosen) as session:
            return await session.send(chosen, cancel=cancel)

    return asyncio.run(go())


def accepted(url: str) -> dict[str, int]:
    counts: dict[str, int] = local_http.get(f"{url}/sandbox/counts").json()["recipients"]
    return counts


def faults_of(url: str) -> dict[str, int]:
    kinds: dict[str, int] = local_http.get(f"{url}/sandbox/faults").json()["faults"]
    return kinds


def states(state: Path, run_id: str) -> list[str]:
    with open_state(state, read_only=True) as opened:
        return opened.ledger.journal(run_id)["state"].to_list()


@contextmanager
def provider(**faults: tuple[str, ...]) -> Iterator[str]:
    """A sandbox in which the first two requests for these people go wrong."""
    twice = {to: kinds * 2 for to, kinds in faults.items()}
    with embedded(Options(faults=Faults(recipients=twice), hang_s=0.1)) as url:
        yield url


def left_unknown(state: Path, url: str, people: list[str] | None = None, **keys: Any) -> sender.RunResult:
    """A run through Telnyx whose last person's message is unknown, and that was not looked up."""
    plan = plan_of("telnyx", people or [ADA, GRACE], **keys)
    result = send(plan, state, url, settle_unknowns=False)
    assert states(state, result.run.run_id)[-1] == "unknown"
    return result


# -- what is settled -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", ["reset-before", "reset-after", "500-before", "500-after", "timeout-before", "half-after"]
)
def test_a_message_in_doubt_is_settled_by_repeating_its_request(tmp_path: Path, fault: str) -> None:
    with provider(**{GRACE: (fault,)}) as url:
        run = left_unknown(tmp_path, url, timeout_s=2).run
        assert accepted(url).get(GRACE, 0) == ("after" in fault)
        result = resume(run.run_id, tmp_path, url)
        assert accepted(url) == {ADA: 1, GRACE: 1}
    assert states(tmp_path, run.run_id) == ["accepted", "accepted"]
    assert result.reconciled.found == 1


def test_a_message_that_becomes_unknown_is_settled_in_the_same_run(tmp_path: Path) -> None:
    with provider(**{GRACE: ("reset-before",), JEAN: ("reset-after",)}) as url:
        result = send(plan_of("telnyx", [ADA, GRACE, JEAN]), tmp_path, url)
        assert accepted(url) == {ADA: 1, GRACE: 1, JEAN: 1}
    assert (result.summary.accepted, result.summary.unknown) == (3, 0)


def test_many_doubts_are_settled_within_a_minute(tmp_path: Path) -> None:
    people = numbers(1_700 if current().name == "long" else 150)  # of 1,700, more than 1,000 are in doubt
    with embedded(Options(faults=Faults({"reset-before": 0.25, "reset-after": 0.25, "500-after": 0.1}))) as url:
        began = time.monotonic()
        # One at a time, so that the faults come in the same order each time: twenty in a row would stop the run.
        result = send(plan_of("telnyx", people, concurrency=1), tmp_path, url)
        took = time.monotonic() - began
        assert accepted(url) == dict.fromkeys(people, 1)
        assert sum(faults_of(url).values()) > 10 * len(people) / 17
    assert (result.summary.accepted, result.summary.unknown) == (len(people), 0)
    assert took < 60


def test_what_a_dead_process_had_in_flight_is_settled(tmp_path: Path) -> None:
    with provider(**{GRACE: ("reset-after",)}) as url:
        run = left_unknown(tmp_path, url, [ADA, GRACE, JEAN][:2]).run
        with open_state(tmp_path) as state:  # as after a kill between the intent and the answer
            state.ledger.resend_unknown(run.run_id)
            (number,) = state.ledger.request_formats(run.run_id)
            state.ledger.claim(run.run_id, limit=1, lease_ms=1000, request_format=number)
        resume(run.run_id, tmp_path, url)
        assert accepted(url)[GRACE] == 2  # asked for by a person: a second attempt, with a key of its own
    assert states(tmp_path, run.run_id) == ["accepted", "accepted"]


def test_the_callback_of_the_first_request_is_written_again(tmp_path: Path) -> None:
    with provider(**{GRACE: ("reset-after",)}) as url:
        plan = plan_of("telnyx", [ADA, GRACE])
        first = send(plan, tmp_path, url, settle_unknowns=False, public_url="https://one.example")
        resume(first.run.run_id, tmp_path, url, public_url="https://two.example")
        messages = local_http.get(f"{url}/sandbox/messages").json()["messages"]
    assert len(messages) == 2
    assert all(message["callback"].startswith("https://one.example/") for message in messages)
    assert states(tmp_path, first.run.run_id) == ["accepted", "accepted"]


def test_a_number_of_a_pool_that_was_replaced_is_written_again(tmp_path: Path) -> None:
    with provider(**{GRACE: ("reset-before",)}) as url:
        plan = plan_of("telnyx", [ADA, GRACE], from_=["+12025550100", "+12025550101"])
        run = send(plan, tmp_path, url, settle_unknowns=False).run
        resume(run.run_id, tmp_path, url)
        assert accepted(url) == {ADA: 1, GRACE: 1}
    assert states(tmp_path, run.run_id) == ["accepted", "accepted"]


def test_a_first_request_that_is_still_under_way_is_waited_for(tmp_path: Path) -> None:
    real, asked = idempotent_retry.IdempotentRetry._send, []

    async def in_progress_twice(self: Any, doubt: Any, *, other_body: bool = False) -> Response | None:
        asked.append(other_body)
        if asked.count(False) in (1, 2) and not other_body:
            return Response(409, {}, b'{"errors": [{"code": "10036", "title": "in progress"}]}')
        return await real(self, doubt, other_body=other_body)

    with provider(**{GRACE: ("reset-before",)}) as url:
        run = left_unknown(tmp_path, url).run
        with mock.patch.object(idempotent_retry.IdempotentRetry, "_send", in_progress_twice):
            resume(run.run_id, tmp_path, url)
        assert accepted(url) == {ADA: 1, GRACE: 1}
    assert asked == [True, False, False, False, False]  # the last but one met the second fault


@pytest.mark.parametrize(("unit", "units"), [("messages", 1), ("segments", 2)])
def test_a_repeated_request_costs_what_the_first_one_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: str, units: int
) -> None:
    """At the rate of the campaign: it may be the one that sends."""
    plan = plan_of("telnyx", [ADA, GRACE], rate="50/s", message="Hello. " * 30)
    plan = plan.with_manifest(replace(plan.manifest, pace=replace(plan.manifest.pace, unit=unit)))
    asked: list[float] = []
    acquire = RateLimiter.acquire

    async def note(self: RateLimiter, units: float = 1, *, sender: str | None = None) -> bool:
        asked.append(units)
        return await acquire(self, units, sender=sender)

    with provider(**{GRACE: ("reset-before",)}) as url:
        run = send(plan, tmp_path, url, settle_unknowns=False).run
        monkeypatch.setattr(RateLimiter, "acquire", note)
        resume(run.run_id, tmp_path, url)
        assert accepted(url) == {ADA: 1, GRACE: 1}
    assert asked == [units] * 3, "what proves the keys, the second fault, and the answer"


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        pytest.param("429", "accepted", id="too fast: it waits and asks again"),
        pytest.param("500-before", "accepted", id="an answer that says nothing"),
        pytest.param("no-funds", "unknown", id="an account that may not send: nothing more is asked"),
    ],
)
def test_what_an_answer_to_a_repeated_request_means(tmp_path: Path, fault: str, state: str) -> None:
    with embedded(Options(faults=Faults(recipients={GRACE: ("reset-before", fault)}))) as url:
        run = left_unknown(tmp_path, url).run
        resume(run.run_id, tmp_path, url)
        assert faults_of(url) == {"reset-before": 1, fault: 1}
        assert accepted(url).get(GRACE, 0) == (state == "accepted")
    assert states(tmp_path, run.run_id) == ["accepted", state]


@pytest.mark.parametrize(
    ("keys", "event", "says"),
    [
        pytest.param(True, "repeated", "1 unknown settled by repeating their requests, each accepted once", id="keys"),
        pytest.param(
            False,
            "keys_not_proved",
            "Telnyx did not prove that it honours our keys: unknown messages are looked up in its log",
            id="no keys",
        ),
    ],
)
def test_what_was_repeated_and_why_not_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, keys: bool, event: str, says: str
) -> None:
    caplog.set_level("INFO", logger="sender.sending.idempotent_retry")
    with embedded(Options(keys=keys, faults=Faults(recipients={GRACE: ("reset-before",) * 2}))) as url:
        run = left_unknown(tmp_path, url).run
        resume(run.run_id, tmp_path, url)
    own = [record for record in caplog.records if record.name == "sender.sending.idempotent_retry"]
    assert {(vars(record)["event"], record.getMessage()) for record in own} == {(event, says)}


# -- what is left alone ----------------------------------------------------------------------------------------------


def test_a_provider_that_ignores_keys_is_never_asked_twice(tmp_path: Path) -> None:
    people = numbers(60)
    with embedded(Options(keys=False, faults=Faults({"reset-before": 0.2, "reset-after": 0.2}))) as url:
        result = send(plan_of("telnyx", people, concurrency=1), tmp_path, url)
        assert max(accepted(url).values()) == 1
    assert result.summary.unknown > 0
    assert result.summary.accepted + result.summary.unknown == len(people)


def test_without_an_accepted_message_nothing_is_proved(tmp_path: Path) -> None:
    with provider(**{ADA: ("reset-before",)}) as url:
        run = send(plan_of("telnyx", [ADA]), tmp_path, url).run
        assert accepted(url) == {}
    assert states(tmp_path, run.run_id) == ["unknown"]


def opted_out(state: Path, run_id: str) -> AbstractContextManager[object] | None:
    with open_state(state) as opened:
        SuppressionList(opened.suppressions).add([GRACE], source=EntrySource.PERSON)
    return None


def another_key(state: Path, run_id: str) -> AbstractContextManager[object] | None:
    return mock.patch("sender.providers._adapter_base.AdapterBase.credentials_digest", "another", create=True)


def a_newer_serialiser(state: Path, run_id: str) -> AbstractContextManager[object] | None:
    return mock.patch.object(idempotent_retry, "VERSION", idempotent_retry.VERSION + 1)


def a_day_later(state: Path, run_id: str) -> AbstractContextManager[object] | None:
    clock = int(time.time() * 1000) + 23 * HOUR_MS + 60_000
    return mock.patch("sender.state.sqlite.ledger.wall_clock_ms", return_value=lambda: clock)


def test_a_pause_until_the_keys_are_forgotten_leaves_messages_unknown(tmp_path: Path) -> None:
    """What may be repeated is looked for once, and a slow rate, or a wait that the provider asks for, may take hours."""
    later_ms = 0
    wait = idempotent_retry.IdempotentRetry._wait_for_turn

    async def wait_for_hours(self: Any, doubt: Any) -> bool:
        nonlocal later_ms
        is_next = await wait(self, doubt)
        later_ms += 12 * HOUR_MS  # the message that proves the keys, and then the one in doubt
        return is_next

    clock = mock.patch(
        "sender.state.sqlite.ledger.wall_clock_ms", return_value=lambda: time.time_ns() // 1_000_000 + later_ms
    )
    with provider(**{GRACE: ("reset-before",)}) as url:
        run = left_unknown(tmp_path, url).run
        with clock, mock.patch.object(idempotent_retry.IdempotentRetry, "_wait_for_turn", wait_for_hours):
            resume(run.run_id, tmp_path, url)
        assert accepted(url) == {ADA: 1}
    assert states(tmp_path, run.run_id) == ["accepted", "unknown"]


@contextmanager
def other_bytes() -> Iterator[None]:
    """A serialiser that writes the same in other bytes, and does not say so."""
    real = providers.telnyx.TelnyxAdapter.request

    def spaced(self: Any, message: Message) -> Request:
        request = real(self, message)
        return request._replace(content=request.content.replace(b'":', b'": '))

    with mock.patch.object(providers.telnyx.TelnyxAdapter, "request", spaced):
        yield


def no_key_then(state: Path, run_id: str) -> AbstractContextManager[object] | None:
    """As a process of an older version leaves it: the request had no key."""
    with open_state(state) as opened:
        opened.ledger._db.execute("UPDATE message SET request_format = NULL")  # type: ignore[attr-defined]
    return None


def taken_over(state: Path, run_id: str) -> AbstractContextManager[object] | None:
    with open_state(state) as opened:
        opened.ledger._db.execute("UPDATE message SET taken_over = 1 WHERE state = 'unknown'")  # type: ignore[attr-defined]
    return None


@pytest.mark.parametrize(
    "change",
    [opted_out, another_key, a_newer_serialiser, a_day_later, no_key_then, taken_over],
)
def test_a_message_stays_unknown(
    tmp_path: Path, change: Callable[[Path, str], AbstractContextManager[object] | None]
) -> None:
    with provider(**{GRACE: ("reset-before",)}) as url:
        run = left_unknown(tmp_path, url).run
        changed = change(tmp_path, run.run_id)
        if changed is None:
            resume(run.run_id, tmp_path, url)
        else:
            with changed:
                resume(run.run_id, tmp_path, url)
        assert accepted(url) == {ADA: 1}
    assert states(tmp_path, run.run_id) == ["accepted", "unknown"]


def test_other_bytes_make_no_second_message(tmp_path: Path) -> None:
    with provider(**{GRACE: ("reset-after",)}) as url:
        run = left_unknown(tmp_path, url).run
        with other_bytes():
            resume(run.run_id, tmp_path, url)
        assert accepted(url) == {ADA: 1, GRACE: 1}
    assert states(tmp_path, run.run_id)[1] in {"unknown", "accepted"}  # the log has it, sooner or later


@pytest.mark.parametrize(
    ("bound", "left_s"), [pytest.param(100, 0.0, id="closed"), pytest.param(1, 60.0, id="not open yet")]
)
def test_a_closed_window_holds_a_repeated_request_as_well(tmp_path: Path, bound: int, left_s: float) -> None:
    windows = mock.create_autospec(send_windows.SendWindows, instance=True, held_until_ms=None)
    windows.bound.return_value, windows.left_s.return_value, windows.wait_s.return_value = bound, left_s, None
    with provider(**{GRACE: ("reset-before",)}) as url:
        run = left_unknown(tmp_path, url).run
        with mock.patch("sender.sending.open_ways.open_windows", return_value=windows):
            resume(run.run_id, tmp_path, url)
            assert accepted(url) == {ADA: 1}
            windows.bound.return_value, windows.left_s.return_value = 100, 60.0
            resume(run.run_id, tmp_path, url)
        assert accepted(url) == {ADA: 1, GRACE: 1}


def test_one_whose_window_is_over_holds_up_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotent_retry, "GROUP", 1)
    windows = mock.MagicMock(held_until_ms=None)
    windows.bound.return_value, windows.wait_s.return_value = 100, None
    windows.left_s.side_effect = lambda seqs: 0.0 if 1 in seqs else 60.0
    real, written = providers.telnyx.TelnyxAdapter.request, []

    def note(self: Any, message: Message) -> Request:
        written.append(message.to)
        return real(self, message)

    with provider(**{GRACE: ("reset-before",), JEAN: ("reset-before",)}) as url:
        run = left_unknown(tmp_path, url, [ADA, GRACE, JEAN]).run
        monkeypatch.setattr(providers.telnyx.TelnyxAdapter, "request", note)
        with mock.patch("sender.sending.open_ways.open_windows", return_value=windows):
            resume(run.run_id, tmp_path, url)
        assert accepted(url) == {ADA: 1, JEAN: 1}
    assert states(tmp_path, run.run_id) == ["accepted", "unknown", "accepted"]
    assert set(written) == {ADA, JEAN}, "no time and no rate is spent on it"


def test_while_the_provider_is_not_well_the_rest_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotent_retry, "GROUP", 1)
    with provider(**{GRACE: ("reset-before",) * 20, JEAN: ("reset-before",)}) as url:
        run = left_unknown(tmp_path, url, [ADA, GRACE, JEAN]).run
        result = resume(run.run_id, tmp_path, url)
        assert accepted(url).get(GRACE, 0) == 0
    assert result.stopped is None
    assert states(tmp_path, run.run_id)[:2] == ["accepted", "unknown"]


def test_what_is_settled_before_a_stop_counts_and_the_rest_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotent_retry, "GROUP", 1)
    real, stop = idempotent_retry.IdempotentRetry._repeat, asyncio.Event()

    async def stop_meanwhile(self: Any, doubt: Any, rule: Any) -> Any:
        outcome = await real(self, doubt, rule)
        stop.set()
        return outcome

    monkeypatch.setattr(idempotent_retry.IdempotentRetry, "_repeat", stop_meanwhile)
    with provider(**{GRACE: ("reset-before",), JEAN: ("reset-before",)}) as url:
        run = left_unknown(tmp_path, url, [ADA, GRACE, JEAN]).run
        result = resume(run.run_id, tmp_path, url, cancel=stop)
        assert accepted(url) == {ADA: 1, GRACE: 1}
    assert result.stopped is None
    assert (result.summary.accepted, result.summary.unknown, result.interrupted) == (2, 1, True)


def test_a_person_who_has_had_enough_meanwhile_is_left_alone(tmp_path: Path) -> None:
    with provider(**{GRACE: ("reset-before",)}) as url:
        limits = {"per_person": "1/24h"}
        run = left_unknown(tmp_path, url, limits=limits).run
        with mock.patch("sender.sending.live_caps.LiveCaps.refusal", return_value=Unknown("enough")):
            resume(run.run_id, tmp_path, url)
        assert accepted(url) == {ADA: 1}


def test_beyond_the_limit_nothing_is_repeated(tmp_path: Path) -> None:
    with provider(**{GRACE: ("reset-before",)}) as url:
        run = left_unknown(tmp_path, url).run
        resume(run.run_id, tmp_path, url, limit=1)
        assert accepted(url) == {ADA: 1}


def test_other_providers_have_no_rule(tmp_path: Path) -> None:
    for dialect in ("signalwire", "signalwire-compat", "twilio"):
        assert providers.capabilities(dialect).idempotency is None
        with embedded(Options()) as url:
            assert request_format(providers.sandbox_adapter(dialect, url), None) is None


# -- keys and bytes --------------------------------------------------------------------------------------------------

MESSAGE = Message(
    7,
    "20261129-120000-0123abcd.7",
    ADA,
    "+12025550100",
    'Hällo 👋 "you"\n',
    ("https://example.com/a.png",),
    {"status_callback": "https://one.example/telnyx?a=1", "subject": "Hi", "send_as_mms": True},
)


def test_the_key_names_run_message_and_attempt_and_nobody() -> None:
    assert idempotency.make_key(MESSAGE) == "20261129-120000-0123abcd:7:1"
    assert idempotency.make_key(MESSAGE._replace(attempt=3)) == "20261129-120000-0123abcd:7:3"


def test_the_bytes_of_a_request_are_those_of_this_version() -> None:
    """Whoever changes them raises `idempotent_retry.VERSION`, and writes the new bytes here."""
    request = providers.adapter("telnyx", {"TELNYX_API_KEY": "KEY123"}).request(MESSAGE)
    assert idempotent_retry.VERSION == 1
    assert request.content.decode() == (
        '{"to":"' + ADA + '","from":"+12025550100","text":"Hällo 👋 \\"you\\"\\n",'
        '"media_urls":["https://example.com/a.png"],'
        '"webhook_url":"https://one.example/telnyx?a=1&ref=20261129-120000-0123abcd.7","subject":"Hi","type":"MMS"}'
    )
    assert dict(request.headers)["Idempotency-Key"] == "20261129-120000-0123abcd:7:1"


def test_credentials_are_recognised_and_not_shown() -> None:
    one, same, other = (providers.adapter("telnyx", {"TELNYX_API_KEY": key}) for key in ("KEY1", "KEY1", "KEY2"))
    assert one.credentials_digest == same.credentials_digest != other.credentials_digest
    assert "KEY1" not in one.credentials_digest
