"""Nobody gets a campaign twice: the ordinary commands of people who do this job, against a provider that counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Done, Sandbox, Shell

Start = Callable[..., Sandbox]
ADA, GRACE, JEAN, MARY = (f"+1202555010{n}" for n in range(1, 5))
UNREACHABLE = "+12025550194"  # the sandbox: accepted, and never delivered
CAMPAIGN = """
provider: twilio
from: "+12025550100"
recipients: people.csv
message: "Hi {{ name }}"
rate: none
"""


@pytest.fixture
def job(sender: Shell, sandbox: Start) -> Job:
    return Job(sender, sandbox())


class Job:
    """A live campaign, its list, and a provider on loopback."""

    def __init__(self, sender: Shell, provider: Sandbox) -> None:
        self.sender = sender
        self.provider = provider
        sender.write("offer.yaml", CAMPAIGN)
        self.people(ADA, GRACE, "555-0103")

    def people(self, *numbers: str) -> None:
        rows = "".join(f"N{row},{number}\n" for row, number in enumerate(numbers))
        self.sender.write("people.csv", "name,phone\n" + rows)

    def __call__(self, *arguments: str, command: str = "send") -> Done:
        asked = ("--yes", "--wait", "0") if command in ("send", "retry") else ()
        return self.sender(command, "offer.yaml", *asked, *arguments, **self.provider.env)

    @property
    def counts(self) -> dict[str, int]:
        return self.provider.counts()


def test_a_corrected_list_goes_only_to_those_who_have_not_had_it(job: Job) -> None:
    assert job().code == 0
    job.people(ADA, GRACE, JEAN)
    refused = job()
    assert refused.code == 3, refused
    assert "2 of 3 people have had offer, or may have had it (run " in refused.err
    assert "1 is new" in refused.err
    assert all(way in refused.err for way in ("--only-new", "--again", "edition:"))
    done = job("--only-new")
    assert done.code == 0, done
    assert "3 rows = 2 skipped + 1 accepted" in done.out
    assert job.counts == {ADA: 1, GRACE: 1, JEAN: 1}
    skipped = [row for row in job.sender.results().iter_rows(named=True) if row["status"] == "skipped"]
    assert [(row["reason"], row["phone"]) for row in skipped] == [("already_sent", ADA), ("already_sent", GRACE)]
    for repeated in ((), ("--only-new",)):
        job(*repeated)
    assert job.counts == {ADA: 1, GRACE: 1, JEAN: 1}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(("--body", "Another text"), id="text"),
        pytest.param(("--from", "+12025550199"), id="sender"),
        pytest.param(("--set", "validity_period=600"), id="field"),
        pytest.param(("--provider", "telnyx"), id="provider"),
        pytest.param(("--suppress", "stop.csv"), id="suppression-file"),
    ],
)
def test_whatever_changes_those_who_have_had_it_are_not_texted_again(job: Job, change: tuple[str, ...]) -> None:
    job.sender.write("stop.csv", "phone\n" + GRACE + "\n")
    assert job().code == 0
    done = job(*change)
    assert done.code == 3, done
    assert job.counts == {ADA: 1, GRACE: 1}
    assert job(*change, "--only-new").code == 0
    assert job.counts == {ADA: 1, GRACE: 1}


@pytest.mark.parametrize("missed", ["rejected", "suppressed"])
def test_only_new_reaches_those_whom_an_unchanged_list_missed(job: Job, missed: str) -> None:
    if missed == "rejected":
        job.people(ADA, "+12025550190")
    else:
        job.people(ADA, GRACE)
        job.sender.make_state()
        assert job.sender("suppress", "add", GRACE).code == 0
    job()
    if missed == "suppressed":
        assert job.sender("suppress", "remove", GRACE).code == 0
        refused = job()
        assert (refused.code, "--only-new sends to the 1 person who has not had it" in refused.err) == (3, True), (
            refused
        )
        assert job("--only-new").code == 0
        assert job.counts == {ADA: 1, GRACE: 1}
    else:
        done = job("--only-new")
        assert done.code == 1, done
        assert "1 skipped + 0 accepted + 1 rejected" in done.out
        assert job.counts == {ADA: 1}


def test_only_new_and_again_contradict_one_another(job: Job) -> None:
    done = job("--only-new", "--again")
    assert (done.code, "--only-new and --again" in done.err) == (2, True), done


def test_nobody_new_is_no_failure(job: Job) -> None:
    assert job().code == 0
    done = job("--only-new")
    assert (done.code, "everybody who can be texted has had this campaign: nothing was sent" in done.out) == (
        0,
        True,
    ), done
    assert job("--only-new", "--json").json["nobody_new"] is True
    assert len(job.sender("status", "--json").json) == 1


def test_again_says_how_many_get_it_once_more(job: Job) -> None:
    assert job().code == 0
    job.people(ADA, GRACE, JEAN)
    done = job("--again")
    assert done.code == 0, done
    assert "2 people who have had offer, or may have had it, get it again" in done.out
    assert job.counts == {ADA: 2, GRACE: 2, JEAN: 1}


def test_an_interrupted_again_is_resumed(job: Job) -> None:
    assert job().code == 0
    assert job("--again", "--limit", "1").code == 0
    refused = job("--again")
    assert (refused.code, "is unfinished" in refused.err) == (3, True), refused
    assert "resuming run" in job().out
    assert job.counts == {ADA: 2, GRACE: 2}


def test_an_edition_of_its_own_goes_to_everybody_once(job: Job) -> None:
    for edition in ("2026-W48", "2026-W49"):
        assert job("--edition", edition).code == 0
        assert job("--edition", edition).code == 3
    assert job.counts == {ADA: 2, GRACE: 2}
    job.people(ADA, GRACE, JEAN)
    assert "1 is new" in job("--edition", "2026-W49").err
    assert job("--edition", "2026-W49", "--only-new").code == 0
    assert job.counts == {ADA: 2, GRACE: 2, JEAN: 1}


def test_people_on_another_list_are_nobodys_business(job: Job) -> None:
    assert job().code == 0
    job.people(JEAN, MARY)
    assert job().code == 0, "no overlap, no refusal"
    assert job.counts == dict.fromkeys((ADA, GRACE, JEAN, MARY), 1)


def test_a_rehearsal_reaches_nobody_and_stops_nobody(job: Job) -> None:
    assert job("--rehearse").code == 0
    assert job().code == 0
    job.people(ADA, GRACE, JEAN)
    assert job("--rehearse").code == 0
    assert job().code == 3
    assert job.counts == {ADA: 1, GRACE: 1}


def test_an_interrupted_only_new_is_resumed_by_the_same_command(job: Job) -> None:
    assert job().code == 0
    job.people(ADA, GRACE, JEAN, MARY)
    assert job("--only-new", "--limit", "1").code == 0
    done = job("--only-new")
    assert "resuming run" in done.out, done
    assert job.counts == dict.fromkeys((ADA, GRACE, JEAN, MARY), 1)


def test_a_plain_start_never_finishes_what_a_new_run_left_behind(job: Job) -> None:
    assert job("--limit", "1").code == 0
    assert job("--new-run").code == 0
    counts = job.counts
    for arguments in ((), ("--resume",), ("--only-new",)):
        job(*arguments)
        assert job.counts == counts, arguments


def test_plan_and_preview_show_who_is_new(job: Job) -> None:
    assert job().code == 0
    job.people(ADA, GRACE, JEAN)
    plan = job("--only-new", "--json", command="plan").json
    assert (plan["messages"], plan["skipped"]) == (1, {"already_sent": 2})
    preview = job("--only-new", "--format", "jsonl", command="preview")
    assert JEAN in preview.out
    assert ADA not in preview.out
    explained = job("--only-new", "--explain", "2", command="plan")
    assert "had it, or may have had it, from run " in explained.out


def test_a_written_plan_is_held_against_what_happened_since(job: Job) -> None:
    job.people(ADA, GRACE)
    assert job("--out", "written", command="plan").code == 0
    job.people(GRACE, JEAN)
    assert job().code == 0
    done = job.sender("send", "written", "--yes", "--wait", "0", **job.provider.env)
    assert done.code == 3, done
    assert job.counts == {GRACE: 1, JEAN: 1}


def test_a_rehearsed_retry_reaches_nobody_and_is_none_of_the_live_runs(job: Job) -> None:
    job.people(ADA, UNREACHABLE)
    assert job.sender("send", "offer.yaml", "--yes", "--wait", "30", **job.provider.env).code == 1
    counts = job.counts
    rehearsed = job("--rehearse", command="retry")
    assert "simulated, nothing leaves this machine" in rehearsed.out, rehearsed
    assert job.counts == counts
    assert "retry 1 of run" in job(command="retry").err, "the first that is real"
    assert job.counts == {ADA: 1, UNREACHABLE: 2}
    kinds = [run["kind"] for run in job.sender("status", "--json").json]
    assert sorted(kinds) == ["live", "live", "rehearsal"]
