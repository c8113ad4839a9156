"""`send_at`: a time that the provider would refuse is refused while the campaign is planned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sender import build_plan, load_campaign
from sender.core import clock
from sender.core.errors import InputError, Unsupported
from sender.plan.plan import Plan
from sender.planning.scheduled_at import describe_send_at, refuse_past_times

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)  # 07:00 in New York
NOW_MS = round(NOW.timestamp() * 1000)
DAY = 86_400
SERVICE = "MG" + "0" * 32
PEOPLE = [{"phone": "+442079460101", "when": "x"}, {"phone": "+442079460102", "when": "x"}]


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "time_of_day_ms", lambda: NOW_MS)
    monkeypatch.delenv("SENDER_RULES", raising=False)


def ahead(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat()


def plan(send_at: str, provider: str = "twilio", **keys: Any) -> Plan:
    given: dict[str, Any] = {"provider": provider, "from_": SERVICE, "message": "Hi", "recipients": {"rows": PEOPLE}}
    if provider == "telnyx":
        given["from_"] = "+12025550100"
    return build_plan(load_campaign(**{**given, "send_at": send_at, **keys}))


@pytest.mark.parametrize(
    ("provider", "seconds", "says"),
    [
        pytest.param("twilio", -1, "is past; Twilio takes 5 min to 35 d", id="twilio, past"),
        pytest.param("twilio", -400 * DAY, "is past", id="twilio, last year"),
        pytest.param("twilio", 0, "is 0 s ahead", id="twilio, now"),
        pytest.param("twilio", 299, "is 4 min 59 s ahead", id="twilio, too soon"),
        pytest.param("twilio", 300, None, id="twilio, just far enough"),
        pytest.param("twilio", 35 * DAY, None, id="twilio, the last moment"),
        pytest.param("twilio", 35 * DAY + 1, "is 35 d ahead; Twilio takes 5 min to 35 d", id="twilio, too late"),
        pytest.param("telnyx", -1, "is past; Telnyx takes 5 min to 5 d", id="telnyx, past"),
        pytest.param("telnyx", 299, "ahead; Telnyx takes 5 min to 5 d", id="telnyx, too soon"),
        pytest.param("telnyx", 5 * DAY, None, id="telnyx, the last moment"),
        pytest.param("telnyx", 5 * DAY + 1, "ahead; Telnyx takes 5 min to 5 d", id="telnyx, too late"),
    ],
)
def test_the_providers_limits_count(provider: str, seconds: float, says: str | None) -> None:
    if says is None:
        assert plan(ahead(seconds), provider).manifest.messages == 2
        return
    with pytest.raises(Unsupported, match="send_at") as refused:
        plan(ahead(seconds), provider)
    assert says in str(refused.value)


def test_it_counts_from_the_start() -> None:
    start = "2026-12-01T09:00 Europe/London"
    assert plan("2026-12-01T09:30:00Z", start=start).manifest.messages == 2
    with pytest.raises(Unsupported, match="is past"):
        plan("2026-11-30T09:30:00Z", start=start)


def test_the_sandbox_takes_what_the_provider_takes() -> None:
    assert plan(ahead(600), "sandbox", sandbox={"dialect": "twilio"}).manifest.messages == 2
    with pytest.raises(Unsupported, match="is past"):
        plan(ahead(-600), "sandbox", sandbox={"dialect": "twilio"})


def test_a_rows_own_time_is_refused_with_its_row() -> None:
    cells = [ahead(3600), ahead(-60), ahead(60), ahead(36 * DAY), "soon"]
    rows = [{"phone": f"+44207946010{n}", "when": cell} for n, cell in enumerate(cells)]
    made = plan("{{ when }}", recipients={"rows": rows})
    assert made.frame["reason"].to_list() == [None, *["render_error"] * 4]
    past, soon, late, word = made.skipped["detail"]
    assert past == "field `send_at`: Sun 2026-11-29 11:59 UTC is past; Twilio takes 5 min to 35 d"
    assert "is 1 min ahead" in soon
    assert "is 36 d ahead" in late
    assert "not an ISO 8601 time" in word


AMERICANS = {"rows": [{"phone": "+12025550101"}, {"phone": "+12125550102"}, {"phone": "+13105550103"}]}


@pytest.mark.parametrize(
    ("at", "keys", "says"),
    [
        pytest.param("2026-12-01T14:00:00-05:00", {}, None, id="within everybody's hours"),
        pytest.param("2026-12-01T03:00:00-05:00", {}, "03:00 EST in America/New_York", id="at night"),
        pytest.param("2026-12-01T09:00:00-05:00", {}, "06:00 PST in America/Los_Angeles", id="at night for one of them"),
        pytest.param("2026-12-01T03:00:00-05:00", {"purpose": "transactional"}, None, id="transactional"),
        pytest.param("2026-12-01T12:00:00Z", {"recipients": {"rows": PEOPLE}, "window": "09:00-18:00"}, None, id="own window"),
        pytest.param("2026-12-01T19:00:00Z", {"recipients": {"rows": PEOPLE}, "window": "09:00-18:00"}, "19:00 GMT in Europe/London", id="after the own window"),
    ],
)  # fmt: skip
def test_a_time_outside_a_recipients_window_is_refused(at: str, keys: dict[str, Any], says: str | None) -> None:
    """The provider holds the message until `send_at` and no longer, whatever the clock of the recipient says."""
    campaign = {"recipients": AMERICANS, **keys}
    if says is None:
        assert plan(at, **campaign).manifest.messages
        return
    with pytest.raises(Unsupported, match="outside the window of the recipient in row") as refused:
        plan(at, **campaign)
    assert says in str(refused.value)


def test_a_plan_that_is_sent_later_is_refused_once_its_time_is_past(tmp_path: Path) -> None:
    made = plan(ahead(3600)).write(tmp_path / "plan")
    refuse_past_times(made, NOW_MS)
    with pytest.raises(InputError, match=r"is past.*\n.*plan the campaign again"):
        refuse_past_times(Plan.open(tmp_path / "plan"), NOW_MS + 3600_001)
    own = plan(
        "{{ when }}", recipients={"rows": [{**PEOPLE[0], "when": ahead(3600)}, {**PEOPLE[1], "when": ahead(9 * DAY)}]}
    )
    refuse_past_times(own, NOW_MS)
    with pytest.raises(InputError, match="4 min 59 s ahead"):
        refuse_past_times(own, NOW_MS + 3301_000)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param("2026-12-01T09:00:00Z", "Tue 2026-12-01 09:00 UTC", id="UTC"),
        pytest.param("2026-12-01T09:00:00-05:00", "Tue 2026-12-01 09:00 UTC-05:00 (14:00 UTC)", id="an offset"),
        pytest.param("2026-12-01T21:00:00-05:00", "Tue 2026-12-01 21:00 UTC-05:00 (02:00 on 2026-12-02 UTC)", id="another day"),
        pytest.param("{{ when }}", "{{ when }}, in each row", id="each row's own"),
    ],
)  # fmt: skip
def test_it_is_shown_with_both_clocks(value: str, shown: str) -> None:
    rows = {"rows": [{"phone": "+442079460101", "when": ahead(DAY)}]}
    assert describe_send_at(plan(value, recipients=rows).manifest) == shown


def test_without_it_nothing_is_shown() -> None:
    made = build_plan(load_campaign(provider="sandbox", from_="+12025550100", message="Hi", recipients=PEOPLE))
    assert describe_send_at(made.manifest) is None
