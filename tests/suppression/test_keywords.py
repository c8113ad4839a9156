"""Which replies are a STOP or a START. Only whole messages are."""

from __future__ import annotations

from pathlib import Path

import pytest

from sender.suppression.keywords import _START, _STOP, Keyword, keyword_of

DOCUMENT = Path(__file__).parents[2] / "docs" / "suppression.md"


@pytest.mark.parametrize(
    "text",
    [
        "STOP",
        "stop",
        " Stop. ",
        "“STOP!!!”",
        "stop 🛑",
        "STOP\r\n",
        "ＳＴＯＰ",
        "*stop*",
        "'stop'",
        "`Stop´",
        "stop " * 40,  # 200 characters
        "Stop stop STOP",
        "STOPALL",
        "Stop all",
        "stop-all",
        "UNSUBSCRIBE",
        "Cancel",
        "End",
        "quit",
        "Revoke",
        "opt out",
        "Opt-Out!",
        "optout",
        "ARRET",
        "arrêt",
    ],
)
@pytest.mark.parametrize("provider", ["signalwire", "signalwire-compat", "telnyx", "twilio"])
def test_a_stop_is_heard_whatever_its_dress(text: str, provider: str) -> None:
    assert keyword_of(text, provider) is Keyword.STOP


@pytest.mark.parametrize("text", ["START", "start.", "Unstop", " “start” "])
def test_a_start_is_heard(text: str) -> None:
    assert keyword_of(text) is Keyword.START


@pytest.mark.parametrize(
    "text",
    [
        "don't stop",
        "dont stop",
        "Please stop texting me",
        "stop it",
        "what time does it end?",
        "the end",
        "stop or start",
        "nonstop",
        "yes please",
        "",
        "   ",
        "🛑",
        None,
        "stop " * 40 + ".",
        "stop " * 200,
    ],
)
def test_a_word_within_a_message_is_no_keyword(text: str | None) -> None:
    assert keyword_of(text, "twilio") is None


def test_yes_opts_in_at_twilio_alone() -> None:
    assert keyword_of("Yes!", "twilio") is Keyword.START
    assert keyword_of("Yes!", "telnyx") is None
    assert keyword_of("Yes!") is None


def test_the_documented_words_are_the_words() -> None:
    rows = dict(
        line.strip("| \n").split(" | ", 1)
        for line in DOCUMENT.read_text("utf-8").splitlines()
        if "STOP ALL," in line or "UNSTOP;" in line
    )
    stops, starts = rows["opt out"].split(", "), rows["opt in again"].partition(";")[0].split(", ")
    assert sorted(word.lower() for word in stops) == sorted(_STOP)
    assert sorted(word.lower() for word in starts) == sorted(_START)
