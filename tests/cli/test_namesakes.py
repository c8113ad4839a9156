"""A campaign is known by its name: another file with the same name and other people asks once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Done, Sandbox, Shell

Start = Callable[..., Sandbox]
ADA, GRACE, JEAN = (f"+1202555010{n}" for n in range(1, 4))


@pytest.fixture
def live(sender: Shell, sandbox: Start) -> Callable[..., Done]:
    provider = sandbox()
    sender.make_state()
    for folder, people in (("a", (ADA,)), ("b", (GRACE,)), ("c", (ADA, JEAN))):
        sender.write(f"{folder}/people.csv", "phone\n" + "\n".join(people) + "\n")

    def run(path: str, *args: str) -> Done:
        words = ("--body", "Hi", "--from", "+12025550100", "--provider", "twilio", "--rate", "none", "--yes")
        return sender("send", path, *words, "--wait", "0", *args, **provider.env)

    return run


def test_another_file_with_other_people_is_refused_once(live: Callable[..., Done], sender: Shell) -> None:
    assert live("a/people.csv").code == 0
    refused = live("b/people.csv")
    assert (refused.code, "is the name of another campaign in this state" in refused.err) == (3, True), refused
    assert "a/people.csv" in refused.err
    assert all(way in refused.err for way in ("--name", "--same-campaign"))
    assert live("b/people.csv", "--same-campaign").code == 0
    sender.write("b/people.csv", f"phone\n{JEAN}\n")
    assert live("b/people.csv").code == 0, "it is remembered"


@pytest.mark.parametrize("args", [("--name", "other"), ("--rehearse",), ("--test-to", JEAN)], ids=" ".join)
def test_what_is_not_held_up(live: Callable[..., Done], args: tuple[str, ...]) -> None:
    assert live("a/people.csv").code == 0
    done = live("b/people.csv", *args)
    assert done.code == 0, done


def test_a_file_with_somebody_in_common_is_the_same_campaign(live: Callable[..., Done]) -> None:
    assert live("a/people.csv").code == 0
    assert "1 of 2 people has had people" in live("c/people.csv").err
    assert live("c/people.csv", "--only-new").code == 0


def test_a_written_plan_is_no_file_of_a_campaign(live: Callable[..., Done], sender: Shell) -> None:
    assert live("a/people.csv").code == 0
    words = ("--body", "Hi", "--from", "+12025550100", "--provider", "twilio", "--rate", "none", "--out", "plan")
    assert sender("plan", "b/people.csv", *words).code == 0
    env = {name: value for name, value in sender.env.items() if name.startswith("TWILIO")}
    done = sender("send", "plan", "--yes", "--dry-run", **env)
    assert done.code == 0, done
