"""`limits.per_person`: how often a person is texted, over all campaigns of a state directory."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from sender.core import clock
from tests.cli.conftest import Done, Sandbox, Shell

Start = Callable[..., Sandbox]
ADA, GRACE, JEAN = (f"+1202555010{n}" for n in range(1, 4))
UNREACHABLE, REJECTED = "+12025550194", "+12025550190"  # the sandbox: never delivered, refused


class Jobs:
    """Live campaigns by name, each with a list of its own, and a provider on loopback."""

    def __init__(self, sender: Shell, provider: Sandbox) -> None:
        self.sender = sender
        self.provider = provider

    def __call__(
        self, name: str, *numbers: str, cap: str | None = None, command: str = "send", more: tuple[str, ...] = ()
    ) -> Done:
        self.sender.write(f"{name}.csv", "phone\n" + "".join(f"{number}\n" for number in numbers))
        options = ["--body", f"{name} for you", "--provider", "twilio", "--from", "+12025550100", "--rate", "none"]
        options += [] if cap is None else ["--per-person", *cap.split()]
        options += ["--yes", "--wait", "0"] if command == "send" else []
        return self.sender(command, f"{name}.csv", *options, *more, **self.provider.env)

    def skipped(self, name: str, *numbers: str, cap: str, more: tuple[str, ...] = ()) -> dict[str, int]:
        skipped: dict[str, int] = self(name, *numbers, cap=cap, command="plan", more=("--json", *more)).json["skipped"]
        return skipped


@pytest.fixture
def jobs(sender: Shell, sandbox: Start) -> Jobs:
    return Jobs(sender, sandbox())


def test_a_person_gets_no_more_than_the_cap_over_all_campaigns(jobs: Jobs) -> None:
    assert jobs("spring", ADA, GRACE).code == 0
    assert jobs("summer", ADA).code == 0
    done = jobs("autumn", ADA, GRACE, JEAN, cap="2/24h")
    assert done.code == 0, done
    assert jobs.provider.counts() == {ADA: 2, GRACE: 2, JEAN: 1}
    (skipped,) = [row for row in jobs.sender.results().iter_rows(named=True) if row["status"] == "skipped"]
    assert (skipped["phone"], skipped["reason"]) == (ADA, "frequency_cap")
    assert skipped["error_message"].startswith("2/24h is used up by summer on ")
    assert "spring on " in skipped["error_message"], "the messages that used it up are named"


@pytest.mark.parametrize(
    ("cap", "held"),
    [
        pytest.param("1/24h", True, id="one"),
        pytest.param("2/24h", False, id="two"),
        pytest.param("2/24h --per-person 1/7d", True, id="the-stricter-of-two"),
        pytest.param("1/s", False, id="a-window-that-has-passed"),
    ],
)
def test_each_cap_holds_in_its_window(jobs: Jobs, cap: str, held: bool) -> None:
    assert jobs("spring", ADA).code == 0
    if cap == "1/s":
        time.sleep(1.1)
    assert jobs.skipped("summer", ADA, GRACE, cap=cap) == ({"frequency_cap": 1} if held else {})


@pytest.mark.parametrize("other", [("--rehearse",), ("--test-to", ADA)], ids=["rehearsal", "test"])
def test_tests_and_rehearsals_count_nothing(jobs: Jobs, other: tuple[str, ...]) -> None:
    assert jobs("spring", ADA, more=other).code == 0
    assert jobs.skipped("summer", ADA, cap="1/24h") == {}


def test_a_rehearsal_shows_whom_the_live_start_would_leave_out(jobs: Jobs) -> None:
    assert jobs("spring", ADA).code == 0
    rehearsed = jobs("summer", ADA, GRACE, cap="1/24h", more=("--rehearse",))
    assert "1 skipped + 1 accepted" in rehearsed.out, rehearsed
    assert jobs("summer", ADA, GRACE, cap="1/24h").code == 0
    assert jobs.provider.counts() == {ADA: 1, GRACE: 1}


def test_what_was_refused_or_did_not_arrive_does_not_count(jobs: Jobs) -> None:
    assert jobs("spring", REJECTED, UNREACHABLE, more=("--wait", "30")).code == 1
    assert jobs.skipped("summer", REJECTED, UNREACHABLE, cap="1/24h") == {}


def test_an_unknown_message_counts(sender: Shell, sandbox: Start) -> None:
    jobs = Jobs(sender, sandbox("--faults", "reset-after=1"))
    assert jobs("spring", ADA, more=("--on-unknown", "hold")).code == 4
    assert jobs.skipped("summer", ADA, cap="1/24h") == {"frequency_cap": 1}


def test_a_test_message_is_never_held_back(jobs: Jobs) -> None:
    assert jobs("spring", ADA).code == 0
    assert jobs("summer", GRACE, cap="1/24h", more=("--test-to", ADA)).code == 0
    assert jobs.provider.counts() == {ADA: 2}


def test_everybody_capped_is_no_failure(jobs: Jobs) -> None:
    assert jobs("spring", ADA).code == 0
    done = jobs("summer", ADA, cap="1/24h")
    assert (done.code, "as many messages as limits.per_person allows: nothing was sent" in done.out) == (0, True), done


def test_rows_of_one_person_use_the_cap_up_together(jobs: Jobs) -> None:
    assert jobs("spring", ADA).code == 0
    plan = jobs("summer", ADA, ADA, ADA, GRACE, GRACE, GRACE, cap="2/24h", command="plan", more=("--dedupe", "none"))
    assert "2 messages" not in plan.err
    assert jobs.skipped("summer", ADA, ADA, ADA, GRACE, GRACE, GRACE, cap="2/24h", more=("--dedupe", "none")) == {
        "frequency_cap": 3
    }
    assert "earlier rows with this number" in plan.out


def test_a_cap_in_whose_window_nothing_was_sent_holds_rows_of_one_person_as_well(jobs: Jobs) -> None:
    assert jobs("spring", ADA).code == 0
    time.sleep(1.1)
    several = ("--dedupe", "none")
    assert jobs.skipped("summer", ADA, ADA, cap="5/24h --per-person 1/s", more=several) == {"frequency_cap": 1}
    plan = jobs("summer", ADA, ADA, cap="5/24h --per-person 1/s", command="plan", more=several)
    assert "1/s is used up by earlier rows with this number" in plan.out, plan


def test_the_same_command_sends_nothing_twice_when_the_cap_is_free_again(jobs: Jobs) -> None:
    assert jobs("spring", ADA).code == 0
    assert jobs("summer", ADA, GRACE, cap="1/24h").code == 0
    refused = jobs("summer", ADA, GRACE)
    assert (refused.code, "--only-new sends to the 1 person who has not had it" in refused.err) == (3, True), refused
    assert jobs("summer", ADA, GRACE, more=("--only-new",)).code == 0
    assert jobs.provider.counts() == {ADA: 2, GRACE: 1}


def test_caps_can_be_tried_out_in_the_sandbox(sender: Shell) -> None:
    sender.write("people.csv", f"phone\n{ADA}\n")
    options = ("--provider", "sandbox", "--from", "+12025550100", "--body", "Hi", "--per-person", "1/day")
    assert sender("send", "people.csv", *options, "--yes").code == 0
    plan = sender("plan", "people.csv", *options, "--name", "another", "--json").json
    assert plan["skipped"] == {"frequency_cap": 1}


def test_the_campaign_file_has_the_caps(sender: Shell) -> None:
    sender.write("people.csv", f"phone\n{ADA}\n")
    keys = 'provider: sandbox\nfrom: "+12025550100"\nrecipients: people.csv\nmessage: Hi\n'
    sender.write("one.yaml", keys + "limits: {per_person: 1/day}\n")
    sender.write("several.yaml", keys + "limits:\n  per_person: [1/day, 10 per 30d]\n")
    sender.write("bad.yaml", keys + "limits:\n  per_person: [1/day, often]\n")
    assert sender("plan", "one.yaml", "--json").json["per_person"] == ["1/day"]
    assert sender("plan", "several.yaml", "--json").json["per_person"] == ["1/day", "10/30d"]
    refused = sender("plan", "bad.yaml")
    assert (refused.code, "'often' is not a frequency cap" in refused.err) == (2, True), refused


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_another_campaign_has_sent_since_the_plan_was_made_counts(jobs: Jobs, workers: str) -> None:
    assert jobs("summer", ADA, GRACE, cap="1/24h", command="plan", more=("--out", "written")).code == 0
    assert jobs("spring", ADA).code == 0
    done = jobs.sender("send", "written", "--yes", "--wait", "0", "--workers", workers, **jobs.provider.env)
    assert done.code == 1, done
    assert "2 rows = 0 skipped + 1 accepted + 0 rejected + 1 canceled" in done.out
    assert jobs.provider.counts() == {ADA: 1, GRACE: 1}
    (canceled,) = [row for row in jobs.sender.results().iter_rows(named=True) if row["status"] == "canceled"]
    assert (canceled["to"], canceled["reason"]) == (ADA, "frequency_cap")
    assert canceled["error_message"].startswith("not sent: 1/24h is used up by spring on ")


def test_an_interrupted_run_looks_again(jobs: Jobs) -> None:
    assert jobs("summer", GRACE, ADA, cap="1/24h", more=("--limit", "1")).code == 0
    assert jobs("spring", ADA).code == 0
    done = jobs("summer", GRACE, ADA, more=("--resume",))
    assert "1 accepted + 0 rejected + 1 canceled" in done.out, done
    assert jobs.provider.counts() == {ADA: 1, GRACE: 1}


def test_its_own_message_does_not_count_against_itself(sender: Shell, sandbox: Start) -> None:
    """Nor does one that the provider has put off."""
    faults = sender.write("faults.yaml", f'"{ADA}": ["429", "429"]\n')
    jobs = Jobs(sender, sandbox("--faults", str(faults)))
    done = jobs("summer", ADA, GRACE, cap="1/24h")
    assert done.code == 0, done
    assert jobs.provider.counts() == {ADA: 1, GRACE: 1}


def test_a_retry_of_what_did_not_arrive_is_sent_and_counts_once(jobs: Jobs) -> None:
    assert jobs("spring", UNREACHABLE, cap="1/24h", more=("--wait", "30")).code == 1
    retried = jobs.sender("retry", "spring", "--yes", "--wait", "30", **jobs.provider.env)
    assert jobs.provider.counts() == {UNREACHABLE: 2}, retried
    assert "0 canceled" in retried.out
    assert jobs.skipped("summer", UNREACHABLE, cap="1/24h") == {}


def test_a_rehearsal_and_a_test_are_held_back_as_planned(jobs: Jobs) -> None:
    assert jobs("spring", ADA).code == 0
    assert jobs("summer", ADA, GRACE, cap="1/24h", more=("--rehearse",)).code == 0
    tested = jobs("summer", GRACE, cap="1/24h", more=("--test-to", ADA))
    assert "1 accepted + 0 rejected + 0 canceled" in tested.out, tested


@pytest.mark.parametrize("workers", ["1", "2"])
def test_two_campaigns_at_the_same_time_share_what_a_person_may_get(jobs: Jobs, workers: str) -> None:
    numbers = [f"+1202555{number:04}" for number in range(100, 190)]
    for name in ("spring", "summer"):
        jobs.sender.write(f"{name}.csv", "phone\n" + "\n".join(numbers) + "\n")
    options = (
        "--body",
        "Hi",
        "--provider",
        "twilio",
        "--from",
        "+12025550199",
        "--rate",
        "60/s",
        "--yes",
        "--wait",
        "0",
    )
    started = [
        jobs.sender.start(
            "send", f"{name}.csv", *options, "--per-person", "1/24h", "--workers", workers, **jobs.provider.env
        )
        for name in ("spring", "summer")
    ]
    for process in started:
        out, err = process.communicate(timeout=120)
        assert process.returncode in (0, 1), (out, err)
    counts = jobs.provider.counts()
    assert set(counts.values()) == {1}
    assert counts.keys() == set(numbers) - {"+12025550190"}


class TestRules:
    """Florida and Oklahoma allow three messages in any 24 hours; whoever may be there gets no more."""

    MIAMI, TULSA, BOSTON = "+13055550101", "+19185550102", "+16175550103"

    @pytest.fixture(autouse=True)
    def by_day(self, sender: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is noon in Tulsa, on every day: the rules have hours, too."""
        noon = datetime.now(UTC).replace(hour=18, minute=0)
        monkeypatch.setattr(clock, "time_of_day_ms", lambda: int(noon.timestamp() * 1000))
        sender.env["SENDER_RULES"] = "us"

    @pytest.fixture
    def three(self, jobs: Jobs) -> Jobs:
        """Everybody has had three messages."""
        for name in ("one", "two", "three"):
            assert jobs(name, self.MIAMI, self.TULSA, self.BOSTON).code == 0
        return jobs

    def rows(self, jobs: Jobs) -> dict[str, dict[str, object]]:
        return {row["phone"]: row for row in jobs.sender.results().iter_rows(named=True)}

    def test_the_fourth_message_is_held_back_where_a_rule_counts(self, three: Jobs) -> None:
        done = three("four", self.MIAMI, self.TULSA, self.BOSTON)
        assert done.code == 0, done
        assert three.provider.counts() == {self.MIAMI: 3, self.TULSA: 3, self.BOSTON: 4}
        rows = self.rows(three)
        for number, rule in ((self.MIAMI, "us-fl-cap"), (self.TULSA, "us-ok-cap")):
            assert rows[number]["reason"] == "frequency_cap"
            assert str(rows[number]["error_message"]).startswith(f"3/24h (rule {rule}) is used up by three on ")

    def test_the_state_of_the_address_counts_as_that_of_the_area_code_does(self, three: Jobs) -> None:
        three.sender.write("moved.csv", f"phone,state\n{self.BOSTON},FL\n{self.MIAMI},MA\n")
        options = ("--body", "Hi", "--provider", "twilio", "--from", "+12025550100", "--rate", "none", "--json")
        done = three.sender("plan", "moved.csv", *options, **three.provider.env)
        assert done.json["skipped"] == {"frequency_cap": 2}

    @pytest.mark.parametrize(
        ("rules", "more", "skipped"),
        [
            pytest.param("none", (), {}, id="no-rules"),
            pytest.param("strict", (), {"frequency_cap": 2}, id="strict"),
            pytest.param("us", ("--set", "purpose=transactional"), {}, id="transactional"),
            pytest.param("us", ("--per-person", "1/24h"), {"frequency_cap": 3}, id="a-stricter-cap"),
            pytest.param("us", ("--per-person", "9/24h"), {"frequency_cap": 2}, id="a-looser-cap"),
        ],
    )
    def test_which_caps_count(self, three: Jobs, rules: str, more: tuple[str, ...], skipped: dict[str, int]) -> None:
        three.sender.env["SENDER_RULES"] = rules
        done = three("four", self.MIAMI, self.TULSA, self.BOSTON, command="plan", more=("--json", *more))
        assert done.json["skipped"] == skipped

    def test_a_test_message_is_never_held_back(self, three: Jobs) -> None:
        assert three("four", self.BOSTON, more=("--test-to", self.MIAMI)).code == 0
        assert three.provider.counts()[self.MIAMI] == 4

    def test_rows_of_one_person_use_the_cap_up_together(self, jobs: Jobs) -> None:
        done = jobs("one", *[self.MIAMI] * 5, *[self.BOSTON] * 5, more=("--dedupe", "none"))
        assert done.code == 0, done
        assert jobs.provider.counts() == {self.MIAMI: 3, self.BOSTON: 5}

    def test_what_has_been_sent_since_the_plan_was_made_counts(self, jobs: Jobs) -> None:
        for name in ("one", "two"):
            assert jobs(name, self.MIAMI, self.BOSTON).code == 0
        assert jobs("four", self.MIAMI, self.BOSTON, command="plan", more=("--out", "written")).code == 0
        assert jobs("three", self.MIAMI, self.BOSTON).code == 0
        done = jobs.sender("send", "written", "--yes", "--wait", "0", **jobs.provider.env)
        assert done.code == 1, done
        assert jobs.provider.counts() == {self.MIAMI: 3, self.BOSTON: 4}
        canceled = self.rows(jobs)[self.MIAMI]
        assert (canceled["status"], canceled["reason"]) == ("canceled", "frequency_cap")
        assert str(canceled["error_message"]).startswith("not sent: 3/24h (rule us-fl-cap) is used up by three on ")
