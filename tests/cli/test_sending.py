"""`sender send`, end to end over real HTTP: the law, resume, refusals, signals, crashes, cron."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.cli.conftest import Sandbox, Shell

BODY = ("--body", "Hi {{ name }}", "--from", "+12025550100")
CAMPAIGN = """\
name: offer
provider: {provider}
from: "+12025550100"
recipients: people.csv
message: "Hi {{{{ name }}}}"
rate: {rate}
concurrency: 8
status_callback: https://hooks.example.com/status?x=1
"""
DIALECTS = ("signalwire", "signalwire-compat", "telnyx", "twilio")

NOW = ("--yes", "--wait", "0")  # without waiting for what becomes of the messages

Start = Callable[..., Sandbox]


def campaign(shell: Shell, n: int, *, provider: str = "sandbox", rate: str = "none") -> str:
    shell.people(n)
    shell.write("offer.yaml", CAMPAIGN.format(provider=provider, rate=rate))
    return "offer.yaml"


@pytest.mark.process
def test_the_welcome_campaign_accounts_for_every_row(shipped: Shell) -> None:
    done = shipped("send", "campaigns/welcome.yaml", "--yes")
    assert done.code == 0, done
    assert "47 rows = 8 skipped + 39 accepted + 0 rejected + 0 canceled + 0 unknown + 0 pending" in done.out
    assert "simulated by the sandbox" in done.out
    rows = shipped.results()
    original = pl.read_csv(shipped.folder / "campaigns" / "welcome.csv", infer_schema=False)
    assert rows.columns[: 1 + original.width] == ["row_number", *original.columns]
    assert rows.select(original.columns).equals(original.filter(~pl.all_horizontal(pl.all().is_null())))
    assert rows["status"].value_counts().sort("status").rows() == [("delivered", 39), ("skipped", 8)]
    accepted = rows.filter(pl.col("status") == "delivered")
    assert accepted["message_id"].n_unique() == 39
    assert accepted["ref"].n_unique() == 39
    assert rows.filter(pl.col("status") == "skipped")["reason"].null_count() == 0
    assert rows.filter(pl.col("status") == "skipped")["error_message"].null_count() == 0


@pytest.mark.parametrize("name", ["photo-mms", "reminder"])
def test_the_other_shipped_campaigns_run(shipped: Shell, name: str) -> None:
    done = shipped("send", f"campaigns/{name}.yaml", "--yes")
    assert done.code == 0, done
    assert " 0 unknown + 0 pending" in done.out


@pytest.mark.parametrize("dialect", DIALECTS)
def test_rehearsal_speaks_each_dialect(sender: Shell, dialect: str) -> None:
    path = campaign(sender, 20, provider=dialect)
    done = sender("send", path, "--yes", "--rehearse")
    assert done.code == 0, done
    assert "20 rows = 0 skipped + 20 accepted" in done.out
    rows = sender.results()
    assert set(rows["provider"]) == {dialect}
    assert rows["message_id"].n_unique() == 20


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_live_run_over_the_base_url_reaches_everybody_once(sender: Shell, sandbox: Start, dialect: str) -> None:
    server = sandbox()
    done = sender("send", campaign(sender, 20, provider=dialect), "--yes", **server.env)
    assert done.code == 0, done
    assert "simulated" not in done.out
    assert sorted(server.counts().values()) == [1] * 20


def test_a_complete_run_is_not_sent_twice(sender: Shell) -> None:
    path = campaign(sender, 3)
    assert sender("send", path, *NOW).code == 0
    refused = sender("send", path, *NOW)
    assert refused.code == 3
    assert "has been sent" in refused.err
    assert "--again" in refused.err
    again = sender("send", path, *NOW, "--again")
    assert again.code == 0
    assert len(list((sender.folder / ".sender" / "runs").iterdir())) == 2


def test_a_rehearsal_does_not_count_as_sent(sender: Shell, sandbox: Start) -> None:
    path = campaign(sender, 3, provider="twilio")
    assert sender("send", path, *NOW, "--rehearse").code == 0
    server = sandbox()
    assert sender("send", path, *NOW, **server.env).code == 0
    assert sum(server.counts().values()) == 3


def test_without_a_terminal_it_never_waits_for_an_answer(sender: Shell) -> None:
    done = sender("send", campaign(sender, 3))
    assert done.code == 2
    assert "--yes" in done.err
    assert not list((sender.folder / ".sender" / "runs").iterdir())


def test_a_dry_run_writes_nothing(sender: Shell) -> None:
    done = sender("send", campaign(sender, 3), "--dry-run")
    assert done.code == 0
    assert "nothing was sent" in done.out
    assert "Hi Ada 0" in done.out
    assert not (sender.folder / ".sender").exists()


def test_limit_sends_the_first_and_then_the_rest(sender: Shell, sandbox: Start) -> None:
    server = sandbox()
    path = campaign(sender, 10, provider="telnyx")
    for _ in range(2):  # twice the same changes nothing
        done = sender("send", path, *NOW, "--limit", "4", **server.env)
        assert done.code == 0, done
        assert "4 accepted + 0 rejected + 0 canceled + 0 unknown + 6 pending" in done.out
    assert sender("send", path, *NOW, **server.env).code == 0
    assert sorted(server.counts().values()) == [1] * 10


def test_a_test_message_goes_to_one_number_and_does_not_touch_the_run(sender: Shell, sandbox: Start) -> None:
    server = sandbox()
    path = campaign(sender, 5, provider="signalwire")
    for _ in range(2):
        done = sender("send", path, *NOW, "--test-to", "+12125550177", **server.env)
        assert done.code == 0, done
    assert server.counts() == {"+12125550177": 2}
    assert sender("send", path, *NOW, **server.env).code == 0
    assert sum(server.counts().values()) == 7


@pytest.mark.parametrize("dialect", [pytest.param(DIALECTS[0], marks=pytest.mark.process), *DIALECTS[1:]])
def test_kill_nine_half_way_then_the_rest_and_nothing_twice(sender: Shell, sandbox: Start, dialect: str) -> None:
    server = sandbox("--latency", "30")
    path = campaign(sender, 200, provider=dialect, rate="100/s")
    env = server.env
    process = sender.start("send", path, *NOW, "--rehearse", SENDER_SANDBOX_URL=server.url, **env)
    server.wait_for(60)
    process.kill()
    process.communicate()
    time.sleep(0.2)  # what was on its way arrives
    done = sender("send", path, *NOW, "--rehearse", SENDER_SANDBOX_URL=server.url, **env)
    assert "resuming run" in done.out
    assert sorted(set(server.counts().values())) == [1], "somebody was texted twice"
    assert "200 accepted + 0 rejected + 0 canceled + 0 unknown + 0 pending" in done.out, done
    assert done.code == 0
    assert len(server.counts()) == 200
    assert set(server.counts().values()) == {1}


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_drains_says_how_to_resume_and_loses_nothing(sender: Shell, sandbox: Start, number: int) -> None:
    server = sandbox("--latency", "100")
    path = campaign(sender, 100, provider="twilio", rate="50/s")
    process = sender.start("send", path, *NOW, **server.env)
    server.wait_for(20)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert "stopping" in err
    assert "the same command sends the rest" in out
    law = re.search(r"(\d+) accepted \+ 0 rejected \+ 0 canceled \+ 0 unknown \+ (\d+) pending", out)
    assert law, out
    assert int(law[1]) == sum(server.counts().values())
    assert sender("send", path, *NOW, **server.env).code == 0
    assert sorted(server.counts().values()) == [1] * 100


def test_an_overlapping_start_is_refused_at_once(sender: Shell, sandbox: Start) -> None:
    server = sandbox("--latency", "50")
    path = campaign(sender, 500, provider="telnyx", rate="2/s")  # minutes, on however busy a machine
    first = sender.start("send", path, *NOW, **server.env)
    server.wait_for(5)
    second = sender("send", path, *NOW, **server.env)
    assert second.code == 3, second
    assert f"pid {first.pid}" in second.err
    assert first.poll() is None  # refused while the first one sends, and not after
    first.kill()
    first.communicate()


class TestChangedInputs:
    def begun(self, shell: Shell, server: Sandbox) -> str:
        path = campaign(shell, 10, provider="twilio")
        assert shell("send", path, *NOW, "--limit", "4", **server.env).code == 0
        text = (shell.folder / "people.csv").read_text()
        shell.write("people.csv", text + "Zoe,+13125550150\n")
        return path

    def test_are_refused_with_what_changed(self, sender: Shell, sandbox: Start) -> None:
        server = sandbox()
        done = sender("send", self.begun(sender, server), *NOW, **server.env)
        assert done.code == 3
        assert "recipients people.csv changed" in done.err
        assert "10 messages became 11" in done.err
        assert "--resume" in done.err
        assert "--new-run" in done.err
        assert sum(server.counts().values()) == 4

    def test_resume_keeps_to_the_old_plan(self, sender: Shell, sandbox: Start) -> None:
        server = sandbox()
        assert sender("send", self.begun(sender, server), *NOW, "--resume", **server.env).code == 0
        assert sorted(server.counts().values()) == [1] * 10

    def test_new_run_starts_over(self, sender: Shell, sandbox: Start) -> None:
        server = sandbox()
        assert sender("send", self.begun(sender, server), *NOW, "--new-run", **server.env).code == 0
        assert sorted(server.counts().values()) == [1] * 7 + [2] * 4


def test_rejected_messages_are_told_and_counted(sender: Shell) -> None:
    sender.write("people.csv", "phone,name\n+12025550101,Ada\n+12025550190,Bad\n+12025550191,Out\n")
    done = sender("send", "people.csv", *NOW, "--provider", "sandbox", *BODY)
    assert done.code == 1, done
    assert "3 rows = 0 skipped + 1 accepted + 2 rejected" in done.out
    rows = sender.results()
    assert rows["reason"].to_list() == [None, "invalid_number", rows["reason"][2]]
    assert rows["reason"][2] in ("opted_out", "blocked")
    assert rows["error_code"].null_count() == 1


def test_unknown_messages_are_told_first_and_settled_from_the_log(sender: Shell) -> None:
    sender.write("people.csv", "phone,name\n+12025550101,Ada\n+12025550197,After\n+12025550196,Before\n")
    done = sender("send", "people.csv", *NOW, "--provider", "sandbox", "--on-unknown", "hold", *BODY)
    assert done.code == 4, done
    assert "2 messages unknown" in done.out
    assert done.out.index("unknown:") < done.out.index("3 rows =")
    time.sleep(2.2)
    settled = sender("reconcile", "people.csv")
    assert "1 found at the provider, 1 proved absent (pending again), 0 still unknown" in settled.out, settled
    assert "2 accepted + 0 rejected + 0 canceled + 0 unknown + 1 pending" in settled.out


def test_a_refused_account_stops_the_run(sender: Shell, sandbox: Start) -> None:
    server = sandbox()
    path = campaign(sender, 50, provider="telnyx", rate="20/s")
    done = sender("send", path, *NOW, **(server.env | {"TELNYX_API_KEY": "KEY_bad"}))
    assert done.code == 3, done
    assert "credentials" in done.err
    assert "50 pending" in done.out
    assert server.counts() == {}
    assert sender("send", path, *NOW, "--set", "rate=none", **server.env).code == 0


def test_an_unreachable_provider_stops_the_run_and_loses_nothing(sender: Shell) -> None:
    path = campaign(sender, 5, provider="telnyx")
    done = sender("send", path, *NOW, TELNYX_API_KEY="KEY0123", TELNYX_API_BASE="http://127.0.0.1:9")
    assert done.code == 3, done
    assert "no connection to http://127.0.0.1:9" in done.err
    assert "0 accepted + 0 rejected + 0 canceled + 0 unknown + 5 pending" in done.out
    assert "Traceback" not in done.err


@pytest.mark.parametrize("provider", DIALECTS)
def test_missing_credentials_are_named_before_anything_is_written(sender: Shell, provider: str) -> None:
    done = sender("send", campaign(sender, 2, provider=provider), *NOW)
    assert done.code == 2
    assert re.search(r"SIGNALWIRE_API_TOKEN|TELNYX_API_KEY|TWILIO_AUTH_TOKEN", done.err), done
    assert not list((sender.folder / ".sender" / "runs").iterdir())


def test_an_env_file_holds_credentials(sender: Shell, sandbox: Start) -> None:
    server = sandbox()
    path = campaign(sender, 2, provider="twilio")
    sender.write("secrets.env", "".join(f"{name}={value}\n" for name, value in server.env.items()))
    assert sender("send", path, *NOW, "--env-file", "secrets.env").code == 0
    assert sum(server.counts().values()) == 2


def test_no_secret_is_ever_written(sender: Shell, sandbox: Start) -> None:
    server = sandbox()
    secret = "canary0123456789abcdef0123456789"
    path = campaign(sender, 3, provider="twilio")
    env = server.env | {"TWILIO_AUTH_TOKEN": secret}
    told = [
        sender("send", path, "--yes", "--debug", "--log-format", "json", **env),
        sender("status", "offer"),
        sender("results", "offer"),
    ]
    told.append(
        sender("send", path, "--yes", "--again", "--debug", **(env | {"TWILIO_API_BASE": "http://127.0.0.1:9"}))
    )
    assert told[0].code == 0
    assert told[-1].code == 3
    assert not any(secret in one.out + one.err for one in told)
    files = [file for file in sender.folder.rglob("*") if file.is_file()]
    assert files
    assert not [file for file in files if secret.encode() in file.read_bytes()]


def test_json_for_machines(sender: Shell) -> None:
    done = sender("send", campaign(sender, 3), *NOW, "--json", "--log-format", "json")
    summary = done.json
    assert (summary["exit_code"], summary["accepted"], summary["pending"]) == (0, 3, 0)
    assert Path(sender.folder / summary["results"]).is_file()
    events = [json.loads(line) for line in done.err.splitlines()]
    assert [event["event"] for event in events if event["event"].startswith("run_")] == ["run_started", "run_ended"]
    assert all({"time", "level", "event", "message"} <= event.keys() for event in events)
    assert "5550" not in done.err, "log lines hold no numbers"


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.parquet", "out.xlsx"])
def test_the_results_file_may_be_named(sender: Shell, name: str) -> None:
    assert sender("send", campaign(sender, 2), *NOW, "--output", name).code == 0
    assert (sender.folder / name).stat().st_size > 100


@pytest.mark.parametrize(
    "name", ["nowhere/out.csv", "out.txt", "people.csv"], ids=["no-folder", "no-format", "the-input"]
)
def test_a_results_file_that_cannot_be_written_stops_before_anything_is_sent(sender: Shell, name: str) -> None:
    path = campaign(sender, 2)
    before = (sender.folder / "people.csv").read_bytes()
    done = sender("send", path, *NOW, "--output", name)
    assert done.code == 2, done
    assert name in done.err
    assert (sender.folder / "people.csv").read_bytes() == before
    assert sender("status", "--json").json == []


class TestAgainNewRunResume:
    """Which run a start means. `begun` is one of 4 messages of which 1 is sent."""

    @pytest.fixture
    def begun(self, sender: Shell, sandbox: Start) -> tuple[str, Sandbox]:
        server = sandbox()
        path = campaign(sender, 4, provider="twilio")
        assert sender("send", path, *NOW, "--limit", "1", **server.env).code == 0
        return path, server

    @pytest.mark.parametrize(
        ("flags", "code", "counts", "says"),
        [
            pytest.param((), 0, [1, 1, 1, 1], "resuming run", id="nothing-said"),
            pytest.param(("--resume",), 0, [1, 1, 1, 1], "resuming run", id="resume"),
            pytest.param(("--again",), 3, [1], "is unfinished", id="again"),
            pytest.param(("--new-run",), 0, [1, 1, 1, 2], "gets it again", id="new-run"),
            pytest.param(("--resume", "--again"), 2, [1], "only one of", id="contradiction"),
        ],
    )  # fmt: skip
    def test_of_an_unfinished_run(
        self, sender: Shell, begun: tuple[str, Sandbox], flags: tuple[str, ...], code: int, counts: list[int], says: str
    ) -> None:
        path, server = begun
        done = sender("send", path, *NOW, *flags, **server.env)
        assert done.code == code, done
        assert says in done.out + done.err
        assert sorted(server.counts().values()) == counts

    @pytest.mark.parametrize("flags", [(), ("--resume",)], ids=["plain", "resume"])
    def test_an_older_unfinished_run_is_not_resumed_once_its_people_have_had_it(
        self, sender: Shell, begun: tuple[str, Sandbox], flags: tuple[str, ...]
    ) -> None:
        path, server = begun
        assert sender("send", path, *NOW, "--new-run", "--body", "Another", **server.env).code == 0
        done = sender("send", path, *NOW, *flags, **server.env)
        assert done.code == 3, done
        assert "closed" in done.err
        assert sorted(server.counts().values()) == [1, 1, 1, 2]

    def test_another_account_cannot_go_on(self, sender: Shell, begun: tuple[str, Sandbox]) -> None:
        path, server = begun
        done = sender("send", path, *NOW, **(server.env | {"TWILIO_ACCOUNT_SID": "AC" + "1" * 32}))
        assert done.code == 3, done
        assert "is sent by account" in done.err
        assert sorted(server.counts().values()) == [1]

    def test_another_pace_can(self, sender: Shell, begun: tuple[str, Sandbox]) -> None:
        path, server = begun
        begin = time.monotonic()
        assert sender("send", path, *NOW, "--rate", "2/s", **server.env).code == 0
        assert time.monotonic() - begin > 1.0, "three at 2/s"

    def test_nothing_to_resume(self, sender: Shell) -> None:
        done = sender("send", campaign(sender, 2), *NOW, "--resume")
        assert done.code == 2
        assert "unfinished" in done.err


def test_a_run_that_reached_nobody_does_not_hold_its_inputs(sender: Shell, sandbox: Start) -> None:
    server = sandbox()
    path = campaign(sender, 3, provider="telnyx")
    assert sender("send", path, *NOW, **(server.env | {"TELNYX_API_KEY": "KEY_bad"})).code == 3
    assert sender("send", path, *NOW, "--from", "+12025550101", **server.env).code == 0
    assert sorted(server.counts().values()) == [1, 1, 1]


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of POSIX")
def test_ctrl_c_at_the_question_stops_at_once(sender: Shell) -> None:
    import os
    import pty
    import subprocess

    from tests.cli.conftest import SENDER

    path = campaign(sender, 2)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*SENDER, "send", path],
        cwd=sender.folder,
        env=sender.env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    told = b""
    while b"[y/N]" not in told:
        told += os.read(ours, 1024)
    until = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until:
        process.send_signal(signal.SIGINT)  # again, as a person would: the first may come just before the read begins
        time.sleep(0.3)
    process.kill()
    assert process.wait() in (130, -signal.SIGINT)  # to a shell both are 130
    os.close(ours)
    assert not list((sender.folder / ".sender" / "runs").iterdir())


def test_an_error_is_an_event_where_the_log_is_json(sender: Shell) -> None:
    done = sender("send", "nothing.yaml", *NOW, "--log-format", "json")
    event = json.loads(done.err)
    assert (event["event"], event["level"]) == ("error", "error")
    assert "nothing.yaml" in event["message"]


def test_a_written_plan_is_sent_as_it_was_reviewed(sender: Shell) -> None:
    path = campaign(sender, 3)
    assert sender("plan", path, "--out", "reviewed").code == 0
    sender.people(9)  # the list changes after the review
    done = sender("send", "reviewed", *NOW)
    assert done.code == 0, done
    assert "3 rows = 0 skipped + 3 accepted" in done.out
    refused = sender("send", "reviewed", *NOW, "--rate", "1/s", "--again")
    assert refused.code == 2
    assert "never changes" in refused.err


def test_a_damaged_plan_is_not_sent(sender: Shell) -> None:
    assert sender("plan", campaign(sender, 3), "--out", "reviewed").code == 0
    file = sender.folder / "reviewed" / "plan.parquet"
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    done = sender("send", "reviewed", *NOW)
    assert done.code == 2
    assert "damaged" in done.err


def test_the_ledger_is_a_plain_sqlite_file_of_narrow_rows(sender: Shell) -> None:
    assert sender("send", campaign(sender, 3), *NOW).code == 0
    with sqlite3.connect(sender.folder / ".sender" / "ledger.sqlite3") as db:
        assert db.execute("SELECT count(*) FROM message WHERE state = 'accepted'").fetchone() == (3,)
        text = " ".join(str(row) for row in db.execute("SELECT * FROM message"))
    db.close()
    assert "Hi Ada" not in text


@pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")
def test_state_files_are_for_their_owner_only(sender: Shell) -> None:
    assert sender("send", campaign(sender, 3), *NOW).code == 0
    state = sender.folder / ".sender"
    assert {oct(path.stat().st_mode & 0o077) for path in [state, *state.rglob("*")]} == {"0o0"}
