"""What a character costs is what replacing it alone would save: held against doing just that, text by text."""

from __future__ import annotations

import polars as pl
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from sender.segments import blame as module
from sender.segments.advice import advise, can_be_left_out, sentence
from sender.segments.blame import blame, instead_of, other_script
from sender.segments.encoding import GSM_BASIC, GSM_EXTENSION, measure

GSM = set(GSM_BASIC + GSM_EXTENSION)


def blamed(*texts: str | None) -> dict:
    bodies = pl.Series("body", texts, dtype=pl.String)
    return blame(measure(bodies).hstack([bodies]))


def listed(*texts: str | None) -> list[tuple[str, str, int, int]]:
    return [tuple(one.values()) for one in blamed(*texts)["characters"]]


@pytest.mark.parametrize(
    ("character", "instead"),
    [
        pytest.param("’", "'", id="look-alike"),
        pytest.param("…", "...", id="look-alike of three characters"),
        pytest.param("\u200b", "", id="invisible"),
        pytest.param("á", "a", id="base letter"),
        pytest.param("e\u0301", "é", id="composed, where GSM-7 has it"),
        pytest.param("a\u0301", "a", id="base letter of a combined one"),
        pytest.param("Ł", "L", id="a letter that Unicode does not take apart"),
        pytest.param("½", "1/2", id="fraction"),
        pytest.param("™", "TM", id="compatibility"),
        pytest.param("1\ufe0f\u20e3", "1", id="keycap"),
        pytest.param("🎉", "", id="emoji"),
        pytest.param("👩\u200d👧", "", id="emoji of several code points"),
        pytest.param("Ю", "", id="another script"),
        pytest.param("[", "(", id="extension table"),
        pytest.param("€", "", id="nothing is shorter"),
    ],
)
def test_what_to_write_instead(character: str, instead: str) -> None:
    assert instead_of(character) == instead
    assert set(instead) <= GSM


LONG = "x" * 80


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        pytest.param(["plain", "", None], [], id="nothing to blame"),
        pytest.param(["it’s"], [("’", "'", 1, 0)], id="forces UCS-2, costs no segment"),
        pytest.param([f"it’s {LONG}"], [("’", "'", 1, 1)], id="costs a segment"),
        pytest.param([f"’{LONG}", f"’’{LONG}", "’"], [("’", "'", 3, 2)], id="summed over the texts"),
        pytest.param([f"“{LONG}”"], [("“", '"', 1, 0), ("”", '"', 1, 0)], id="two of them: neither saves alone"),
        pytest.param(["🎉" * 36 + "’"], [("🎉", "", 1, 1), ("’", "'", 1, 0)], id="alone it shrinks a text that stays"),
        pytest.param(["👩\u200d👧" + LONG], [("👩\u200d👧", "", 1, 1)], id="a cluster is one character"),
        pytest.param(
            ["👩 👩\u200d👧" + LONG], [("👩", "", 1, 0), ("👩\u200d👧", "", 1, 0)], id="and none of its parts"
        ),
        pytest.param(["a" * 148 + "[" * 4 + "]" * 4], [("[", "(", 1, 1), ("]", ")", 1, 1)], id="extension table"),
        pytest.param(["a" * 10 + "[]"], [], id="extension characters that cost nothing"),
        pytest.param(["…" * 71], [("…", "...", 1, 0)], id="a text that would grow saves nothing"),
        pytest.param(["🎉" * 40], [("🎉", "", 1, 0)], id="a text must not become empty"),
        pytest.param(["Привет, мир, как дела? " * 5], [], id="another script"),
        pytest.param(["Olá " * 20], [("á", "a", 1, 1)], id="a letter with its base letter"),
    ],
)
def test_blame(texts: list[str | None], expected: list[tuple[str, str, int, int]]) -> None:
    assert listed(*texts) == expected


def test_together_they_cost_what_neither_costs_alone() -> None:
    found = blamed(f"“{LONG}”", f"it’s {LONG}", "“hi”", "plain")
    assert (found["messages"], found["segments"]) == (3, 2)


def test_texts_in_another_script_are_counted_apart() -> None:
    found = blamed("Привет " * 20, "Hi dear Юля", "“hi” 🎉")
    assert found["other_script"] == 1
    assert {one["character"] for one in found["characters"]} == {"Ю", "л", "я", "“", "”", "🎉"}


def test_a_long_list_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LISTED", 2)
    found = blamed("Hello “you” …")
    assert (len(found["characters"]), found["unlisted"]) == (2, 1)


def test_flags_that_only_seem_to_be_there_are_left_alone() -> None:
    """The letters U and S stand next to each other across two other flags."""
    text = "🇺🇸" + "x" * 64 + "🇧🇺🇸🇦"
    assert {one["character"]: one["segments"] for one in blamed(text)["characters"]} == {"🇺🇸": 0, "🇧🇺": 0, "🇸🇦": 0}
    assert plainly([text])["🇺🇸"] == (1, 0)


@pytest.mark.parametrize(
    ("one", "told"),
    [
        pytest.param(
            {"character": "’", "instead": "'", "messages": 2, "segments": 1},
            "'’' (right single quotation mark) costs 1 segment in 2 messages: write \"'\"",
            id="look-alike",
        ),
        pytest.param(
            {"character": "🎉", "instead": "", "messages": 1, "segments": 0},
            "'🎉' (party popper) alone costs no segment in 1 message: leave it out",
            id="leave out",
        ),
        pytest.param(
            {"character": "á", "instead": "a", "messages": 3, "segments": 3},
            "'á' (latin small letter a with acute) costs 3 segments in 3 messages: GSM-7 has only 'a'",
            id="a letter with its base letter",
        ),
        pytest.param(
            {"character": "ə", "instead": "", "messages": 3, "segments": 3},
            "'ə' (latin small letter schwa) costs 3 segments in 3 messages: GSM-7 has nothing like it",
            id="a letter is never left out",
        ),
        pytest.param(
            {"character": "٣", "instead": "", "messages": 1, "segments": 1},
            "'٣' (arabic-indic digit three) costs 1 segment in 1 message: GSM-7 has nothing like it",
            id="nor a digit",
        ),
        pytest.param(
            {"character": "€", "instead": "", "messages": 1, "segments": 1},
            "'€' (euro sign) costs 1 segment in 1 message: GSM-7 has nothing like it",
            id="nor a currency",
        ),
    ],
)
def test_a_sentence(one: dict, told: str) -> None:
    assert sentence(one) == told


@pytest.mark.parametrize(
    ("texts", "lines"),
    [
        pytest.param(["it’s", "“hi”", "Olá", "Привет 🎉"], ["1 message with Cyrillic letters: UCS-2"], id="nothing saved"),
        pytest.param([f"it’s {LONG}"], ["'’' (right single quotation mark) costs 1 segment in 1 message: write \"'\""], id="one"),
        pytest.param([f"“{LONG}”"], ["'“' '”' together cost 1 segment in 1 message"], id="only together"),
        pytest.param(
            [f"“{LONG}”", f"Юля {LONG}", "“hi”"],
            ["'“' '”' together cost 1 segment in 1 message", "1 message with Cyrillic letters: UCS-2"],
            id="together, and not in texts that stay as dear",
        ),
        pytest.param([f"’{LONG}", f"…{LONG}"], ["costs 1 segment", "costs 1 segment"], id="each alone: no sum"),
        pytest.param(["Dear Юлия"] * 43, ["43 messages with Cyrillic letters: UCS-2"], id="names in another script"),
        pytest.param([f"Dear Юля {LONG}"] * 2, ["2 messages with Cyrillic letters: UCS-2"], id="also where they cost"),
        pytest.param(
            ["Hi Αλέξης", "Hi 王小明", "Hi 王", "Hi 민수", "Hi علي", "Hi สมชาย"],
            [
                "2 messages with Chinese or Japanese letters: UCS-2",
                *(f"1 message with {name} letters: UCS-2" for name in ("Greek", "Korean", "Arabic", "Thai")),
            ],
            id="many scripts",
        ),
        pytest.param(["Привет, мир! " * 9], ["1 message with Cyrillic letters: UCS-2"], id="a text in another script"),
        pytest.param(["plain"], [], id="nothing"),
    ],
)  # fmt: skip
def test_advice(texts: list[str], lines: list[str]) -> None:
    advice = advise(blamed(*texts))
    assert len(advice) == len(lines)
    for line, end in zip(sorted(advice), sorted(lines), strict=True):
        assert end in line


@given(st.lists(st.text(min_size=1, max_size=200), max_size=5))
def test_no_letter_is_ever_left_out(texts: list[str]) -> None:
    for entry in blamed(*texts)["characters"]:
        if any(part.isalpha() or part.isdigit() for part in entry["character"]):
            assert "leave it out" not in sentence(entry)


def test_an_older_manifest() -> None:
    assert advise({}) == []
    assert advise({"other_script": 2, "characters": []}) == ["2 messages in letters outside GSM-7: UCS-2"]


def test_more_than_are_shown() -> None:
    entries = [{"character": sign, "instead": "", "messages": 1, "segments": 1} for sign in "🎉👍😀"]
    lines = advise({"characters": entries, "unlisted": 7, "segments": 3}, most=2)
    assert lines[2:] == ["and 8 more characters: the manifest lists them"]


def clusters(text: str) -> list[str]:
    return regex.findall(r"\X", text)


def plainly(texts: list[str]) -> dict[str, tuple[int, int]]:
    """The definition: each character alone, in each text, replaced cluster by cluster, and measured again."""
    costs: dict[str, list[int]] = {}
    for text in texts:
        ucs = not set(text) <= GSM
        if ucs and other_script(pl.Series([text])).item():
            continue
        parts = clusters(text)
        for character in dict.fromkeys(parts):
            outside = not set(character) <= GSM
            if not outside and (ucs or character not in GSM_EXTENSION):
                continue
            after = "".join(instead_of(one) if one == character else one for one in parts)
            before_after = measure(pl.Series([text, after]))["segments"].to_list()
            saved = max(0, before_after[0] - before_after[1]) if after else 0
            if outside or saved:
                messages, segments = costs.get(character, (0, 0))
                costs[character] = (messages + 1, segments + saved)
    return costs


PIECES = st.sampled_from(
    ["a", "x" * 20, "’", "“", "🎉", "👩", "👩\u200d👧", "🇺🇸", "🇧🇺", "e\u0301", "á", "[", "€", "ж", "…"]
)
TEXTS = st.lists(
    st.builds(lambda pieces, pad: "".join(pieces) + "y" * pad, st.lists(PIECES, max_size=12), st.integers(0, 160)),
    max_size=6,
)


@given(TEXTS)
def test_blame_is_its_definition(texts: list[str]) -> None:
    found = {one["character"]: (one["messages"], one["segments"]) for one in blamed(*texts)["characters"]}
    assert found == plainly(texts)


@given(TEXTS)
def test_together_is_replacing_all_of_them(texts: list[str]) -> None:
    found = blamed(*texts)
    names = {one["character"] for one in found["characters"] if one["instead"] or can_be_left_out(one["character"])}
    saved = 0
    for text in texts:
        ucs = not set(text) <= GSM
        if ucs and other_script(pl.Series([text])).item():
            continue
        own = names & set(plainly([text]))
        after = "".join(instead_of(one) if one in names else one for one in clusters(text)) if own else text
        counts = measure(pl.Series([text, after]))["segments"].to_list()
        saved += max(0, counts[0] - counts[1]) if after else 0
    assert found["segments"] == saved
