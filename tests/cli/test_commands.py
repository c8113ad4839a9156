"""Every other command, and what is said about bad input."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.cli.conftest import ROOT, Shell

ARGS = ("--provider", "sandbox", "--from", "+12025550100", "--default-region", "US", "--body", "Hi {{ name }}")
ROWS = [{"name": "Ada", "phone": "(202) 555-0101"}, {"name": "Grace", "phone": "202-555-0102"}]


def files(folder: Path) -> dict[str, Path]:
    frame = pl.DataFrame(ROWS)
    made = {kind: folder / f"people.{kind}" for kind in ("csv", "tsv", "xlsx", "parquet", "jsonl", "yaml")}
    frame.write_csv(made["csv"])
    frame.write_csv(made["tsv"], separator="\t")
    frame.write_excel(made["xlsx"])
    frame.write_parquet(made["parquet"])
    frame.write_ndjson(made["jsonl"])
    made["yaml"].write_text("".join(f"- {{name: {row['name']}, phone: {row['phone']}}}\n" for row in ROWS))
    return made


@pytest.mark.parametrize("kind", ["csv", "tsv", "xlsx", "parquet", "jsonl", "yaml"])
def test_a_recipients_file_is_enough(sender: Shell, kind: str) -> None:
    path = str(files(sender.folder)[kind])
    previewed = sender("preview", path, *ARGS, "--format", "jsonl")
    assert previewed.code == 0, previewed
    messages = [json.loads(line) for line in previewed.out.splitlines()]
    assert [(one["to"], one["body"], one["segments"], one["encoding"]) for one in messages] == [
        ("+12025550101", "Hi Ada", 1, "GSM-7"),
        ("+12025550102", "Hi Grace", 1, "GSM-7"),
    ]
    assert {"row_number", "to", "from", "body", "media", "encoding", "segments"} <= messages[0].keys()
    assert sender("plan", path, *ARGS).code == 0
    assert sender("send", path, *ARGS, "--yes").code == 0
    for target in (path, Path(path).stem):
        assert "2 rows = 0 skipped + 2 accepted" in sender("status", target).out
        assert sender("results", target).out.count("\n") == 3


def test_a_template_file_with_a_recipients_file(sender: Shell) -> None:
    path = files(sender.folder)["csv"]
    sender.write("t.j2", "Dear {{ name }}\n")
    done = sender(
        "preview",
        str(path),
        "--template",
        "t.j2",
        "--from",
        "+12025550100",
        "--provider",
        "sandbox",
        "--default-region",
        "US",
        "--format",
        "jsonl",
    )
    assert [json.loads(line)["body"] for line in done.out.splitlines()] == ["Dear Ada", "Dear Grace"]


def test_a_body_column_is_the_text_as_it_stands(sender: Shell) -> None:
    sender.write("people.csv", "phone,message\n+12025550101,{{ 7*7 }}\n")
    done = sender("preview", "people.csv", "--from", "+12025550100", "--provider", "sandbox", "--format", "jsonl")
    assert json.loads(done.out)["body"] == "{{ 7*7 }}"


def test_help_answers_without_loading_what_it_does_not_need() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, sender.cli; sender.cli.cli.main(['--help'], standalone_mode=False); print(*sys.modules, file=sys.stderr)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "reconcile" in loaded.stdout
    heavy = {"polars", "pydantic", "httpx", "jinja2", "phonenumbers", "apsw", "rich", "starlette", "asyncio"}
    assert not heavy & set(loaded.stderr.split())


@pytest.mark.parametrize(
    "command", ["init", "plan", "check", "preview", "send", "status", "results", "reconcile", "sandbox", "schema"]
)
def test_every_command_has_help(sender: Shell, command: str) -> None:
    done = sender(command, "--help")
    assert done.code == 0
    assert "Usage:" in done.out


@pytest.mark.process
def test_an_unknown_command_suggests(sender: Shell) -> None:
    done = sender("sned", "x")
    assert done.code == 2
    assert "did you mean `sender send`" in done.err


@pytest.mark.process
def test_init_writes_what_runs_and_overwrites_nothing(sender: Shell) -> None:
    assert sender("init", "first").code == 0
    done = sender("send", "first/campaign.yaml", "--yes")
    assert done.code == 0, done
    assert "5 rows = 2 skipped + 3 accepted" in done.out
    again = sender("init", "first")
    assert again.code == 2
    assert "never overwrites" in again.err


def test_schema(sender: Shell) -> None:
    schema = sender("schema").json
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert sender("schema", "--output", "s.json").code == 0
    assert json.loads((sender.folder / "s.json").read_text()) == schema


def test_plan_is_repeatable(shipped: Shell) -> None:
    first, second = (shipped("plan", "campaigns/welcome.yaml", "--json", "--out", name).json for name in ("a", "b"))
    assert first["plan_hash"] == second["plan_hash"]
    assert (shipped.folder / "a" / "manifest.json").read_bytes() == (
        shipped.folder / "b" / "manifest.json"
    ).read_bytes()
    assert (first["rows"], first["messages"], sum(first["skipped"].values())) == (47, 39, 8)
    assert {one["role"] for one in first["inputs"]} == {"recipients", "template", "suppress"}
    shipped.write("templates/welcome.j2", "Hello {{ first_name | default('there') }}")
    assert shipped("plan", "campaigns/welcome.yaml", "--json").json["plan_hash"] != first["plan_hash"]


def test_preview_as_a_page(shipped: Shell) -> None:
    assert shipped("preview", "campaigns/welcome.yaml", "--html", "page.html").code == 0
    page = (shipped.folder / "page.html").read_text(encoding="utf-8")
    assert "Hi Grace" in page
    assert "same number as row 2" in page
    assert "<script" not in page


def test_preview_limit(shipped: Shell) -> None:
    assert len(shipped("preview", "campaigns/welcome.yaml", "--format", "jsonl").out.splitlines()) == 39
    assert len(shipped("preview", "campaigns/welcome.yaml", "--format", "jsonl", "--limit", "5").out.splitlines()) == 5


@pytest.mark.process
def test_a_reader_that_has_seen_enough_ends_it_without_a_word(sender: Shell) -> None:
    """`sender preview --format jsonl | head -1`; the exit code of that line is `head`'s."""
    sender.people(1000)
    process = sender.start("preview", "people.csv", *ARGS, "--format", "jsonl")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["to"] == "+12025550100"
    process.stdout.close()
    process.wait(60)
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


def test_status_lists_the_runs(sender: Shell) -> None:
    path = str(files(sender.folder)["csv"])
    assert sender("send", path, *ARGS, "--yes").code == 0
    assert "people" in sender("status").out
    (run,) = sender("status", "--json").json
    assert (run["campaign"], run["accepted"], run["state"]) == ("people", 2, "complete")
    one = sender("status", run["run_id"][:13], "--json").json
    assert one["law"] == "2 rows = 0 skipped + 2 accepted + 0 rejected + 0 canceled + 0 unknown + 0 pending"


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "xlsx"])
def test_results_in_every_format(sender: Shell, form: str) -> None:
    assert sender("send", str(files(sender.folder)["csv"]), *ARGS, "--yes").code == 0
    assert sender("results", "people", "--format", form, "--output", f"r.{form}").code == 0
    raw = (sender.folder / f"r.{form}").read_bytes()
    read = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "parquet": pl.read_parquet, "xlsx": pl.read_excel}[form]
    frame = read(io.BytesIO(raw))
    assert frame["name"].to_list() == ["Ada", "Grace"]
    assert frame["status"].to_list() == ["delivered", "delivered"]


BAD = [
    pytest.param({}, ("plan", "no.csv", *ARGS), "no.csv", id="no-such-file"),
    pytest.param({"p.csv": "name,city\nAda,X\n"}, ("plan", "p.csv", *ARGS), "there is no column for the phone number", id="no-phone-column"),
    pytest.param({"p.csv": "name,phone,mobile\nA,1,2\n"}, ("plan", "p.csv", *ARGS), "`phone`, `mobile`", id="two-candidates"),
    pytest.param({"p.csv": ""}, ("plan", "p.csv", *ARGS), "it has nothing", id="empty-file"),
    pytest.param({"p.csv": "name,phone\n"}, ("plan", "p.csv", *ARGS), "no recipients", id="header-only"),
    pytest.param({"p.csv": "name,phone\nA,1\n"}, ("plan", "p.csv", *ARGS, "--body", "Hi {{ nmae }}"), "`nmae`", id="unknown-column"),
    pytest.param({"p.csv": "name,phone\nA,1\n"}, ("plan", "p.csv", *ARGS, "--body", "Hi {{ name"), "line 1", id="template-syntax"),
    pytest.param({"p.csv": "name,phone\nA,1\n"}, ("plan", "p.csv", *ARGS[:-2], "--template", "no.j2"), "no.j2", id="missing-template"),
    pytest.param({"p.csv": "name,phone\nA,1\n"}, ("plan", "p.csv", *ARGS[:-2]), "has no message", id="no-body"),
    pytest.param({"p.csv": "name,phone\nA,1\n"}, ("plan", "p.csv", "--body", "Hi", "--from", "+12025550100"), "--provider", id="no-provider"),
    pytest.param({"p.csv": "name,phone\nA,+12025550101\n"}, ("plan", "p.csv", "--body", "Hi", "--provider", "twilio"), "sender", id="no-sender"),
    pytest.param({"p.csv": "name,phone\nA,1\n"}, ("plan", "p.csv", *ARGS, "--set", "subject=x"), "subject", id="field-not-carried"),
    pytest.param({"p.csv": "name,phone\nA,1\n"}, ("plan", "p.csv", *ARGS, "--set", "ratee=4"), "did you mean `rate`", id="unknown-key-by-set"),
    pytest.param({"p.csv": "name,phone\nA,1\n"}, ("plan", "p.csv", *ARGS, "--set", "rate"), "key=value", id="set-without-value"),
    pytest.param({"p.csv": "name,phone\nA,1\n"}, ("plan", "p.csv", *ARGS, "--rate", "fast"), "4/s", id="rate"),
    pytest.param({"p.csv": "name,phone\nA,1\n"}, ("plan", "p.csv", *ARGS, "--suppress", "no.csv"), "no.csv", id="missing-suppression"),
    pytest.param({"c.yaml": "provider: sandbox\nratee: 1\nrecipients: p.csv\n"}, ("plan", "c.yaml"), "line 2, key `ratee`", id="unknown-key"),
    pytest.param({"c.yaml": "a: [\n"}, ("plan", "c.yaml"), "not valid YAML", id="yaml-syntax"),
    pytest.param({"c.yaml": ""}, ("plan", "c.yaml"), "empty", id="empty-campaign"),
    pytest.param({"p.csv": "name,phone\nA,1\n"}, ("send", "p.csv", *ARGS, "--yes"), "nobody to send to", id="nobody"),
    pytest.param({"p.csv": "name,phone\nA,+12025550101\n"}, ("send", "p.csv", *ARGS, "--yes", "--state-dir", "p.csv/x"), "cannot be written", id="state-dir"),
    pytest.param({}, ("status", "nothing"), "nothing has been sent", id="status-of-nothing"),
    pytest.param({}, ("results", "nothing"), "nothing has been sent", id="results-of-nothing"),
    pytest.param({}, ("send", "x.csv", "--frm", "1"), "--from", id="unknown-option"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "command", "says"), BAD)
def test_bad_input_is_one_message_and_exit_two(
    sender: Shell, given: dict[str, str], command: tuple[str, ...], says: str
) -> None:
    for name, text in given.items():
        sender.write(name, text)
    done = sender(*command)
    assert done.code == 2, done
    assert says in done.err, done
    assert "Traceback" not in done.err
    assert not list((sender.folder / ".sender").glob("runs/*"))


def test_an_encoding_that_cannot_be_read_names_the_line_and_the_way_out(sender: Shell) -> None:
    (sender.folder / "p.csv").write_bytes("phone,name\n+12025550101,Zoë\n".encode("cp1252"))
    done = sender("plan", "p.csv", *ARGS)
    assert done.code == 2
    assert "line 2" in done.err
    assert "cp1252" in done.err
    told = sender("preview", "p.csv", *ARGS, "--set", "recipients.encoding=cp1252", "--format", "jsonl")
    assert json.loads(told.out)["body"] == "Hi Zoë"


@pytest.mark.process
def test_debug_shows_the_traceback_and_changes_nothing_else(sender: Shell) -> None:
    plain, debug = sender("plan", "no.csv", *ARGS), sender("plan", "no.csv", *ARGS, "--debug")
    assert debug.err.startswith("Traceback")
    assert debug.err.endswith(plain.err)
    assert debug.code == plain.code == 2


@pytest.mark.parametrize("command", ["plan", "send"])
def test_a_body_that_names_options_does_not_change_how_an_error_is_shown(sender: Shell, command: str) -> None:
    done = sender(command, "no.csv", "--body=--log-format json --debug", "--name=--debug")
    assert (done.code, done.err.splitlines()[0][:7]) == (2, "error: ")


def test_a_log_in_json_holds_the_error(sender: Shell) -> None:
    sender.make_state()
    event = json.loads(sender("listen", "--log-format=json", "--env-file", "no.env").err)
    assert (event["event"], event["level"]) == ("error", "error")
    assert "no.env" in event["message"]
