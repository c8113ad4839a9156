"""An experiment from the plan to the winner, as a person runs it, and outcomes as they come."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest

from sender.state.replies import ReplyRow
from sender.state.sqlite.replies import ReplyFile
from tests.cli.conftest import Shell

CAMPAIGN = """\
name: spring
provider: sandbox
from: "+12025550100"
rate: none
recipients: people.csv
holdout: 20%
experiment: {key: spring, event: buy, base: 10%, lift: 80%, wait: 0s}
message:
  variants:
    - {name: plain, body: "Hi {{ name }}. STOP ends it"}
    - {name: urgent, body: "{{ name }}! STOP ends it"}
"""


@pytest.fixture
def spring(sender: Shell) -> Shell:
    rows = [f"N{n},+1202555{100 + n % 90:04},C{n}" for n in range(90)]
    rows += [f"M{n},+1305555{100 + n % 90:04},D{n}" for n in range(60)]
    sender.write("people.csv", "name,phone,customer\n" + "\n".join(rows) + "\n")
    sender.write("spring.yaml", CAMPAIGN)
    return sender


def rows(shell: Shell, status: str = "queued") -> pl.DataFrame:
    frame = shell.results()
    return frame.filter(pl.col("status") != "skipped") if status == "queued" else frame.filter(status=status)


class TestTheWinner:
    def test_a_share_first_and_the_winner_for_the_rest(self, spring: Shell) -> None:
        first = spring("send", "spring.yaml", "--yes", "--share", "40%")
        assert first.code in (0, 1), first
        sent = rows(spring)
        assert set(sent["variant"]) == {"plain", "urgent"}
        again = spring("send", "spring.yaml", "--yes")
        assert again.code == 3, again  # some have had it
        rest = spring("send", "spring.yaml", "--yes", "--only-new", "--variant", "urgent")
        assert rest.code in (0, 1), rest
        later = rows(spring)
        assert set(later["variant"]) == {"urgent"}
        assert not set(later["to"]) & set(sent["to"])
        reasons = dict(spring.results().filter(status="skipped")["reason"].value_counts().iter_rows())
        assert reasons["already_sent"] == sent.height
        assert sent.height + later.height + reasons["holdout"] == 150
        first_id, rest_id = sent["run_id"][0], later["run_id"][0]
        assert f"everybody got `urgent` in this run; chosen after run {first_id}: " in spring("report", rest_id).out
        (manifest,) = (spring.folder / ".sender").glob(f"runs/{rest_id}/plan/manifest.json")
        evidence = json.loads(manifest.read_text(encoding="utf-8"))["experiment"]["evidence"]
        assert [group["name"] for group in evidence["groups"]] == ["plain", "urgent", "holdout"]
        assert sum(group["people"] for group in evidence["groups"][:2]) == sent.height

    def test_the_plan_shows_the_groups(self, spring: Shell) -> None:
        done = spring("plan", "spring.yaml")
        assert "plain, " in done.out, done
        assert "50% by weight" in done.out
        assert " holdout" in done.out
        preview = spring("preview", "spring.yaml", "--limit", "1")
        assert "variant " in preview.out, preview
        assert spring("preview", "spring.yaml", "--html", "page.html").code == 0
        assert "variant" in (spring.folder / "page.html").read_text(encoding="utf-8")

    def test_one_variant_on_ones_own_phone(self, spring: Shell) -> None:
        done = spring("send", "spring.yaml", "--yes", "--test-to", "+12025550120", "--variant", "urgent", "--with-body")
        assert done.code == 0, done
        assert rows(spring)["body"].to_list()[0].endswith("! STOP ends it")

    def test_a_retry_keeps_the_variants(self, spring: Shell) -> None:
        spring("send", "spring.yaml", "--yes")
        before = dict(rows(spring).select("to", "variant").iter_rows())
        again = spring(
            "retry", "spring", "--yes", "--include-delivered", "--status", "failed", "--status", "undelivered"
        )
        assert again.code in (0, 1), again
        after = spring.results().filter(pl.col("variant").is_not_null())
        assert {to: before[to] for to in after["to"]} == dict(after.select("to", "variant").iter_rows())


class TestOutcomes:
    @pytest.fixture
    def sent(self, spring: Shell) -> Shell:
        assert spring("send", "spring.yaml", "--yes").code in (0, 1)
        return spring

    def test_they_are_found_by_number_once(self, sent: Shell) -> None:
        people = sent.results().filter(pl.col("reason").is_null() | (pl.col("reason") == "holdout"))["to"].to_list()[:9]
        lines = [f"{number},buy,2999-01-01T00:00:00Z,9.50" for number in people]
        sent.write("sold.csv", "Phone,Event,Time,Amount\n" + "\n".join(lines) + "\n")
        first = sent("outcomes", "import", "sold.csv", "--json").json
        assert (first["rows"], first["new"], first["problems"]) == (9, 9, []), first
        again = sent("outcomes", "import", "sold.csv")
        assert (again.code, again.out.splitlines()[0]) == (0, "sold.csv: 9 outcomes, 9 counted, 0 new")

    @pytest.mark.parametrize("by", ["ref", "message_id", "customer"])
    def test_they_are_found_by_what_the_file_has(self, sent: Shell, by: str) -> None:
        found = rows(sent).filter(pl.col(by).is_not_null())[by].to_list()[:7]
        sent.write("sold.csv", f"{by}\n" + "\n".join(found) + "\nnobody.9\n")
        extra = ("--id-column", "Customer") if by == "customer" else ()
        done = sent("outcomes", "import", "sold.csv", "--event", "buy", "--json", *extra)
        assert (done.code, done.json["new"]) == (1, 7), done
        assert [problem["row_number"] for problem in done.json["problems"]] == [9]

    def test_rows_that_count_for_nothing_are_named(self, sent: Shell) -> None:
        known = rows(sent)["to"][0]
        sent.write(
            "sold.csv",
            f"phone,event,time,value\n{known},buy,soon,\n{known},,,\n,buy,,\n+12025550195,buy,,\n"
            f"{known},buy,2001-01-01,\n{known},buy,,much\n",
        )
        done = sent("outcomes", "import", "sold.csv")
        assert done.code == 1, done
        assert done.out.splitlines() == [
            "sold.csv: 6 outcomes, 0 counted, 0 new",
            "  1 not counted: soon is not a time: write 2026-11-29T14:05:00Z (row 2)",
            "  1 not counted: no event (row 3)",
            "  1 not counted: no number (row 4)",
            "  2 not counted: nobody in these runs, or before them (rows 5, 6)",
            "  1 not counted: much is not a number (row 7)",
        ]

    @pytest.mark.parametrize(
        ("text", "arguments", "sentence"),
        [
            ("phone\n+12025550100\n", (), "there is no column with the event"),
            ("event\nbuy\n", (), "which has"),
            ("phone,event\n", (), "there are no outcomes in it"),
            (None, (), "cannot be read: No such file or directory"),
            ("phone,event\n+12025550100,buy\n", ("--run", "summer"), "no run is called 'summer'"),
            ("phone,event\n+12025550100,buy\n", ("--id-column", "x"), "names a column `x`, which does not exist"),
        ],
    )
    def test_a_file_that_cannot_be_used_is_refused(
        self, sent: Shell, text: str | None, arguments: tuple[str, ...], sentence: str
    ) -> None:
        if text is not None:
            sent.write("sold.csv", text)
        done = sent("outcomes", "import", "sold.csv", *arguments)
        assert done.code == 2, done
        assert sentence in done.err or "phone" in done.err, done

    def test_the_report_compares_the_groups(self, sent: Shell) -> None:
        plain = rows(sent).filter(variant="plain")["to"].to_list()
        sent.write("sold.csv", "phone\n" + "\n".join(plain) + "\n")
        assert sent("outcomes", "import", "sold.csv", "--event", "buy").code == 0
        report = sent("report", "spring")
        assert "experiment spring" in report.out, report
        assert "urgent less plain: -100.00 points" in report.out
        numbers = sent("report", "spring", "--json").json["comparison"]
        assert [group["name"] for group in numbers["groups"]] == ["plain", "urgent", "holdout"]
        assert numbers["groups"][0]["successes"] == len(plain)
        winners = {each["winner"] for each in numbers["differences"] if each["first"] == "plain"}
        assert winners in ({"plain"}, {None}), numbers  # None while messages of the run are not settled
        assert sent("report", "spring", "--html", "report.html").code == 0
        assert "Experiment spring" in (sent.folder / "report.html").read_text(encoding="utf-8")

    def test_nothing_of_a_person_is_kept(self, sent: Shell) -> None:
        number = rows(sent)["to"][0]
        sent.write("sold.csv", f"phone\n{number}\n")
        assert sent("outcomes", "import", "sold.csv", "--event", "buy").code == 0
        (file,) = (sent.folder / ".sender").glob("runs/*/outcomes.parquet")
        assert pl.read_parquet(file).columns == ["row_number", "event", "at_ms", "value"]
        assert sent("forget", number, "--yes").code == 0
        assert sent("report", "spring", "--json").json["comparison"]["groups"][0]["people"] > 0
        assert sent("prune", "--older-than", "0s", "--yes").code == 0
        assert not file.exists()


class TestSize:
    @pytest.mark.parametrize(
        ("arguments", "people"),
        [
            (("--base", "3%", "--lift", "0.5%"), 19_740),
            (("--base", "0.05", "--lift", "0.01"), 8_155),
            (("--base", "3%", "--lift", "0.5%", "--groups", "3"), 26_330),
        ],
    )
    def test_how_many_people_it_takes(self, sender: Shell, arguments: tuple[str, ...], people: int) -> None:
        assert sender("experiment", "size", *arguments, "--json").json["people_per_group"] == people
        assert sender("experiment", "size", *arguments).out.startswith(f"{people:,} people in each of")

    @pytest.mark.parametrize(
        ("base", "lift", "sentence"),
        [
            ("3", "0.5%", "--base 3 is not a share"),
            ("3%", "none", "--lift none is not a share"),
            ("60%", "40%", "add up to 100% or more"),
            ("0%", "1%", "--base 0% is not a share"),
        ],
    )
    def test_what_is_no_rate_is_refused(self, sender: Shell, base: str, lift: str, sentence: str) -> None:
        done = sender("experiment", "size", "--base", base, "--lift", lift)
        assert (done.code, sentence in done.err) == (2, True), done


class TestReplies:
    def test_they_are_outcomes_where_they_are_kept(self, spring: Shell) -> None:
        spring.write("spring.yaml", CAMPAIGN.replace("event: buy", "event: reply").replace("wait: 0s", "wait: 1d"))
        planned = spring("plan", "spring.yaml")
        assert "replies count in the report only where a receiver keeps them" in " ".join(planned.out.split())
        assert spring("send", "spring.yaml", "--yes").code in (0, 1)
        run_id = rows(spring)["run_id"][0]
        texted = rows(spring).filter(pl.col("variant") == "plain")["to"].to_list()
        held_out = spring.results().filter(pl.col("reason") == "holdout")["to"].to_list()
        later, before = round(time.time() * 1000) + 3_600_000, 1_000  # within the day in which outcomes count
        heard = [
            (texted[0], None, later),
            (texted[0], None, later + 1),  # a person counts once
            (texted[1], "start", later),
            (texted[2], "stop", later),
            (texted[3], "review", later),
            (texted[4], None, before),
            (held_out[0], None, later),
            ("+12025559999", None, later),
        ]
        keep_replies(spring.folder, heard)
        groups = {each["name"]: each for each in spring("report", run_id, "--json").json["comparison"]["groups"]}
        assert (groups["plain"]["successes"], groups["urgent"]["successes"]) == (2, 0)
        assert groups["holdout"]["successes"] == 1
        again = spring("send", "spring.yaml", "--yes", "--again", "--name", "autumn", "--holdout", "0%")
        assert again.code in (0, 1), again
        groups = {each["name"]: each for each in spring("report", run_id, "--json").json["comparison"]["groups"]}
        assert (groups["plain"]["successes"], groups["holdout"]["successes"]) == (0, 0)  # they answer the newer one


def keep_replies(folder: Path, heard: list[tuple[str, str | None, int]]) -> None:
    with closing(ReplyFile.open(folder / ".sender" / "replies.sqlite3")) as store:
        for n, (number, meaning, at_ms) in enumerate(heard):
            row = ReplyRow("twilio", f"SM{n}", number, "+12025550100", "yes", (), meaning, None, at_ms, simulated=True)
            store.add(row, keep=True, forward=False)
