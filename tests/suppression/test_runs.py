"""The suppression list and runs: who is skipped when planning, who is stopped on the way, what refusals teach."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sender
from sender import providers, sandbox
from sender.core.errors import InputError, ProviderRefused, RunComplete
from sender.delivery.provider_optouts import import_opt_outs
from sender.suppression.suppression_list import SuppressionList
from sender.transport.httpx_transport import HttpxTransport
from tests import local_http

OURS = "+12025550150"


def number(n: int) -> str:
    return f"+120255501{n:02}"


def plan(state_dir: Path, numbers: list[int], **keys: Any) -> sender.Plan:
    people = pl.DataFrame({"phone": [number(n) for n in numbers], "name": [f"N{n}" for n in numbers]})
    given = {"provider": "sandbox", "from_": OURS, "message": "Hi {{ name }}", "rate": "none", "name": "offer"}
    return sender.build_plan(sender.load_campaign(recipients=people, **{**given, **keys}), state_dir=state_dir)


def test_who_is_on_the_list_is_skipped_with_source_and_date(tmp_path: Path) -> None:
    before = plan(tmp_path / "state", [1, 2, 3, 2])
    assert not (tmp_path / "state").exists()
    with SuppressionList.open(tmp_path / "state") as listed:
        listed.learn_inbound(number(2), "STOP", OURS, "twilio", datetime(2026, 11, 20, 9, 30, tzinfo=UTC))
        listed.add([number(3)], note="asked by phone", at=datetime(2026, 11, 21, tzinfo=UTC))
    after = plan(tmp_path / "state", [1, 2, 3, 2])
    assert after.frame["reason"].to_list() == [None, "opted_out", "suppressed", "duplicate"]
    assert after.frame["detail"].to_list() == [
        None,
        f"replied STOP to {OURS} on 2026-11-20 09:30 UTC",
        "put on the suppression list by hand (asked by phone) on 2026-11-21 00:00 UTC",
        "same number as row 2",
    ]
    assert (after.manifest.messages, after.manifest.skipped) == (1, {"duplicate": 1, "opted_out": 1, "suppressed": 1})
    assert after.hash == before.hash  # or the same campaign would look unsent, and go to everybody again


def test_a_scope_of_one_service_holds_back_the_rows_that_name_it(tmp_path: Path) -> None:
    """Each row has a service of its own; also one that comes onto the list when the plan is made."""
    services = ["MG" + letter * 32 for letter in "ab"]
    people = pl.DataFrame({"phone": [number(n) for n in (1, 2, 3, 4)], "service": services * 2})
    keys = {"provider": "sandbox", "sandbox": {"dialect": "twilio"}, "messaging_service_sid": "{{ service }}"}
    campaign = sender.load_campaign(recipients=people, message="Hi", rate="none", name="offer", **keys)
    with SuppressionList.open(tmp_path) as listed:
        listed.add([number(1), number(2)], scope=f"sender:{services[0]}")
        made = sender.build_plan(campaign, state_dir=tmp_path)
        assert made.frame["reason"].to_list() == ["suppressed", None, None, None]
        listed.add([number(3), number(4)], scope=f"sender:{services[0]}")
        told = sender.send(made, state_dir=tmp_path).results()
        assert dict(zip(told["to"], told["status"], strict=True))[number(3)] == "canceled"
        assert told["message_id"].is_not_null().to_list() == [False, True, False, True]


def test_a_stop_after_the_run_does_not_make_it_look_unsent(tmp_path: Path) -> None:
    assert sender.send(plan(tmp_path, [1, 2]), state_dir=tmp_path).exit_code == 0
    with SuppressionList.open(tmp_path) as listed:
        listed.add([number(2)])
    with pytest.raises(RunComplete):
        sender.send(plan(tmp_path, [1, 2]), state_dir=tmp_path)


def test_a_limit_counts_those_who_get_a_message(tmp_path: Path) -> None:
    with SuppressionList.open(tmp_path) as listed:
        listed.add([number(1)])
    people = pl.DataFrame({"phone": [number(n) for n in range(1, 5)]})
    campaign = sender.load_campaign(recipients=people, provider="sandbox", from_=OURS, message="Hi")
    made = sender.build_plan(campaign, limit=2, state_dir=tmp_path)
    assert made.frame["reason"].to_list() == ["suppressed", None, None, "limit"]
    assert made.frame["seq"].to_list() == [None, 0, 1, None]


def test_a_stop_while_the_run_is_under_way_is_honoured(tmp_path: Path) -> None:
    """The last of 60 recipients says STOP after the first messages have left; another connection writes it."""
    made = plan(tmp_path, list(range(60)), rate="40/s")
    told: list[bool] = []

    def on_progress(now: sender.Progress) -> None:
        if now.accepted and not told:
            told.append(True)
            with SuppressionList.open(tmp_path) as listed:
                listed.learn_inbound(number(59), "stop", OURS, "twilio", datetime.now(UTC))

    result = sender.send(made, state_dir=tmp_path, on_progress=on_progress)
    assert told
    assert (
        result.summary.totals_line()
        == "60 rows = 0 skipped + 59 accepted + 0 rejected + 1 canceled + 0 unknown + 0 pending"
    )
    last = result.results().row(59, named=True)
    assert (last["status"], last["reason"], last["error_code"]) == ("canceled", "opted_out", None)
    assert last["error_message"].startswith(f"not sent: replied stop to {OURS} on ")
    assert [(one.reason, one.error_code, one.count) for one in result.summary.errors] == [("opted_out", None, 1)]


def test_a_plan_made_before_a_stop_is_stopped_too(tmp_path: Path) -> None:
    """Also one that was never held against the list, as the library makes it without a state directory."""
    with SuppressionList.open(tmp_path) as listed:
        listed.add([number(1)])
    people = pl.DataFrame({"phone": [number(1), number(2)]})
    campaign = sender.load_campaign(recipients=people, provider="sandbox", from_=OURS, message="Hi", rate="none")
    result = sender.send(sender.build_plan(campaign), state_dir=tmp_path)
    assert result.results()["status"][0] == "canceled"
    assert (result.summary.rejected, result.summary.canceled, result.summary.accepted) == (0, 1, 1)


def test_refusals_teach_the_list_and_the_sandbox_s_stay_there(tmp_path: Path) -> None:
    made = plan(tmp_path, [1, 90, 91], sandbox={"dialect": "twilio"})  # 0190 is no number, 0191 has opted out
    assert sender.send(made, state_dir=tmp_path).summary.rejected == 2
    with SuppressionList.open(tmp_path) as listed:
        [entry] = listed.why(number(91))
        assert (entry.reason, entry.source, entry.via, entry.scope) == ("opted_out", "provider_error", OURS, "sandbox")
        assert entry.note is not None
        assert entry.note.startswith("sandbox 21610")
        assert [one.reason for one in listed.why(number(90))] == ["invalid_number"]
    again = plan(tmp_path, [1, 90, 91])
    assert again.frame["reason"].to_list() == [None, None, "opted_out"]
    again = plan(tmp_path, [1, 90, 91], skip_dead=True)
    assert again.frame["reason"].to_list() == [None, "invalid_number", "opted_out"]
    real = plan(tmp_path, [1, 90, 91], provider="twilio", skip_dead=True)
    assert real.frame["reason"].to_list() == [None, None, None]


def test_what_we_held_back_teaches_nothing(tmp_path: Path) -> None:
    made = plan(tmp_path, [1])
    with SuppressionList.open(tmp_path) as listed:
        listed.add([number(1)])
        sender.send(made, state_dir=tmp_path)
        assert [one.source for one in listed.why(number(1))] == ["person"]


# -- Telnyx' own list --------------------------------------------------------------------------------------------------


@pytest.fixture
def url() -> Iterator[str]:
    with sandbox.embedded(sandbox.Options()) as url:
        yield url


def fetched(url: str, state_dir: Path, dialect: str = "telnyx", **options: Any) -> tuple[int, int]:
    async def go() -> tuple[int, int]:
        adapter = providers.sandbox_adapter(dialect, url)
        async with contextlib.aclosing(HttpxTransport(concurrency=1)) as transport:
            return await import_opt_outs(listed, adapter, transport, **options)

    with SuppressionList.open(state_dir) as listed:
        return asyncio.run(go())


def say_stop(url: str, *stops: dict[str, str]) -> None:
    with local_http.Client() as client:
        for one in stops:
            client.post(f"{url}/sandbox/optouts", json={"to": OURS, **one}).raise_for_status()


def test_telnyx_opt_outs_are_read_to_the_last_page(url: str, tmp_path: Path) -> None:
    everybody = [f"+1202555{n:04}" for n in range(251)]  # one more than a page holds
    say_stop(url, *({"from": one, "created_at": "2026-11-01T08:00:00Z"} for one in everybody))
    assert fetched(url, tmp_path) == (251, 251)
    assert fetched(url, tmp_path) == (251, 0)
    with SuppressionList.open(tmp_path) as listed:
        assert sorted(entry.number for entry in listed.entries()) == everybody
        [entry] = listed.why(everybody[-1])
        assert entry.sentence() == f"on the provider's list of opt-outs for {OURS} on 2026-11-01 08:00 UTC"
        listed.learn_inbound(everybody[-1], "START", OURS, "telnyx", datetime.now(UTC))
        assert fetched(url, tmp_path) == (251, 0)
        assert not any(one.active for one in listed.why(everybody[-1]))  # the opt-out is older than the START


def test_telnyx_opt_outs_of_a_profile_and_since_a_day(url: str, tmp_path: Path) -> None:
    stops = [("a", "2026-11-01"), ("b", "2026-11-02"), ("b", "2026-11-03")]
    say_stop(
        url,
        *(
            {"from": number(n), "messaging_profile_id": profile, "created_at": f"{day}T00:00:00Z"}
            for n, (profile, day) in enumerate(stops)
        ),
    )
    assert fetched(url, tmp_path / "1", profile="b") == (2, 2)
    assert fetched(url, tmp_path / "2", since=datetime(2026, 11, 3, tzinfo=UTC)) == (1, 1)
    assert fetched(url, tmp_path / "3", scope="account:telnyx") == (3, 3)
    with SuppressionList.open(tmp_path / "3") as listed:
        assert {one.scope for one in listed.entries()} == {"account:telnyx"}


def test_a_list_that_cannot_be_read_is_told(url: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only Telnyx lists its opt-outs"):
        fetched(url, tmp_path, "twilio")
    with pytest.raises(ProviderRefused, match="cannot be read: HTTP 404"):
        fetched(url + "/nowhere", tmp_path)
