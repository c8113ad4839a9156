"""Windows from the campaign to the phone: who is texted now, who waits, who is left out, on any machine's clock."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime

import polars as pl
import pytest

from sender.core import clock
from sender.state.open import open_state
from tests.cli.conftest import Sandbox, Shell
from tests.state.conftest import DATABASES, give_back, lent, new_database, servers, state_pools  # noqa: F401 (fixtures)

Start = Callable[..., Sandbox]
CAMPAIGN = """\
name: offer
provider: sandbox
from: "+12025550150"
rate: none
recipients: {file: people.csv, allow_types: toll_free}
message: {body: "Hi {{ name }}"}
window: {hours: "09:00-20:00"}
"""
# Washington, Chicago, Los Angeles, London
PEOPLE = "name,phone\nAda,+12025550101\nBo,+13125550102\nCy,+12135550103\nFlo,+442079460018\n"
NOON_UTC = datetime(2026, 11, 30, 12, tzinfo=UTC)  # 07:00, 06:00, 04:00, 12:00


class Hands:
    """The hands of the machine's clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ms = 0
        monkeypatch.setattr(clock, "time_of_day_ms", lambda: self.ms)
        monkeypatch.setattr("sender.state.sqlite.ledger.wall_clock_ms", lambda: lambda: self.ms)
        self.set(NOON_UTC)

    def set(self, at: datetime) -> None:
        self.ms = int(at.timestamp() * 1000)

    def set_hour(self, hour: float, day: int = 30) -> None:
        """To that hour UTC of a day of November 2026."""
        self.ms = int((datetime(2026, 11, day, tzinfo=UTC).timestamp() + hour * 3600) * 1000)


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    return Hands(monkeypatch)


@pytest.fixture
def offer(sender: Shell) -> Shell:
    sender.write("offer.yaml", CAMPAIGN)
    sender.write("people.csv", PEOPLE)
    return sender


def send(shell: Shell, *options: str) -> tuple[int, str]:
    done = shell("send", "offer.yaml", "--yes", "--wait", "0", *options)
    return done.code, done.out + done.err


def sent_to(shell: Shell) -> set[str]:
    frame = shell.results()
    return set(frame.filter(pl.col("message_id").is_not_null())["name"])


def test_what_may_leave_goes_and_the_rest_when_its_window_opens(offer: Shell, hands: Hands) -> None:
    code, printed = send(offer, "--no-hold")
    assert code == 130
    assert "1 may leave now, 3 are held" in printed
    assert sent_to(offer) == {"Flo"}
    hands.set_hour(14)  # 09:00 in Washington, 08:00 in Chicago
    assert send(offer, "--no-hold")[0] == 130
    assert sent_to(offer) == {"Flo", "Ada"}
    hands.set_hour(17)
    assert send(offer, "--no-hold")[0] == 0
    assert sent_to(offer) == {"Flo", "Ada", "Bo", "Cy"}
    assert offer.results()["name"].to_list() == ["Ada", "Bo", "Cy", "Flo"]


FIXED_ZONES = {
    "Pacific/Honolulu": -10, "America/Phoenix": -7, "America/Bogota": -5, "America/Argentina/Buenos_Aires": -3,
    "Africa/Abidjan": 0, "Africa/Lagos": 1, "Asia/Dubai": 4, "Asia/Bangkok": 7, "Asia/Tokyo": 9, "Pacific/Tarawa": 12,
}  # fmt: skip


@pytest.mark.parametrize("ahead_h", [6, -11])
def test_over_a_database_its_clock_says_what_hour_it_is(
    offer: Shell,
    new_database: Callable[[str], str],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    ahead_h: int,
) -> None:
    """Of several machines one may be wrong by hours; each of them sends."""
    hour, time_ns = datetime.now(UTC).hour, time.time_ns
    wanted = range(4, 9) if ahead_h > 0 else range(15, 19)  # closed, and open by the other clock; or open, and closed
    name = next(zone for zone, offset in FIXED_ZONES.items() if (hour + offset) % 24 in wanted)
    offer.write("offer.yaml", CAMPAIGN.replace('"09:00-20:00"', f'"09:00-20:00", zone: {name}'))
    monkeypatch.setattr(clock, "time_of_day_ms", lambda: time_ns() // 1_000_000 + ahead_h * 3_600_000)
    url = new_database(DATABASES[0])
    done = offer("send", "offer.yaml", "--yes", "--wait", "0", "--no-hold", "--state", url)
    with open_state(url) as state:
        counts = state.ledger.counts(state.ledger.runs()[0].run_id)
    assert (done.code, counts.accepted, counts.pending) == ((130, 0, 4) if ahead_h > 0 else (0, 4, 0)), done


def test_a_canary_that_may_not_leave_yet_decides_nothing(offer: Shell, hands: Hands) -> None:
    offer.write("offer.yaml", CAMPAIGN + "canary: {first: 2, wait: 1s}\n")
    offer.write("people.csv", PEOPLE + "Gus,+442079460019\nHal,+442079460021\n")
    hands.set_hour(5)
    code, printed = send(offer, "--no-hold")
    assert (code, sent_to(offer)) == (130, set()), printed
    assert "is stopped" not in printed
    hands.set_hour(9)
    code, printed = send(offer, "--no-hold")
    assert "0 of the 2 messages sent have a receipt" in printed, (
        "the whole canary is judged; no receipt comes this hour"
    )
    assert len(sent_to(offer)) == 2


def test_what_misses_its_window_expires_and_is_not_carried_over(offer: Shell, hands: Hands) -> None:
    assert send(offer, "--no-hold")[0] == 130
    hands.set_hour(38)  # 14:00 on 1 December
    code, printed = send(offer, "--no-hold")
    assert code == 1, printed
    frame = offer.results()
    assert dict(frame.select("name", "status").iter_rows())["Ada"] == "canceled"
    assert set(frame.filter(pl.col("status") == "canceled")["reason"]) == {"expired"}


def test_the_status_says_what_is_held_until_when(offer: Shell, hands: Hands) -> None:
    send(offer, "--no-hold")
    status = offer("status", "offer")
    assert "held: 1 until Mon 2026-11-30 09:00 EST (America/New_York), held by window" in status.out
    held = offer("status", "offer", "--json").json["held"]
    assert [(group["messages"], group["zones"]) for group in held] == [
        (1, ["America/New_York"]),
        (1, ["America/Chicago"]),
        (1, ["America/Los_Angeles"]),
    ]


@pytest.mark.parametrize(
    ("window", "options", "code", "says", "sent"),
    [
        ("outside: skip", (), 3, "3 messages would not be sent", None),
        ("outside: skip", ("--allow-missed",), 1, "3 will not be sent", {"Flo"}),
        ("deadline: '2026-11-30T15:30 UTC'", (), 3, "1 message would not be sent", None),
        ("deadline: '2026-11-30T12:30 UTC'", ("--allow-missed",), 1, "3 will not be sent", {"Flo"}),
        ("zone: Europe/London", (), 0, "all 4 may leave now", {"Ada", "Bo", "Cy", "Flo"}),
        ("days: tue-fri, outside: skip", ("--allow-missed",), 1, "4 will not be sent", set()),
    ],
)
def test_what_is_dropped_is_asked_about(
    offer: Shell, hands: Hands, window: str, options: tuple[str, ...], code: int, says: str, sent: set[str] | None
) -> None:
    offer.write("offer.yaml", CAMPAIGN.replace('"09:00-20:00"', f'"09:00-20:00", {window}'))
    got, printed = send(offer, "--no-hold", *options)
    assert says in printed
    assert got == code, printed
    if sent is None:
        assert "no runs yet" in offer("status").out
    else:
        assert sent_to(offer) == sent


def test_skipped_ones_say_so(offer: Shell, hands: Hands) -> None:
    send(offer, "--outside", "skip", "--allow-missed")
    assert set(offer.results().filter(pl.col("status") == "canceled")["reason"]) == {"quiet_hours"}


def test_transactional_messages_wait_for_nothing(offer: Shell, hands: Hands) -> None:
    code, printed = send(offer, "--purpose", "transactional")
    assert (code, "may leave now" in printed) == (0, False)


def test_a_rehearsal_waits_for_nothing(offer: Shell, hands: Hands) -> None:
    offer.write("offer.yaml", CAMPAIGN.replace("sandbox", "twilio"))
    code, printed = send(offer, "--rehearse")
    assert code == 0
    assert "3 are held" in printed
    assert len(sent_to(offer)) == 4


def test_the_first_of_the_file_stay_the_first(offer: Shell, hands: Hands) -> None:
    hands.set_hour(18)  # all are open; London closes first
    assert send(offer, "--limit", "2")[0] == 0
    assert sent_to(offer) == {"Ada", "Bo"}
    assert send(offer)[0] == 0
    assert len(sent_to(offer)) == 4


def test_live_marketing_to_the_united_states_keeps_the_federal_hours(
    offer: Shell, hands: Hands, sandbox: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sending.run", "delivery.reconcile"):  # the sandbox has the real time
        monkeypatch.setattr(f"sender.{module}.clocks_apart_s", lambda *_: None)
    offer.write("offer.yaml", CAMPAIGN.replace("sandbox", "twilio").replace("window:", "#"))
    server = sandbox()
    done = offer("send", "offer.yaml", "--yes", "--wait", "0", "--no-hold", **server.env, SENDER_RULES="us")
    assert done.code == 130, done
    assert "1 may leave now, 3 are held under us" in done.out
    assert sent_to(offer) == {"Flo"}
    hands.set_hour(14)  # 08:00 in Chicago
    offer("send", "offer.yaml", "--yes", "--wait", "0", "--no-hold", **server.env, SENDER_RULES="us")
    assert sent_to(offer) == {"Flo", "Ada", "Bo"}


@pytest.mark.parametrize(
    ("window", "says", "fix"),
    [
        ('{hours: "21:00-02:00"}', "window.hours", "21:00"),
        ('{hours: "25:00-26:00"}', "window.hours", "00:00 to 24:00"),
        ("{days: someday}", "window.days", "mon-sat"),
        ("{hours: 09:00-20:00, zone: Europe/Nowhere}", "window.zone", "time zone"),
        ("{holidays: [XX]}", "window.holidays", ""),
        ("{rules: [moon]}", "window.rules", "moon"),
        ("{outside: never}", "window.outside", "hold"),
        ("{hour: 9}", "window.hour", "docs/campaign.md"),
        ("{deadline: tomorrow}", "window.deadline", "2026-12-01T"),
        ("{deadline: '2020-01-01T00:00 UTC'}", "window.deadline", "past"),
    ],
)
def test_an_impossible_window_names_file_line_key_and_fix(
    offer: Shell, hands: Hands, window: str, says: str, fix: str
) -> None:
    offer.write("offer.yaml", CAMPAIGN.replace('{hours: "09:00-20:00"}', window))
    done = offer("plan", "offer.yaml")
    assert done.code == 2
    assert "offer.yaml, line 7" in done.err
    assert says in done.err
    assert fix in done.err
    assert "fix:" in done.err or "write" in done.err


def test_an_explicit_validity_longer_than_the_window_is_an_error(offer: Shell, hands: Hands) -> None:
    campaign = CAMPAIGN.replace("sandbox", "twilio").replace("09:00-20:00", "09:00-12:00")
    offer.write("offer.yaml", campaign + "validity_period: 14400\n")
    done = offer("plan", "offer.yaml")
    assert (done.code, "validity_period is 14400 s" in done.err) == (2, True)
    offer.write("offer.yaml", campaign + "validity_period: 3600\n")
    assert offer("plan", "offer.yaml").code == 0


def test_the_plan_says_when_in_json_too(offer: Shell, hands: Hands) -> None:
    offer.write("people.csv", PEOPLE + "Toll,+18005550105\nEve,+61491570156\n")
    for words in (("plan", "offer.yaml", "--json"), ("send", "offer.yaml", "--dry-run", "--json")):
        when = offer(*words).json["when"]
        assert (when["leave_now"], when["held_messages"], when["missed"], when["unknown_zone"]) == (1, 5, 0, 2)
        assert sum(group["messages"] for group in when["held"]) == 5
    assert "2 recipients may be anywhere in the country" in offer("plan", "offer.yaml").out
    offer.write("offer.yaml", CAMPAIGN.replace('window: {hours: "09:00-20:00"}', ""))
    assert offer("plan", "offer.yaml", "--json").json["when"] is None


def test_the_preview_says_when(offer: Shell, hands: Hands) -> None:
    rows = [json.loads(line) for line in offer("preview", "offer.yaml", "--format", "jsonl").out.splitlines()]
    assert [row["not_before"][:16] for row in rows] == [
        "2026-11-30T14:00",
        "2026-11-30T15:00",
        "2026-11-30T17:00",
        "2026-11-30T12:00",
    ]
    assert rows[0]["zone"] == "America/New_York"
    offer("preview", "offer.yaml", "--html", "page.html")
    page = (offer.folder / "page.html").read_text()
    assert "When they leave" in page
    assert "09:00 EST" in page


def test_the_explanation_names_the_evidence(offer: Shell, hands: Hands) -> None:
    offer.write(
        "people.csv",
        "name,phone,timezone,zip,state\n"
        "Ada,+12025550101,,,\n"
        "Bo,+13125550102,America/Denver,99999,Tennessee\n"
        "Cy,+12705550103,,,\n",
    )
    printed = {row: " ".join(offer("plan", "offer.yaml", "--explain", row).out.split()) for row in "234"}
    opens = "later; open Mon 2026-11-30"
    assert "America/New_York, by its area code +1202; in US and US-DC" in printed["2"]
    assert "its country US alone gives America/Adak or America/Anchorage or" in printed["2"]
    assert "held by window" in printed["2"]
    assert "America/Denver, by its time zone America/Denver; in" in printed["3"]
    assert "its ZIP 99999 gives nothing: " in printed["3"]
    assert f"its state Tennessee alone gives America/Chicago or America/New_York: {opens} 09:00 CST" in printed["3"]
    assert f"its area code +1312 alone gives America/Chicago: {opens} 09:00 CST" in printed["3"]
    assert f"in America/New_York alone: {opens} 09:00 EST" in printed["4"]
    assert f"in America/Chicago alone: {opens} 09:00 CST" in printed["4"]


def test_each_start_says_what_is_held(offer: Shell, hands: Hands) -> None:
    done = offer("send", "offer.yaml", "--yes", "--wait", "0", "--no-hold")
    assert "--no-hold: 3 messages held, the first until Mon 2026-11-30 09:00 EST (America/New_York)" in done.out
    assert "3 held until Mon 2026-11-30 09:00 PST (America/Los_Angeles) at the latest" in done.err
    (run,) = offer("status", "--json").json
    again = offer("resume", run["run_id"], "--yes", "--wait", "0", "--no-hold")
    assert "held: 1 until Mon 2026-11-30 09:00 CST (America/Chicago), held by window" in again.out
    told = offer("send", "offer.yaml", "--yes", "--wait", "0", "--no-hold", "--json").json
    assert [group["messages"] for group in told["held"]] == [1, 1, 1]
    hands.set_hour(17)
    assert offer("send", "offer.yaml", "--yes", "--wait", "0", "--json").json["held"] == []


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--outside", "skip", "3 will not be sent"),
        ("--window-days", "tue", "0 may leave now, 4 are held"),
        ("--window-zone", "Europe/London", "all 4 may leave now"),
        ("--deadline", "2026-11-30T12:30 UTC", "3 will not be sent"),
        ("--window", "11:00-13:00", "1 may leave now, 3 are held"),
    ],
)
def test_an_option_completes_a_window_of_hours_alone(
    offer: Shell, hands: Hands, option: str, value: str, says: str
) -> None:
    offer.write("offer.yaml", CAMPAIGN.replace('{hours: "09:00-20:00"}', '"09:00-20:00"'))
    done = offer("plan", "offer.yaml", option, value)
    assert (done.code, says in done.out) == (0, True), done


def test_a_folder_has_a_window_for_all_its_campaigns(offer: Shell, hands: Hands) -> None:
    offer.write("sender.toml", '[window]\nhours = "09:00-12:00"\nzone = "Europe/London"\n')
    offer.write("offer.yaml", CAMPAIGN.replace('window: {hours: "09:00-20:00"}', ""))
    assert "all 4 may leave now" not in offer("plan", "offer.yaml").out, "noon is the end"
    offer.write("offer.yaml", CAMPAIGN.replace('{hours: "09:00-20:00"}', "09:00-13:00"))
    assert "all 4 may leave now" in offer("plan", "offer.yaml").out, "the folder's zone, and the campaign's hours"
    offer.write("sender.toml", '[window]\nhours = "9 to noon"\n')
    done = offer("plan", "offer.yaml", "--window", "09:00-13:00")
    assert done.code == 0, done
    offer.write("sender.toml", '[window]\ndeadline = "2026-12-01T09:00 UTC"\n')
    assert "unknown key" in offer("plan", "offer.yaml").err
