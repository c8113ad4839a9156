"""What a person sees first: previews, skipped rows, results by status."""

from __future__ import annotations

import json
import re

import polars as pl
import pytest

import sender as sender_package
from tests.cli.conftest import Shell

LINK = "https://example.com/a/very/long/link/that/has/no/blank/in/it/anywhere/at/all/and/must/not/be/cut/0123456789"
TEXT = (
    f"Hi {{{{ name }}}}, your table for two at Luna is booked for tomorrow at eight: {LINK} 漢字 Reply STOP to opt out."
)
CAMPAIGN = f"""\
provider: sandbox
from: "+12025550100"
recipients: {{file: people.csv, default_region: US}}
message: "{TEXT}"
"""
PEOPLE = """\
Name,Mobile,City
Ada,(202) 555-0101,London
Bob,555-01,X
Cid,,Y
Dan,n/a,"Q, R"
,202-555-0102,Z
"""


@pytest.fixture
def folder(sender: Shell) -> Shell:
    sender.write("c.yaml", CAMPAIGN)
    sender.write("people.csv", PEOPLE)
    return sender


def as_read(screen: str) -> str:
    """The texts on a screen without the bar before each of their lines and without the breaks between them."""
    return "".join(re.findall(r"^│ ?(.*)$", screen, re.MULTILINE)).replace(" ", "")


@pytest.mark.parametrize("columns", [20, 40, 80, 200, None])
@pytest.mark.parametrize(
    "command", [("preview", "c.yaml"), ("send", "c.yaml", "--dry-run")], ids=["preview", "dry run"]
)
def test_texts_are_shown_whole_at_any_width(folder: Shell, columns: int | None, command: tuple[str, ...]) -> None:
    done = folder(*command, **({} if columns is None else {"COLUMNS": str(columns)}))
    assert done.code == 0, done
    assert as_read(done.out) == TEXT.replace("{{ name }}", "Ada").replace(" ", "")
    assert "row 2 to +12025550101 from +12025550100: UCS-2, " in done.out
    if columns is None:
        assert TEXT.replace("{{ name }}", "Ada") in done.out  # on one line, for grep
    else:
        bars = [line for line in done.out.splitlines() if line.startswith("│")]
        assert max(map(len, bars)) <= columns


@pytest.mark.parametrize("columns", ["40", "200"])
def test_no_reason_is_cut(folder: Shell, columns: str) -> None:
    shown = folder("preview", "c.yaml", COLUMNS=columns).out
    assert "invalid_number" in shown
    assert "…" not in shown


def test_equal_errors_bury_no_other(sender: Shell) -> None:
    numbers = [f"(202) 555-01{n % 100:02}" for n in range(450)] + [f"55{n}" for n in range(150)]
    sender.write("people.csv", "name,phone\n" + "".join(f",{number}\n" for number in numbers))
    sender.write("c.yaml", CAMPAIGN.replace("default_region: US}", "default_region: US}\ndedupe: none"))
    shown = sender("plan", "c.yaml").out
    causes = re.findall(r"^  (\d+) (\w+): (.*)\n    (.*)$", shown, re.MULTILINE)
    assert [(count, reason) for count, reason, _, _ in causes] == [("450", "render_error"), ("150", "invalid_number")]
    assert causes[0][3] == "row 2, row 3, row 4 and 447 more"
    assert causes[1][3] == "row 452 (`550`), row 453 (`551`), row 454 (`552`) and 147 more"


def test_skipped_rows_as_a_file(folder: Shell) -> None:
    done = folder("plan", "c.yaml", "--skipped", "skipped.csv")
    assert done.code == 0, done
    assert done.err == "wrote 4 skipped rows to skipped.csv\n"
    rows = pl.read_csv(folder.folder / "skipped.csv", infer_schema=False)
    assert rows.columns == ["row_number", "Name", "Mobile", "City", "skipped_as", "because"]
    assert rows["skipped_as"].to_list() == ["invalid_number", "missing_data", "invalid_number", "render_error"]
    assert rows["Mobile"].to_list() == ["555-01", None, "n/a", "202-555-0102"]
    again = folder("plan", "c.yaml", "--skipped", "skipped.csv", "--json")
    assert again.code == 0, again
    assert json.loads(again.out)["skipped"] == {"invalid_number": 2, "missing_data": 1, "render_error": 1}


@pytest.mark.parametrize(
    ("file", "says"),
    [
        pytest.param("people.csv", "an input of the campaign", id="the list"),
        pytest.param("c.yaml", "an input of the campaign", id="the campaign"),
        pytest.param("skipped.txt", "'.txt' is not a format that can be written", id="format"),
        pytest.param("other.csv", "not a file of skipped rows", id="another file"),
    ],
)
def test_skipped_rows_replace_no_other_file(folder: Shell, file: str, says: str) -> None:
    folder.write("other.csv", "a,b\n1,2\n")
    done = folder("plan", "c.yaml", "--skipped", file)
    assert done.code == 2
    assert says in done.err
    assert (folder.folder / "people.csv").read_text() == PEOPLE


@pytest.fixture
def sent(folder: Shell) -> Shell:
    assert folder("send", "c.yaml", "--yes").code == 0
    return folder


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        pytest.param(["--status", "skipped"], [3, 4, 5, 6], id="one"),
        pytest.param(["--status", "skipped,delivered"], [2, 3, 4, 5, 6], id="two"),
        pytest.param(["--status", "failed, delivered"], [2], id="with a blank"),
        pytest.param(["--status", "failed", "--status", "Delivered"], [2], id="repeated, and a capital"),
        pytest.param(["--status", "failed"], [], id="none"),
        pytest.param(["--status", "cancelled"], [], id="the other spelling"),
        pytest.param([], [2, 3, 4, 5, 6], id="all"),
    ],
)
def test_results_by_status(sent: Shell, options: list[str], rows: list[int]) -> None:
    done = sent("results", "c.yaml", "--format", "jsonl", *options)
    assert done.code == 0, done
    assert [json.loads(line)["row_number"] for line in done.out.splitlines()] == rows


@pytest.mark.parametrize(
    ("status", "says"),
    [
        pytest.param("skiped", "did you mean `skipped`?", id="skiped"),
        pytest.param("failed,deliverd", "did you mean `delivered` or `undelivered`?", id="one of two"),
        pytest.param("opted_out", "`opted_out` is a reason, not a status", id="a reason"),
        pytest.param("xyz", "all are pending, skipped, queued", id="nothing near"),
        pytest.param(" , ", "no status is named", id="blank"),
    ],
)
def test_an_unknown_status_names_the_near_ones(sent: Shell, status: str, says: str) -> None:
    done = sent("results", "c.yaml", "--status", status)
    assert (done.code, done.out) == (2, "")
    assert says in done.err


def test_results_by_status_are_still_a_results_file(sent: Shell) -> None:
    for _ in range(2):  # the second replaces the first
        done = sent("results", "c.yaml", "--status", "skipped", "-o", "skipped.xlsx")
        assert done.code == 0, done
        assert done.err == "wrote 4 rows of 5 to skipped.xlsx\n"


@pytest.fixture
def unfinished(sender: Shell) -> Shell:
    """A run of four messages, of which two have been sent."""
    sender.write("c.yaml", CAMPAIGN)
    sender.write("people.csv", "Name,Mobile\n" + "".join(f"N{n},+1202555010{n}\n" for n in range(1, 5)) + "X,555\n")
    assert sender("send", "c.yaml", "--yes", "--limit", "2").code == 0
    return sender


class TestResume:
    def test_plan_shows_the_rest_of_the_run(self, unfinished: Shell) -> None:
        done = unfinished("plan", "c.yaml", "--resume")
        assert done.code == 0, done
        assert "2 accepted, 0 rejected, 0 canceled, 0 unknown, 2 pending" in done.out
        assert re.findall(r"^row (\d+) to (\S+)", done.out, re.MULTILINE) == [
            ("4", "+12025550103"),
            ("5", "+12025550104"),
        ]
        assert "note:" not in done.out

    def test_it_shows_the_texts_that_the_run_began_with(self, unfinished: Shell) -> None:
        unfinished.write("c.yaml", CAMPAIGN.replace("Hi", "Hello"))
        done = unfinished("plan", "c.yaml", "--resume")
        assert "the inputs have changed since it began" in done.out
        assert "│ Hi N3," in done.out
        assert "Hello" not in done.out

    def test_whoever_has_opted_out_since_is_skipped(self, unfinished: Shell) -> None:
        assert unfinished("suppress", "add", "+12025550103").code == 0
        told = unfinished("plan", "c.yaml", "--resume", "--json").json
        assert (told["rows"], told["messages"], told["skipped"]) == (2, 1, {"suppressed": 1})
        sent = unfinished("send", "c.yaml", "--resume", "--yes", "--json").json
        assert sent["accepted"] - told["accepted"] == told["messages"]

    def test_what_it_shows_is_what_is_sent(self, unfinished: Shell) -> None:
        told = unfinished("plan", "c.yaml", "--resume", "--json").json
        assert (told["accepted"], told["messages"], told["changes"]) == (2, 2, [])
        assert unfinished("send", "c.yaml", "--resume", "--yes").code == 0
        assert told["resumes"] in unfinished("status", "c.yaml").out
        refused = unfinished("plan", "c.yaml", "--resume")
        assert refused.code == 2
        assert "no run of c is unfinished" in refused.err

    def test_a_dry_run_shows_the_same(self, unfinished: Shell) -> None:
        plan, dry = unfinished("plan", "c.yaml", "--resume"), unfinished("send", "c.yaml", "--resume", "--dry-run")
        assert dry.out == plan.out + "dry run: nothing was sent\n"
        assert "still to be sent; --resume shows which" in unfinished("send", "c.yaml", "--dry-run").out
        assert unfinished("send", "c.yaml", "--dry-run", "--json").json["resumes"] in plan.out

    def test_the_skipped_rows_are_those_of_the_run(self, unfinished: Shell) -> None:
        assert unfinished("plan", "c.yaml", "--resume", "--skipped", "s.csv").code == 0
        assert pl.read_csv(unfinished.folder / "s.csv")["Name"].to_list() == ["X"]

    @pytest.mark.parametrize(
        "option", [("--limit", "1"), ("--out", "x"), ("--explain", "2"), ("--only-new",)], ids=lambda option: option[0]
    )
    def test_it_is_not_about_a_new_plan(self, unfinished: Shell, option: tuple[str, ...]) -> None:
        done = unfinished("plan", "c.yaml", "--resume", *option)
        assert done.code == 2
        assert f"{option[0]} is about a new plan" in done.err

    def test_a_paused_run_is_refused_as_a_start_of_it_is(self, unfinished: Shell) -> None:
        assert unfinished("pause", "c.yaml").code == 0
        assert (
            unfinished("plan", "c.yaml", "--resume").code == unfinished("send", "c.yaml", "--resume", "--yes").code == 3
        )


def test_a_refusal_names_options_here_and_arguments_in_python(sent: Shell) -> None:
    refused = sent("send", "c.yaml", "--yes")
    assert refused.code == 3
    assert "--again sends it to everybody once more" in refused.err
    assert "in Python" not in refused.err
    plan = sender_package.build_plan(sender_package.load_campaign(sent.folder / "c.yaml"))
    with pytest.raises(sender_package.GuardStop, match=r"in Python: .*again=True"):
        sender_package.send(plan, state_dir=sent.folder / ".sender")
    assert sender_package.send(plan, state_dir=sent.folder / ".sender", again=True).summary.accepted == 1
