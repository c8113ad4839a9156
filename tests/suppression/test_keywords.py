"""Which replies are a STOP or a START, and which are neither."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender.core.errors import InputError
from sender.suppression.keywords import _PLAIN, _START, _STOP, _WHOLE, Keyword, keyword_of, opt_out_words
from sender.suppression.reply_text import LONGEST

DOCUMENT = Path(__file__).parents[2] / "docs" / "suppression.md"
PROVIDERS = ["signalwire", "signalwire-compat", "telnyx", "twilio"]

STOPS = [
    # the word, whatever its dress
    "STOP", "stop", " Stop. ", "“STOP!!!”", "stop 🛑", "STOP\r\n", "ＳＴＯＰ", "*stop*", "'stop'", "`Stop´", "Stop?", "S T O P",
    "s.t.o.p.", "stop " * 40, "stop " * 390, "Stop stop STOP", "STOPALL", "Stop all", "stop-all", "STOP ALL STOP ALL",
    # the carriers' other words, and those of the rules
    "UNSUBSCRIBE", "Unsub", "Cancel", "CANCEL!", "End", "quit", "Revoke", "REMOVE", "TD", "td.", "opt out", "Opt-Out!",
    "optout", "OPT OUT.", "opt-out opt-out",
    # French, Spanish, German
    "ARRET", "arrêt", "Arrête"[:5] + "ez", "Arrêter", "désabonner", "Désinscription", "ANNULER", "fin", "résilier",
    "ALTO", "baja", "Baja por favor", "darme de baja", "Cancelar", "PARE", "parar", "salir", "no más", "detener",
    "STOPP", "Abmelden", "Bitte abmelden", "abbestellen", "Kündigen", "kuendigen", "ENDE",
    # polite, or impatient
    "Please stop", "STOP please", "stop pls", "Stop, thanks", "Stop. Thank you", "STOP NOW", "please stop all now. thank you!",
    "Hi, stop please", "ok stop", "unsubscribe please", "cancel please", "Arrêt s'il vous plaît", "Stopp bitte, danke",
    "end. thanks",
    # with a signature, in one line or below
    "STOP / Sent from my iPhone", "STOP Sent from my iPhone", "STOP\n\nSent from my iPhone", "Stop\nSent from Outlook for iOS",
    "Stop\nGet Outlook for Android", "cancel - Sent via BlackBerry", "STOP\nEnvoyé de mon iPhone", "BAJA\nEnviado desde mi iPhone",
    "Abmelden!\n\nVon meinem iPhone gesendet", "STOP\n--\nAda Lovelace\n+1 202 555 0147", "END\n-- \nAda",
    # above or below the message that it answers
    "STOP\n> Acme: sale today. Reply STOP to quit", "> Acme: sale today.\nstop", "STOP “Acme: sale today, reply STOP to quit”",
    "cancel\nOn Tue, Nov 3, 2026 at 9:00 AM Acme wrote:\nSale today", "STOP\n-----Original Message-----\nFrom: Acme",
    "Stop\nAm 3.11.2026 um 9:00 schrieb Acme:\n> Heute", "stop\n" + "> a long message\n" * 300,
    "STOP > Acme: sale today", "STOP On Mon, Nov 2, 2026 Acme wrote: sale today", "Stop\n\nVon: Acme\nGesendet: Montag",
    "STOP\n\n________________________________\nFrom: Acme", "Stop\n\nBegin forwarded message:\n> Sale",
    "stop.\n\nOn Nov 2, 2026, at 9:00 AM, Acme <+12025550100> wrote:\n> Sale", "STOP\nGet Outlook for iOS<https://example.com/x>",
    # as programs pass it on
    "Re: STOP", "RE: Re: stop", "Fwd: Stop", "AW: Stopp", "Subject: STOP", "S\u200btop", "\ufeffSTOP", "STOP\u200e", "S\u00adTOP",
    "\u202dSTOP\u202c", "STOP\0", "STOP™", "𝐒𝐓𝐎𝐏", "ⓢⓣⓞⓟ", "<STOP>", "[STOP]", "#stop", "~stop~", "🛑STOP🛑", "opt_out", "OPT\u2011OUT", "Opt–out", "T.D.",
    # several of them
    "STOP/ARRET", "STOP ou ARRET", "stop or unsubscribe", "STOP END QUIT", "stopstopstop", "STOP,STOP,STOP", "Merci d'arrêter", "merci d’arrêter svp",
    "Stop!!! Please!!!", "STOP\nAda Lovelace\nAcme Inc.\n202-555-0147", "STOP - Sent from my iPhone", "STOP (Sent from my iPhone)",
    "STOP. Sent from my Verizon, Samsung Galaxy smartphone", "Stop Thank You!", "STOP\n" + "x" * 3000,
    # a sentence of its own, first or last
    "STOP. Who is this?", "Stop! You have the wrong number", "Stop\nI never signed up", "Leave me alone. STOP",
    "I never signed up for this!\nUnsubscribe", "Stop; I mean it", "Stop - wrong number", "Wrong person. Please stop.",
]  # fmt: skip

NEITHER = [
    # not to stop, or to stop something else
    "don't stop", "dont stop", "Don't stop sending", "please don't stop", "STOP by the store", "stop by on Monday",
    "Can you stop by at 5?", "stop it", "nonstop", "bus stop", "Stop sent by mistake", "I didn't mean STOP",
    "don't stop. I like them", "stop or start", "stop start", "Never stop!",
    # about an appointment or an order
    "Cancel. Can I come on Tuesday?", "Cancel my appointment", "I'll cancel. See you", "what time does it end?", "the end",
    "The end.\nGood night", "remove the onions", "End of the street. Yes", "quit while ahead",
    # in other words: for a person to read
    "Please stop texting me", "leave me alone", "remove me", "take me off your list", "no more messages", "STOP, I never signed up",
    # the message itself, quoted
    "Liked “Reply STOP to opt out”", "> STOP to quit\nYes please", "Yes\nTxt HELP/STOP", "Yes!\n> Acme\n> STOP", "Yes!\n  > Acme\n\t> STOP",
    "On Tue, Nov 3, 2026 at 9:00 AM Acme wrote:\nReply STOP to quit\nthanks", "What does “Reply STOP.” mean",
    "Sent from my iPhone", "Re: start", "stop or start?", "red or dead", "end of story", "no parar", "1 STOP", "STOP 2", "no stop", "Text STOP",
    # a START has to be the whole reply
    "start please", "START\nSent from my iPhone", "yes please", "Start. Thanks",
    # nothing
    "", "   ", "🛑", None, "\n>\n", "--", "please", "thank you", "a" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("text", STOPS)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_stop_is_heard_whatever_is_around_it(text: str, provider: str) -> None:
    assert keyword_of(text, provider) is Keyword.STOP


@pytest.mark.parametrize("text", ["START", "start.", "Unstop", " “start” ", "start start"])
def test_a_start_is_heard(text: str) -> None:
    assert keyword_of(text) is Keyword.START


@pytest.mark.parametrize("text", NEITHER)
@pytest.mark.parametrize("provider", ["telnyx", "twilio"])
def test_a_word_within_a_message_is_no_keyword(text: str | None, provider: str) -> None:
    assert keyword_of(text, provider) is None


def test_the_tables_are_long_and_without_repetition() -> None:
    replies = [*STOPS, *NEITHER]
    assert len(replies) == len(set(replies)) >= 80


@pytest.mark.parametrize("word", sorted(_STOP))
def test_every_word_is_heard_alone_politely_and_above_a_signature(word: str) -> None:
    for text in (
        word,
        word.upper(),
        f"{word.title()}.",
        f"Please {word}",
        f"{word}, thank you",
        f"{word}\nSent from my iPhone",
    ):
        assert keyword_of(text) is Keyword.STOP, text


@pytest.mark.parametrize("word", sorted(_PLAIN))
def test_a_plain_word_is_heard_as_the_first_or_last_sentence(word: str) -> None:
    for text in (f"{word}. I never signed up", f"I never signed up! {word}"):
        assert keyword_of(text) is Keyword.STOP, text
    assert keyword_of(f"I never signed up. {word}. Yes") is None


@pytest.mark.parametrize("word", sorted(_WHOLE))
def test_the_other_words_are_heard_as_the_whole_reply_only(word: str) -> None:
    for text in (f"{word}. Can I come on Tuesday?", f"On Tuesday. {word}", f"{word} my order"):
        assert keyword_of(text) is None, text


@given(st.text(max_size=400))
def test_no_text_fails_and_a_quoted_one_says_nothing(text: str) -> None:
    keyword_of(text, "twilio")
    quoted = "".join(f"> {line}\n" for line in text.splitlines())
    assert keyword_of(quoted) in {None, keyword_of(text), Keyword.START}
    assert keyword_of(f"{quoted}STOP") is Keyword.STOP


@given(st.sampled_from(["don't ", "please don't ", "never ", "non", "do not "]), st.sampled_from(sorted(_STOP)))
def test_a_negation_is_no_stop(before: str, word: str) -> None:
    assert keyword_of(before + word) is None


def test_of_a_very_long_reply_the_beginning_is_read() -> None:
    assert keyword_of("STOP. " + "blah " * LONGEST) is Keyword.STOP
    assert keyword_of("blah " * LONGEST + ". STOP") is None
    assert keyword_of("start " * LONGEST) is None
    assert keyword_of("start".ljust(LONGEST)) is Keyword.START
    assert keyword_of("start".ljust(LONGEST + 1)) is None


def test_a_quoted_line_may_be_indented() -> None:
    assert keyword_of("Keep them coming\n  > Stop") is None


def test_yes_opts_in_at_twilio_alone() -> None:
    assert keyword_of("Yes!", "twilio") is Keyword.START
    assert keyword_of("Yes!", "telnyx") is None
    assert keyword_of("Yes!") is None


# Words of the sender's own


@pytest.mark.parametrize(
    ("text", "heard"),
    [
        ("FERMA", True),
        ("ferma, grazie", False),
        ("Ferma. Thank you", True),
        ("Please ferma", True),
        ("ferma\nSent from my iPhone", True),
        ("Basta così!", True),
        ("basta cosi", True),
        ("2", True),
        ("2 please", True),
        ("22", False),
        ("non ferma", False),
        ("Ferma. Chi sei?", False),
        ("STOP", True),
    ],
)
def test_words_of_one_s_own_are_heard_as_the_whole_reply(text: str, heard: bool) -> None:
    words = opt_out_words(["Ferma", "basta così", "2"])
    assert (keyword_of(text, "telnyx", words) is Keyword.STOP) is heard
    assert keyword_of("ferma") is None


@pytest.mark.parametrize("word", ["START", "Yes!", "unstop", "help", "INFO", "", " ", "…", "x" * 41])
def test_what_cannot_be_an_opt_out_word_is_refused(word: str) -> None:
    with pytest.raises(InputError, match="cannot be an opt-out word") as refused:
        opt_out_words(["ferma", word])
    assert refused.value.where == "listen.opt_out_words"


def test_the_documented_words_are_the_words() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|\n ").split(" | ")]
        for line in DOCUMENT.read_text("utf-8").splitlines()
        if line.startswith("| opt ")
    ]
    plain, whole, start = (
        sorted(
            word.strip().lower() for cell in row[1:] for word in cell.partition(";")[0].split(",") if word.strip(" —")
        )
        for row in rows
    )
    assert plain == sorted(_PLAIN)
    assert whole == sorted(_WHOLE)
    assert start == sorted(_START)
