"""A pool against the sandbox: the number really used is what the provider saw, what the results say, what is looked up."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sender
from sender.core.errors import InputsChanged, ProviderRefused
from sender.plan.sender_pool import SenderPool
from sender.sandbox.server import embedded
from sender.sandbox.simulator import Options
from tests.cli import in_process

BAD, GOOD, OTHER = "+12025550190", "+12025550161", "+12025550162"  # the sandbox refuses the first as a sender
POOL = SenderPool(dict.fromkeys((BAD, GOOD, OTHER), 1.0))
PLANNED_BAD = [to for n in range(10, 89) if POOL.order(to := f"+121255501{n:02}")[0] == BAD][:6]
PLANNED_WELL = [to for n in range(10, 89) if POOL.order(to := f"+121255501{n:02}")[0] != BAD][:6]
# Its create is accepted and answered with 500: nobody knows, until the log is asked.
DOUBTFUL = next(to for area in range(201, 989) if POOL.order(to := f"+1{area}5550197")[0] == BAD and area % 100 != 11)


def plan(dialect: str, recipients: list[str], senders: list[Any]) -> sender.Plan:
    return sender.build_plan(
        sender.load_campaign(
            recipients=pl.DataFrame({"phone": recipients}),
            provider="sandbox",
            sandbox={"dialect": dialect},
            from_=senders,
            message="Hi",
            rate="none",
            name="pool",
        )
    )


def truth(url: str) -> dict[str, str]:
    """The sender of each accepted message by its recipient."""
    with urllib.request.urlopen(f"{url}/sandbox/messages") as answer:
        messages = json.load(answer)["messages"]
    assert len({one["to"] for one in messages}) == len(messages), "nobody twice"
    return {one["to"]: one["from"] for one in messages}


@pytest.mark.parametrize("dialect", ["signalwire", "signalwire-compat", "telnyx", "twilio"])
def test_the_others_send_for_a_refused_number_and_an_unknown_is_found_by_the_number_really_used(
    dialect: str, tmp_path: Path
) -> None:
    recipients = [*PLANNED_WELL, *PLANNED_BAD, DOUBTFUL]
    with embedded(Options(state_file=tmp_path / "sandbox.sqlite3")) as url:
        made = plan(dialect, recipients, [BAD, GOOD, OTHER])
        assert set(made.messages["from_number"][-7:]) == {BAD}
        result = sender.send(made, state_dir=tmp_path / "state", env={"SENDER_SANDBOX_URL": url})
        accepted = truth(url)
    assert list(result.taken_out) == [BAD]
    assert result.stopped is None
    frame = result.results()
    assert dict(zip(frame["to"], frame["from"], strict=True)) == accepted == {to: expected(to) for to in recipients}
    assert result.summary.unknown == 0
    assert result.summary.accepted == len(recipients), "the doubtful one was found in the log, under its real sender"
    assert result.exit_code in (0, 1), "its delivery may have failed by now"


def expected(to: str) -> str:
    return next(number for number in POOL.order(to) if number != BAD)


def test_a_pool_of_nothing_but_refused_numbers_stops_and_loses_nothing(tmp_path: Path) -> None:
    made = plan("twilio", PLANNED_WELL, [BAD, "+14155550190"])
    result = sender.send(made, state_dir=tmp_path)
    assert isinstance(result.stopped, ProviderRefused)
    assert (result.exit_code, result.summary.pending) == (3, len(PLANNED_WELL))
    assert len(result.taken_out) == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({"from_": [{"number": GOOD, "weight": 9}, OTHER]}, "the weights or the `match` of the pool", id="pool"),
        pytest.param({"from_": "{{ 'X' ~ phone[-4:] }}"}, "from: not set became {{ 'X'", id="template"),
    ],
)  # fmt: skip
def test_a_resume_with_another_pool_is_refused_and_told(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    def made(**keys: Any) -> sender.Plan:
        people = pl.DataFrame({"phone": PLANNED_WELL + PLANNED_BAD})
        given = {"recipients": people, "provider": "sandbox", "sandbox": {"dialect": "twilio"}, "message": "Hi"}
        return sender.build_plan(
            sender.load_campaign(**{**given, "from_": [GOOD, OTHER], "name": "p", "rate": "none", **keys})
        )

    assert sender.send(made(), state_dir=tmp_path, limit=2).summary.accepted == 2
    with pytest.raises(InputsChanged) as caught:
        sender.send(made(**changes), state_dir=tmp_path)
    assert told in caught.value.what


def test_the_command_says_which_number_was_taken_out(tmp_path: Path) -> None:
    people = tmp_path / "people.csv"
    people.write_text("\n".join(["phone", *PLANNED_BAD, *PLANNED_WELL]) + "\n")
    flags = [word for number in (BAD, GOOD, OTHER) for word in ("--from", number)]
    words = ["send", str(people), "--provider", "sandbox", *flags, "--body", "Hi", "--rate", "none", "--yes"]
    code, out, err = in_process.run([*words, "--state-dir", "state"], folder=tmp_path, env=dict(os.environ))
    assert code == 0, err
    assert f"taken out of the pool: {BAD}" in out
    assert f"{BAD} is taken out of the pool, and the other numbers send its messages" in err
