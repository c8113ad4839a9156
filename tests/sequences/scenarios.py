"""For each rule the shortest sequence that needs it, and what its loss must show."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.sequences.steps import CAP, Close, Edit, Forget, Pause, Reply, Retry, Send, Step, Suppress
from tests.sequences.world import PEOPLE

ADA = PEOPLE[1].number
LAST = PEOPLE[7].number
HALF_WAY = ("claim:after", 1)


@dataclass(frozen=True)
class Scenario:
    """`shows` is the field of the tally that counts what goes wrong without the rule."""

    shows: str
    steps: tuple[Step, ...]
    dialect: str = "twilio"
    faults: dict[str, list[str]] = field(default_factory=dict)


SCENARIOS = {
    "forget_whom_earlier_runs_reached": Scenario(
        "repeats",
        (Edit("offer", "a person is dropped"), Send("offer"), Edit("offer", "people are added"), Send("offer")),
    ),
    "count_only_what_was_accepted_as_reached": Scenario(
        "repeats",
        (
            Send("offer", ("--on-unknown", "hold")),
            Edit("offer", "the text changes"),
            Send("offer", ("--only-new", "--on-unknown", "hold")),
        ),
        faults={ADA: ["reset-after", "reset-after"]},
    ),
    "ask_the_list_only_when_planning": Scenario(
        "after_opt_out", (Send("offer", kill=HALF_WAY), Suppress(LAST), Send("offer"))
    ),
    "read_suppression_files_only_when_planning": Scenario(
        "after_opt_out", (Send("offer", kill=HALF_WAY), Suppress(LAST, "offer"), Send("offer"))
    ),
    "send_a_rehearsal_for_real": Scenario("misreports", (Send("offer", ("--rehearse",)),)),
    "retry_everybody": Scenario("repeats", (Send("offer"), Retry("offer"))),
    "ignore_the_edition": Scenario("missed", (Send("offer"), Edit("offer", "a new edition"), Send("offer"))),
    "hear_every_start_as_new": Scenario(
        "after_opt_out",
        (
            Send("news"),
            Reply(ADA, "STOP"),
            Reply(ADA, "START"),
            Reply(ADA, "STOP"),
            Reply(ADA, "START", again=True),
            Send("offer"),
        ),
    ),
    "leave_closed_runs_open": Scenario("misreports", (Send("offer", kill=HALF_WAY), Close("offer"), Send("offer"))),
    "let_replaced_runs_go_on": Scenario(
        "repeats", (Send("offer", kill=HALF_WAY), Send("offer", ("--new-run",)), Send("offer", ("--resume",)))
    ),
    "look_for_the_state_where_one_stands": Scenario("repeats", (Send("offer"), Send("offer", away=True))),
    "resend_what_a_retry_took_over": Scenario(
        "repeats",
        (
            Send("offer", ("--on-unknown", "hold")),
            Retry("offer", ("--include-unknown", "--on-unknown", "hold")),
            Send("offer", ("--resend-unknown", "--on-unknown", "hold")),
        ),
        faults={ADA: ["html", "429"]},
    ),
    "take_any_log_entry_that_fits": Scenario(
        "misreports",
        (Send("offer", ("--on-unknown", "hold")), Send("news", ("--on-unknown", "hold")), Send("news")),
        dialect="signalwire",
        faults={ADA: ["reset-after", "reset-before"]},
    ),
    "send_in_spite_of_a_pause": Scenario("misreports", (Send("offer", kill=HALF_WAY), Pause("offer"), Send("offer"))),
    "take_no_notice_of_caps": Scenario("repeats", (Edit("news", CAP), Send("offer"), Send("news"))),
    "forget_that_erased_people_were_reached": Scenario(
        "repeats", (Send("offer"), Forget(ADA), Edit("offer", "the text changes"), Send("offer", ("--only-new",)))
    ),
    "take_orphans_for_pending": Scenario("repeats", (Send("offer", kill=("send:after", 3)), Send("offer"))),
}
