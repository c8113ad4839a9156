"""The law of windows, from the campaign to the claim: random zones, dates, hours, and changes of clocks.

What the clock on the wall shows is worked out here by `datetime` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sender import build_plan, load_campaign
from sender.core.outcomes import SubmissionState
from sender.plan.plan import Plan
from sender.plan.waves import Waves
from sender.rules.zones import spellings, zone
from sender.sending.claim_order import arrange_run
from sender.sending.send_windows import SendWindows
from sender.state.sqlite.ledger import SqliteLedger
from tests.profiles import examples
from tests.state.ledger.conftest import FakeClock
from tests.state.ledger.steps import ACCEPTED, LEASE_MS, RUN, record

HOUR_MS = 3_600_000
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# Half hours, midnights that occur twice or never, a change of two hours, a Ramadan, both sides of the date line.
HARD_ZONES = (
    "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago", "Asia/Beirut", "Antarctica/Troll", "Africa/Casablanca",
    "Pacific/Apia", "Pacific/Kiritimati", "Pacific/Chatham", "America/St_Johns", "Asia/Kathmandu", "America/New_York",
    "Europe/London", "America/Havana", "Pacific/Pago_Pago", "America/Nuuk",
)  # fmt: skip
# Evidence that leaves several zones: a number for everywhere in the country, a code and a state across a border.
AMBIGUOUS = ({"phone": "+18005550101"}, {"phone": "+12705550102"}, {"phone": "+16155550103", "state": "Tennessee"})


@cache
def changes(name: str) -> tuple[datetime, ...]:
    """The hours of some years, UTC, in which the clocks of the zone change."""
    place, found = zone(name), []
    at, offset = datetime(2025, 1, 1, tzinfo=UTC), None
    while at.year < 2028:
        now = at.astimezone(place).utcoffset()
        if offset is not None and now != offset:
            found.append(at)
        offset, at = now, at + timedelta(hours=1)
    return tuple(found)


def near_a_change(name: str) -> st.SearchStrategy[datetime]:
    anywhere = st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31)).map(lambda at: at.replace(tzinfo=UTC))
    if not changes(name):
        return anywhere
    near = st.tuples(st.sampled_from(changes(name)), st.floats(-30, 6)).map(lambda to: to[0] + timedelta(hours=to[1]))
    return near | anywhere


# As cells may have them: `EST` and `MST` are held, since people do not mean what IANA does.
NAMES = st.sampled_from(HARD_ZONES) | st.sampled_from(sorted(spellings().values()))
QUARTERS = st.lists(st.integers(0, 96), min_size=2, max_size=6, unique=True).map(
    lambda quarters: sorted(quarters)[: len(quarters) // 2 * 2]
)
CAMPAIGNS = st.lists(NAMES, min_size=1, max_size=4).flatmap(
    lambda names: st.tuples(st.just(names), st.sampled_from(names).flatmap(near_a_change))
)


def spelled(quarters: Sequence[int]) -> str:
    clock = [f"{quarter // 4:02}:{quarter % 4 * 15:02}" for quarter in quarters]
    return ", ".join(f"{start}-{end}" for start, end in zip(clock[::2], clock[1::2], strict=True))


def plan_of(names: Sequence[str], window: dict[str, object], begins: datetime) -> Plan:
    people = [
        {"phone": f"+1202555{n:04}", "timezone": name, "state": ""} for n, name in enumerate(names * 2, start=110)
    ] + [{"timezone": "", "state": "", **row} for row in AMBIGUOUS]
    campaign = load_campaign(
        {"name": "law", "provider": "sandbox", "from": "+12025550100"},
        recipients={"rows": people, "allow_types": ["toll_free"]},
        message="Hi",
        window=window,
    )
    plan = build_plan(campaign)
    assert plan.manifest.messages == len(people)
    return arrange_run(plan, int(begins.timestamp() * 1000), waits=True)


def is_allowed(at_ms: int, place: ZoneInfo, quarters: Sequence[int], days: set[str], holidays: set[date]) -> bool:
    """Whether the clock on that wall shows an hour, a day and a date on which messages may leave."""
    wall = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(place)
    quarter = wall.hour * 4 + (wall.minute + wall.second / 60 + wall.microsecond / 60e6) / 15
    spans = zip(quarters[::2], quarters[1::2], strict=True)
    open_now = any(start <= quarter < end for start, end in spans)
    return open_now and DAYS[wall.weekday()] in days and wall.date() not in holidays


class Life:
    """One run, and the clock that it and its windows look at."""

    def __init__(self, folder: Path, plan: Plan, begins: datetime) -> None:
        self.clock = FakeClock()
        self.clock.ms = int(begins.timestamp() * 1000)
        self.waves = Waves.of(plan.manifest.waves)
        messages = plan.manifest.messages
        self.ledger = SqliteLedger.open(folder / "ledger.sqlite3", clock=self.clock)
        self.ledger.create_run(replace(RUN, rows=messages, messages=messages, skipped=0))
        self.restart()

    def restart(self) -> None:
        self.windows = SendWindows(self.waves, clock_ms=self.clock)

    def claim(self, limit: int) -> list[int]:
        bound = self.windows.bound(self.ledger, RUN.run_id)
        claims = self.ledger.claim(RUN.run_id, limit=limit, lease_ms=LEASE_MS, below_seq=bound)
        for one in claims:
            record(self.ledger, one, ACCEPTED._replace(message_id=f"SM{one.seq}"))
        if not claims:
            self.windows.look_again()
        return [one.seq for one in claims]


@pytest.mark.parametrize("outside", ["hold", "expire", "skip"])
@given(
    campaign=CAMPAIGNS,
    quarters=QUARTERS,
    days=st.sets(st.sampled_from(DAYS), min_size=3),
    holiday=st.none() | st.integers(-1, 2),
    steps=st.lists(st.tuples(st.floats(0, 7), st.integers(0, 5), st.booleans()), max_size=25),
)
@example(
    (["Asia/Beirut"], changes("Asia/Beirut")[0] - timedelta(hours=3)), [0, 8], {*DAYS}, None, [(0.25, 5, False)] * 25
)
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_message_leaves_outside_its_window_in_any_zone_it_may_be_for(
    outside: str,
    campaign: tuple[list[str], datetime],
    quarters: list[int],
    days: set[str],
    holiday: int | None,
    steps: list[tuple[float, int, bool]],
) -> None:
    names, begins = campaign
    holidays = set() if holiday is None else {begins.date() + timedelta(days=holiday)}
    window: dict[str, object] = {
        "hours": spelled(quarters),
        "days": ", ".join(day for day in DAYS if day in days),
        "holidays": [str(day) for day in holidays],
        "outside": outside,
    }
    plan = plan_of(names, window, begins)
    candidates = [[zone(name) for name in zones.split("|")] for zones in plan.messages["zone"]]
    left: set[int] = set()
    with TemporaryDirectory() as folder:
        life = Life(Path(folder), plan, begins)
        for hours, limit, restarts in [*steps, *[(0.5, 100, False)] * 60]:
            life.clock.ms += round(hours * HOUR_MS)
            if restarts:
                life.restart()
            for seq in life.claim(limit):
                for place in candidates[seq]:
                    assert is_allowed(life.clock.ms, place, quarters, days, holidays), (place, life.clock.ms)
                assert seq not in left
                left.add(seq)
        life.clock.ms += 400 * 24 * HOUR_MS
        for _ in range(2 + len(life.waves)):
            assert life.claim(100) == [], "whatever has missed its window is not carried over"
        canceled = set(life.ledger.journal(RUN.run_id, states=[SubmissionState.CANCELED])["seq"])
        life.ledger.close()
    assert left | canceled == set(range(plan.manifest.messages))
    assert not left & canceled


@given(name=NAMES, quarters=QUARTERS, begins=st.datetimes(datetime(2025, 1, 1), datetime(2027, 12, 31)))
@settings(max_examples=examples(60), deadline=None)
def test_nobody_is_left_out_where_somebody_looks_all_the_time(name: str, quarters: list[int], begins: datetime) -> None:
    """Each quarter of an hour, on days on which no clock changes: everybody with one zone gets the message."""
    begins = begins.replace(tzinfo=UTC)
    near = (at for at in changes(name) if abs(at - begins) < timedelta(days=4))
    if next(near, None) is not None:
        return
    plan = plan_of([name], {"hours": spelled(quarters)}, begins)
    alone = {seq for seq, zones in plan.messages.select("seq", "zone").iter_rows() if "|" not in zones}
    with TemporaryDirectory() as folder:
        life = Life(Path(folder), plan, begins)
        left = set(life.claim(100))
        for _ in range(4 * 25):
            life.clock.ms += HOUR_MS // 4
            left.update(life.claim(100))
        life.ledger.close()
    assert left >= alone
