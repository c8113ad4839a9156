"""Limits on a start: each stops before the first message, with what it found and a way on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Done, Sandbox, Shell

Start = Callable[..., Sandbox]
QUICK = ("--yes", "--wait", "0", "--rate", "none")
PRICES = "currency: USD\ndefault: {sms: 1}\n"
BAD_ROWS = {"invalid_number": "12", "missing_data": ""}


def write_list(shell: Shell, *, good: int, bad: int = 0, kind: str = "invalid_number", area: str = "202") -> None:
    rows = [f"A{row},+1{area}55501{row:02}" for row in range(good)]
    rows += [f"B{row},{BAD_ROWS[kind]}" for row in range(bad)]
    shell.write("people.csv", "name,phone\n" + "\n".join(rows) + "\n")


def send(shell: Shell, *args: str, provider: str = "sandbox", body: str = "Hi {{ name }}", **env: str) -> Done:
    words = ("people.csv", "--body", body, "--from", "+12025550100", "--provider", provider, *QUICK)
    return shell("send", *words, *args, **env)


def plan(shell: Shell, *args: str, body: str = "Hi {{ name }}") -> Done:
    words = ("people.csv", "--body", body, "--from", "+12025550100", "--provider", "sandbox")
    return shell("plan", *words, *args)


@pytest.mark.parametrize(
    ("limit", "allowed", "found"),
    [
        pytest.param("--max-messages 5", "--max-messages 6", "the plan has 6 messages, and limits.max_messages is 5", id="messages"),
        pytest.param("--max-skipped 1", "--max-skipped 2", "2 of 8 rows would be skipped because something is wrong with them (2 invalid_number), and limits.max_skipped is 1", id="skipped"),
        pytest.param("--max-skipped 24%", "--max-skipped 25%", "limits.max_skipped is 24%", id="skipped-share"),
        pytest.param("--max-skipped 0", "--max-skipped none", "limits.max_skipped is 0", id="skipped-none"),
        pytest.param("--max-segments-per-message 2", "--max-segments-per-message 3", "6 messages would take more segments than limits.max_segments_per_message, which is 2: up to 3", id="segments"),
        pytest.param("--prices prices.yaml --max-cost 17.99", "--prices prices.yaml --max-cost 18", "the plan costs 18.00 USD, and limits.max_cost is 17.99", id="cost"),
    ],
)  # fmt: skip
def test_a_plan_above_a_limit_stops_before_the_first_message(
    sender: Shell, limit: str, allowed: str, found: str
) -> None:
    write_list(sender, good=6, bad=2)
    sender.write("prices.yaml", PRICES)
    text = "x" * 400  # three segments
    name = limit.rpartition(" --")[2].removeprefix("--").partition(" ")[0]
    stopped = send(sender, *limit.split(), body=text)
    assert (stopped.code, found in stopped.err, "fix:" in stopped.err) == (3, True, True), stopped
    assert f"--{name}" in stopped.err.partition("fix:")[2]
    assert sender("status").code in (0, 2), "no run began"
    planned = plan(sender, *limit.split(), body=text)
    assert (planned.code, f"would not be sent: {found}" in planned.out or found in planned.out) == (0, True), planned
    dry = send(sender, *limit.split(), "--dry-run", "--json", body=text)
    assert [stop["limit"] for stop in dry.json["stops"]] == [name.replace("-", "_")]
    assert plan(sender, *allowed.split(), "--json", body=text).json["stops"] == []
    done = send(sender, *allowed.split(), body=text)
    assert (done.code, "6 accepted" in done.out) == (0, True), done


@pytest.mark.parametrize("kind", ["invalid_number", "missing_data", "render_error"])
@pytest.mark.parametrize(
    ("good", "bad", "stops"),
    [(10, 11, True), (9, 10, False), (10, 10, False), (20, 20, False), (20, 21, True), (0, 20, None)],
)
def test_a_broken_export_stops_and_a_normal_list_passes(
    sender: Shell, kind: str, good: int, bad: int, stops: bool | None
) -> None:
    body = "Hi {{ name }}"
    if kind == "render_error":
        rows = [f"A{row},+120255501{row:02},1" for row in range(good)]
        rows += [f"B{row},+121255501{row:02},x" for row in range(bad)]
        sender.write("people.csv", "name,phone,n\n" + "\n".join(rows) + "\n")
        body = "Hi {{ 10 // n | int }}"
        sender.write("people.csv", "name,phone,n\n" + "\n".join(rows) + "\n")
    else:
        write_list(sender, good=good, bad=bad, kind=kind)
    planned = plan(sender, "--json", body=body).json
    assert planned["skipped"].get(kind, 0) == bad
    done = send(sender, body=body)
    if stops is None:
        assert (done.code, "nobody to send to" in done.err) == (2, True), done
        return
    assert [(stop["limit"], stop["asks"]) for stop in planned["stops"]] == ([("max_skipped", True)] if stops else [])
    assert done.code == (3 if stops else 0), done
    if stops:
        assert f"{bad} of {good + bad} rows would be skipped" in done.err
        assert "more than half" in done.err
        assert "--max-skipped none" in done.err
        assert "would ask first" in plan(sender, body=body).out
        assert send(sender, "--max-skipped", "60%", body=body).code == 0


def test_rows_left_out_on_purpose_are_no_broken_export(sender: Shell) -> None:
    write_list(sender, good=40, bad=5)
    numbers = "\n".join(f"+120255501{row:02}" for row in range(36))
    sender.write("no.csv", f"phone\n{numbers}\n")
    stopped = send(sender, "--suppress", "no.csv")
    assert stopped.code == 0, "9 rows are left, too few to judge by"
    write_list(sender, good=40, bad=30)
    done = send(sender, "--suppress", "no.csv", "--name", "other")
    assert (done.code, "30 of 34 rows" in done.err) == (3, True), done


def test_a_test_and_a_resumed_run_are_not_held_up_by_a_broken_export(sender: Shell) -> None:
    write_list(sender, good=10, bad=15)
    assert send(sender, "--test-to", "+12025550109").code == 0
    assert send(sender, "--max-skipped", "none", "--limit", "2").code == 0
    done = send(sender)
    assert (done.code, "resuming run" in done.out) == (0, True), done


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--max-messages", "0"), "limits.max_messages"),
        (("--max-messages", "many"), "limits.max_messages"),
        (("--max-skipped", "120%"), "more than all rows"),
        (("--max-skipped", "-1"), "is not a limit of rows"),
        (("--max-segments-per-message", "1.5"), "limits.max_segments_per_message"),
        (("--max-cost-per-day", "3"), "`limits.max_cost_per_day` is set without `prices`"),
        (("--max-cost-per-day", "much"), "is not an amount"),
    ],
)
def test_what_is_no_limit(sender: Shell, args: tuple[str, ...], sentence: str) -> None:
    write_list(sender, good=2)
    done = send(sender, *args)
    assert (done.code, sentence in done.err) == (2, True), done


@pytest.fixture
def live(sender: Shell, sandbox: Start) -> Callable[..., Done]:
    provider = sandbox()
    write_list(sender, good=6)
    sender.write("prices.yaml", PRICES)

    def run(*args: str, command: str = "send") -> Done:
        if command == "send":
            return send(sender, *args, provider="twilio", **provider.env)
        return sender(command, *args, **provider.env)

    return run


class TestADay:
    def test_all_live_runs_of_a_day_count_together(self, live: Callable[..., Done], sender: Shell) -> None:
        assert live("--max-messages-per-day", "6").code == 0
        stopped = live("--max-messages-per-day", "10", "--edition", "2")
        assert stopped.code == 3, stopped
        assert "live runs have sent 6 messages in the last 24 hours, this start would add 6" in stopped.err
        assert "`--limit 4` sends 4 of them now" in stopped.err
        assert "on there is room for all" in stopped.err
        dry = live("--max-messages-per-day", "10", "--edition", "2", "--dry-run")
        assert (dry.code, "would not be sent: live runs have sent 6 messages" in dry.out) == (0, True), dry
        part = live("--max-messages-per-day", "10", "--edition", "2", "--limit", "4")
        assert (part.code, "4 accepted" in part.out) == (0, True), part
        rest = live("--max-messages-per-day", "10", "--edition", "2")
        assert (rest.code, "live runs have sent 10 messages" in rest.err, "add 2" in rest.err) == (3, True, True), rest
        assert live("--max-messages-per-day", "12", "--edition", "2").code == 0

    def test_another_campaign_counts_and_a_simulation_does_not(self, live: Callable[..., Done], sender: Shell) -> None:
        for simulated in (("--rehearse",), ("--test-to", "+12025550109")):
            assert live(*simulated).code == 0
        assert live("--max-messages-per-day", "6", "--rehearse", "--again").code == 0
        assert live("--max-messages-per-day", "6").code == 0
        assert live("--max-messages-per-day", "6", "--name", "other", "--rehearse").code == 0
        stopped = live("--max-messages-per-day", "6", "--name", "other")
        assert (stopped.code, "live runs have sent 6 messages" in stopped.err) == (3, True), stopped

    def test_the_window_rolls(self, live: Callable[..., Done], sender: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        from sender.planning import day_use

        assert live("--max-messages-per-day", "6").code == 0
        assert live("--max-messages-per-day", "6", "--edition", "2").code == 3
        monkeypatch.setattr(day_use, "DAY_MS", 0)
        assert live("--max-messages-per-day", "6", "--edition", "2").code == 0

    def test_the_cost_of_a_day(self, live: Callable[..., Done], sender: Shell) -> None:
        priced = ("--prices", "prices.yaml", "--max-cost-per-day")
        assert live(*priced, "6").code == 0
        stopped = live(*priced, "11.99", "--edition", "2")
        assert stopped.code == 3, stopped
        assert "live runs of the last 24 hours cost 6.00, this start would add 6.00" in stopped.err
        assert live(*priced, "12", "--edition", "2").code == 0

    def test_a_cost_that_is_not_known_is_below_no_limit(self, live: Callable[..., Done], sender: Shell) -> None:
        assert live().code == 0
        stopped = live("--prices", "prices.yaml", "--max-cost-per-day", "100", "--edition", "2")
        assert (stopped.code, "have no price in this currency" in stopped.err) == (3, True), stopped

    def test_limits_bind_a_written_plan(self, sender: Shell, sandbox: Start) -> None:
        provider = sandbox()
        write_list(sender, good=6)
        written = plan(sender, "--provider", "twilio", "--rate", "none", "--max-messages-per-day", "5", "--out", "p")
        assert written.code == 0, written

        def start(*args: str) -> Done:
            return sender("send", "p", "--yes", "--wait", "0", *args, **provider.env)

        stopped = start()
        assert (stopped.code, "limits.max_messages_per_day is 5" in stopped.err) == (3, True), stopped
        refused = start("--max-messages-per-day", "6", "--rate", "none")
        assert (refused.code, "never changes" in refused.err) == (2, True), refused
        assert start("--max-messages-per-day", "6").code == 0

    def test_limits_bind_a_retry_and_a_resume(self, sender: Shell, sandbox: Start) -> None:
        provider = sandbox()
        sender.write("people.csv", "name,phone\nA,+12025550101\nB,+12025550194\n")
        assert send(sender, provider="twilio", **provider.env).code in (0, 1)
        sender("status", "people", "--refresh", "--wait", "30s", **provider.env)
        quick = ("--yes", "--wait", "0")
        stopped = sender("retry", "people", *quick, "--max-messages-per-day", "1", **provider.env)
        assert (stopped.code, "live runs have sent 1 message in the last 24 hours" in stopped.err) == (3, True), stopped
        retried = sender("retry", "people", *quick, "--max-messages-per-day", "2", **provider.env)
        assert retried.code in (0, 1), retried
        write_list(sender, good=4, area="212")
        assert send(sender, "--edition", "2", "--limit", "2", provider="twilio", **provider.env).code == 0
        (run,) = (row["run_id"] for row in sender("status", "--json").json if row["state"] == "unfinished")
        stopped = sender("resume", run, *quick, "--max-messages-per-day", "4", **provider.env)
        assert (stopped.code, "limits.max_messages_per_day is 4" in stopped.err) == (3, True), stopped
        resumed = sender("resume", run, *quick, "--max-messages-per-day", "none", **provider.env)
        assert resumed.code in (0, 1), resumed


def test_the_python_form(tmp_path: Path) -> None:
    import sender
    from sender.errors import CostLimit, LimitReached

    people = [{"phone": f"+120255501{row:02}"} for row in range(3)]
    for limits, error in (({"max_messages": 2}, LimitReached), ({"max_cost": 2}, CostLimit)):
        (tmp_path / "prices.yaml").write_text(PRICES, encoding="utf-8")
        campaign = sender.load_campaign(
            recipients=people, message="Hi", provider="sandbox", from_="+12025550100", limits=limits, base=tmp_path,
            prices="prices.yaml",
        )  # fmt: skip
        made = sender.build_plan(campaign)
        with pytest.raises(error):
            sender.send(made, state_dir=tmp_path / "s")
    assert json.loads(made.manifest.to_json())["limits"] == {}


class TestGuards:
    """What stops a run under way has options, too; they are a campaign's, and a part of the plan."""

    @pytest.mark.parametrize(
        ("options", "pace"),
        [
            ((), (20, 0.25)),
            (("--max-rejected-in-a-row", "5"), (5, 0.25)),
            (("--max-failed", "10%"), (20, 0.1)),
            (("--max-rejected-in-a-row", "none", "--max-failed", "none"), (None, None)),
            (("--set", "limits.max_failed=30%", "--max-rejected-in-a-row", "7"), (7, 0.3)),
        ],
        ids=str,
    )
    def test_they_are_in_the_plan(self, sender: Shell, options: tuple[str, ...], pace: tuple[int, float]) -> None:
        sender.write("people.csv", "phone\n+12025550101\n")
        words = ("--body", "Hi", "--from", "+12025550100", "--provider", "sandbox")
        done = sender("plan", "people.csv", *words, *options, "--json")
        assert done.code == 0, done
        planned = json.loads(done.out)["pace"]
        assert (planned["max_rejected_in_a_row"], planned["max_failed"]) == pace

    @pytest.mark.parametrize(
        ("option", "text"),
        [
            ("--max-rejected-in-a-row", "0"),
            ("--max-rejected-in-a-row", "few"),
            ("--max-failed", "200%"),
            ("--max-messages", "abc"),
            ("--max-messages", "-1"),
            ("--max-skipped", "200%"),
            ("--max-cost", "much"),
        ],
    )
    def test_what_is_no_limit_is_said_of_the_option(self, sender: Shell, option: str, text: str) -> None:
        sender.write("people.csv", "phone\n+12025550101\n")
        words = ("--body", "Hi", "--from", "+12025550100", "--provider", "sandbox")
        done = sender("send", "people.csv", *words, option, text, "--yes")
        assert (done.code, done.err.startswith(f"error: {option} {text}, key `limits.")) == (2, True), done
