"""`sender replies`: what people have replied, and decisions about replies that may be an opt-out."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sender.state.replies import ReplyRow
from sender.state.sqlite.replies import ReplyFile
from sender.suppression.suppression_list import SuppressionList
from tests.cli.conftest import Shell

ADA, BOB, EVE = "+12025550101", "+12025550102", "+12025550103"
OURS = "+12025550150"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def held(folder: Path, replies: dict[str, str]) -> None:
    with SuppressionList.open(folder / ".sender") as suppressions:
        for number, text in replies.items():
            suppressions.learn_inbound(number, text, OURS, "twilio", NOON)


@pytest.fixture
def shell(sender: Shell) -> Shell:
    """A state in which two replies wait for a decision, one of them hostile to terminals."""
    sender.make_state()
    held(sender.folder, {ADA: "leave me alone\x1b[2J [bold]now[/]", BOB: "wrong number"})
    return sender


def test_what_waits_is_listed_and_decided(shell: Shell) -> None:
    listed = shell("replies", "--review")
    assert listed.code == 0
    assert "2 replies to be decided; until then these numbers get nothing" in listed.out
    assert "\x1b" not in listed.out
    assert r"leave me alone\x1b[2J [bold]now[/]" in listed.out
    assert f"{ADA} to {OURS}, 2026-11-21 12:00" in listed.out
    decided = shell("replies", "--review", "--opt-out", "(202) 555-0101", "--keep", BOB, "--region", "US")
    assert decided.code == 0, decided
    assert decided.out == f"{ADA} has opted out\n{BOB} gets messages again\n0 replies still to be decided\n"
    assert shell("replies", "--review").out == "no reply waits for a decision\n"
    assert "opted_out" in shell("suppress", "why", ADA).out
    assert "under_review, removed since" in shell("suppress", "why", BOB).out


def test_json_is_a_list_of_what_waits(shell: Shell) -> None:
    assert shell("replies", "--review", "--json").json[1] == {
        "number": BOB,
        "our_number": OURS,
        "text": "wrong number",
        "at": "2026-11-21T12:00:00.000+00:00",
        "scope": "all",
    }
    assert [each["number"] for each in shell("replies", "--review", "--keep", BOB, "--json").json] == [ADA]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--review", "--keep", EVE), f"no reply of {EVE} waits for a decision"),
        (("--review", "--opt-out", "555-0101"), "555-0101"),
        (("--keep", ADA), "--review"),
        (("--review", "--opt-out", ADA, "--keep", ADA), "both"),
    ],
)
def test_a_mistake_is_one_sentence_and_decides_nothing(shell: Shell, options: tuple[str, ...], says: str) -> None:
    done = shell("replies", *options)
    assert done.code == 2, done
    assert says in done.err
    assert "Traceback" not in done.err
    assert len(shell("replies", "--review", "--json").json) == 2


def test_no_state_is_made(sender: Shell) -> None:
    done = sender("replies", "--review")
    assert done.code == 2, done
    assert not (sender.folder / ".sender").exists()


def test_the_plan_prints_who_is_held_and_the_exit_code_is_unaffected(shell: Shell) -> None:
    shell.write("people.csv", f"name,phone\nAda,{ADA}\nBob,{BOB}\nEve,{EVE}\n")
    options = ("people.csv", "--body", "Hi", "--from", OURS, "--provider", "sandbox", "--default-region", "US")
    planned = shell("plan", *options)
    assert planned.code == 0, planned
    assert "2 under_review" in planned.out
    assert "held until a person decides (`sender replies --review`):" in planned.out
    assert (
        f"row 3 {BOB} replied `wrong number` to {OURS} on 2026-11-21 12:00 UTC, which may be an opt-out" in planned.out
    )
    assert "\x1b" not in planned.out
    rows = shell("plan", *options, "--json").json["under_review"]
    assert [(row["row_number"], row["to"]) for row in rows] == [(2, ADA), (3, BOB)]
    explained = shell("plan", *options, "--explain", "3")
    assert "skipped as under_review: replied `wrong number`" in explained.out
    sent = shell("send", *options, "--yes", "--wait", "0")
    assert sent.code == 0, sent
    assert "3 rows = 2 skipped + 1 accepted" in sent.out
    assert shell("replies", "--review", "--keep", BOB).code == 0
    rest = shell("send", *options, "--yes", "--wait", "0", "--only-new")
    assert rest.code == 0, rest
    assert "1 accepted" in rest.out


def test_status_counts_them(shell: Shell) -> None:
    shell.write("people.csv", f"name,phone\nEve,{EVE}\n")
    options = ("people.csv", "--body", "Hi", "--from", OURS, "--provider", "sandbox")
    assert shell("send", *options, "--yes", "--wait", "0").code == 0
    line = "2 replies held for review: `sender replies --review` shows replies that may be an opt-out"
    assert line in shell("status").out
    assert line in shell("status", "people.csv").out
    assert shell("status", "people.csv", "--json").json["under_review"] == 2
    shell("replies", "--review", "--keep", ADA, "--keep", BOB)
    assert "review" not in shell("status").out


def test_nobody_is_put_under_review_by_hand(shell: Shell) -> None:
    assert "under_review" not in shell("suppress", "add", "--help").out


# -- what has been kept ------------------------------------------------------------------------------------------------


def keep(folder: Path, *replies: tuple[str, str]) -> None:
    with closing(ReplyFile.open(folder / ".sender" / "replies.sqlite3")) as store:
        for n, (number, text) in enumerate(replies):
            heard_at = round(NOON.timestamp() * 1000) + n
            row = ReplyRow("twilio", f"SM{n}", number, OURS, text, (), None, None, heard_at, simulated=False)
            store.add(row, keep=True, forward=False)


@pytest.fixture
def kept(sender: Shell) -> Shell:
    sender.make_state()
    keep(sender.folder, (ADA, "Yes\x1b]0;title\x07 [red]please[/]"), (BOB, "=HYPERLINK(1)"), (ADA, "second\nline"))
    return sender


def test_replies_are_listed_without_carrying_anything_out(kept: Shell) -> None:
    done = kept("replies")
    assert done.code == 0, done
    assert done.out.startswith("3 replies\n")
    assert "\x1b" not in done.out
    assert "\x07" not in done.out
    assert r"Yes\x1b]0;title\x07 [red]please[/]" in done.out
    assert "    second\n    line\n" in done.out
    assert "about no known message" in done.out
    newest = kept("replies", "--limit", "1")
    assert "the newest 1;" in newest.out
    assert "second" in newest.out
    assert "HYPERLINK" not in newest.out


def test_filters_json_and_tables(kept: Shell) -> None:
    assert [row["text"] for row in kept("replies", "--number", "(202) 555-0101", "--region", "US", "--json").json] == [
        "Yes\x1b]0;title\x07 [red]please[/]",
        "second\nline",
    ]
    assert kept("replies", "--since", "1h", "--json").json == []
    assert len(kept("replies", "--since", "2026-11-21", "--json").json) == 3
    assert kept("replies", "--since", "2026-11-21T13:00", "--json").json == []
    assert kept("replies", "--campaign", "offer", "--json").json == []
    csv = kept("replies", "--format", "csv").out
    assert csv.startswith("heard_at,written_at,number,our_number,provider,text,")
    assert "'=HYPERLINK(1)" in csv
    assert "\x1b" not in csv
    assert len(kept("replies", "--format", "jsonl").out.splitlines()) == 3
    for suffix in ("csv", "xlsx", "parquet", "jsonl"):
        for _ in range(2):
            done = kept("replies", "--output", f"replies.{suffix}")
            assert (done.code, done.err) == (0, f"wrote 3 replies to replies.{suffix}\n")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--since", "yesterday"), "yesterday"),
        (("--since", "2026-13-01"), "--since '2026-13-01' is not a time"),
        (("--since", "7"), "has no unit"),
        (("--number", "555-0101"), "555-0101"),
        (("--format", "xlsx"), "cannot be written to standard output"),
        (("--format", "csv", "--output", "x.xlsx"), "x.csv"),
        (("--output", "people.csv"), "people.csv"),
        (("--output", "replies.txt"), "format"),
        (("--review", "--since", "7d"), "leave out the other options"),
    ],
)
def test_a_mistake_about_kept_replies_is_one_sentence(kept: Shell, options: tuple[str, ...], says: str) -> None:
    kept.write("people.csv", "name,phone\nAda,1\n")
    done = kept("replies", *options)
    assert done.code == 2, done
    assert says in done.err
    assert "Traceback" not in done.err
    assert (kept.folder / "people.csv").read_text() == "name,phone\nAda,1\n"


def test_forget_and_prune_reach_them(kept: Shell) -> None:
    done = kept("forget", ADA, "--yes")
    assert done.code == 0, done
    assert "2 replies blanked" in done.out
    listed = kept("replies")
    assert ADA not in listed.out
    assert "somebody who was erased" in listed.out
    assert "second" not in listed.out
    assert "would remove 3 replies" in kept("prune", "--older-than", "0h", "--dry-run").out
    assert "removed 3 replies" in kept("prune", "--older-than", "0h", "--yes").out
    assert kept("replies").out == "0 replies\n"


SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.parametrize(
    ("options", "env", "says"),
    [
        (
            ("--forward-to", "http://example.com/"),
            {"SENDER_WEBHOOK_SECRET": SECRET},
            "a reply would go to example.com over",
        ),
        (("--forward-to", "example.com"), {"SENDER_WEBHOOK_SECRET": SECRET}, "a reply needs an http or https URL"),
        (("--forward-to", "https://a:b@example.com"), {"SENDER_WEBHOOK_SECRET": SECRET}, "without a password"),
        (("--forward-to", "https://example.com/"), {}, "SENDER_WEBHOOK_SECRET"),
        (("--forward-to", "https://example.com/"), {"SENDER_WEBHOOK_SECRET": "aGk="}, "too short"),
        (("--review-policy", "maybe"), {}, "hold"),
    ],
)
def test_listen_refuses_what_it_cannot_do(
    sender: Shell, options: tuple[str, ...], env: dict[str, str], says: str
) -> None:
    sender.make_state()
    done = sender("listen", "--port", "0", *options, TWILIO_AUTH_TOKEN="5a" * 16, **env)
    assert done.code == 2, done
    assert says in done.err
    assert "aGk" not in done.err
    assert not (sender.folder / ".sender" / "replies.sqlite3").exists()


def test_the_folder_may_say_what_becomes_of_replies(sender: Shell) -> None:
    sender.make_state()
    sender.write(
        "sender.toml", '[listen]\nforward_to = "http://example.com/"\nkeep_replies = true\nreview_policy = "ignore"\n'
    )
    done = sender("listen", "--port", "0", TWILIO_AUTH_TOKEN="5a" * 16)
    assert done.code == 2
    assert "example.com over plain http" in done.err
    sender.write("sender.toml", '[listen]\nreview_policy = "maybe"\n')
    done = sender("listen", "--port", "0", TWILIO_AUTH_TOKEN="5a" * 16)
    assert done.code == 2
    assert "review_policy" in done.err
