"""Sentences name options for the command; from Python, what these are called there."""

from __future__ import annotations

import inspect
import shlex

import pytest

import sender
from sender.core.errors import ARGUMENTS, CampaignError, InputError, Problem, setting
from sender.sending.options import SendKeywords


def names_of_the_library() -> set[str]:
    functions = (sender.build_plan, sender.retry_plan, sender.asend, sender.LookupOptions)
    keywords = {name for function in functions for name in inspect.signature(function).parameters}
    return keywords | set(SendKeywords.__annotations__)


def test_every_argument_is_one_of_the_library() -> None:
    names = {argument.partition("=")[0] for argument in ARGUMENTS.values()}
    assert names <= names_of_the_library()


def test_a_switch_is_called_from_python_as_its_option() -> None:
    """`--again` is `again=True`; the three that turn something off, or name a place or several things, say so."""
    other = {
        option: argument
        for option, argument in ARGUMENTS.items()
        if argument.partition("=")[0] != option.removeprefix("--").replace("-", "_")
    }
    assert other == {
        "--no-hold": "hold=False",
        "--on-unknown hold": "settle_unknowns=False",
        "--reason": "reasons=[...]",
        "--state": "state_dir=...",
        "--status": "statuses=[...]",
    }


@pytest.mark.parametrize(
    ("fix", "shown"),
    [
        pytest.param("--again sends to everybody once more", " (in Python: again=True)", id="one"),
        pytest.param(
            "--only-new sends to new people; --again to all", " (in Python: only_new=True, again=True)", id="two"
        ),
        pytest.param("--again, or --again", " (in Python: again=True)", id="twice"),
        pytest.param("--same-campaign (same_campaign=True) confirms", "", id="told already"),
        pytest.param("--state-dir names it", " (in Python: state_dir=...)", id="a longer option"),
        pytest.param("--againstall, --limitless", "", id="other options"),
        pytest.param("write it", "", id="none"),
    ],
)
def test_the_sentence_for_python(fix: str, shown: str) -> None:
    error = InputError("it is wrong", where="c.yaml", fix=fix)
    assert error.sentence() == f"c.yaml: it is wrong\n  fix: {fix}"
    assert str(error) == f"{error.sentence()}{shown}"


def test_a_campaigns_problems_stay_as_they_are() -> None:
    error = CampaignError("not valid", where="c.yaml", problems=(Problem(1, "a", "is wrong"), Problem(2, "b", "too")))
    assert str(error) == "c.yaml, line 1, key `a`: is wrong\nc.yaml, line 2, key `b`: too"


@pytest.mark.parametrize(
    ("value", "option"),
    [
        ("", "--set recipients.where=..."),
        ("true", "--set recipients.where=true"),
        ("opt_in == 'Y'", "--set \"recipients.where=opt_in == 'Y'\""),
        ("row[\"Opt In\"] == 'Y'", None),
        ("cost == '$5'", None),
    ],
)
def test_an_option_is_written_as_a_shell_takes_it(value: str, option: str | None) -> None:
    sentence = setting("recipients.where", value)
    typed = sentence[sentence.index("(") + 1 : -1]
    assert option is None or typed == option
    assert shlex.split(typed) == ["--set", f"recipients.where={value or '...'}"]
