"""No text twice, none lost: many kills, every kind of fault, and mutants that must not get past the harness.

The table of a long run, `python -m benchmarks.crash --kills 1000`, is in docs/guarantee.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

import pytest

from sender.sandbox.fault_plan import FAULTS
from tests.crash import two_routes
from tests.crash.harness import DIALECTS, PATIENT_S, TENDER, TIMEOUT_S, Tally, campaign, many_kills
from tests.crash.scenarios import (
    CLOSES,
    IS_OPEN,
    ON_THE_WAY,
    OPENS,
    SCENARIOS,
    WindowTally,
    frozen_past_the_lease,
    windows_under_fire,
    workers_under_fire,
)
from tests.profiles import current, draw_seed

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="SIGKILL and SIGSTOP are POSIX"),
    pytest.mark.timeout(3600),  # for what hangs; eight CPU minutes in all, whatever else the machine does
]
JOBS = 3  # most of a run is waiting: for answers, for the log, for a pause to end
IS_LONG = current().name == "long"
FAULTY_MESSAGES = 300 if IS_LONG else 120

REFUSED = {"429", "429-date", "429-garbage", "no-funds"}  # a plain no
REFUSES_ONE = {"no-region"}  # for good, to one message
NOT_THERE = {"500-before", "502-before", "503-before", "reset-before", "403-page", "404-page", "407-page", "409-page"}
MIXED = {"outage"}  # takes with it what others had under way
SLOW = {"timeout-before", "timeout-after", "drip"}  # need a short timeout, which a busy machine may miss for others too


# ── Many kills ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_many_kills_double_no_text_and_lose_none(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """On a bad day: the provider has all its faults meanwhile, and is killed now and then itself."""
    seed, kills = draw_seed(), pytestconfig.getoption("--kills")
    tally = many_kills(tmp_path, kills=kills, seed=seed, jobs=JOBS)
    assert tally.clean, f"seed {seed}: {tally}"
    assert tally.kills.total() >= kills
    assert tally.fresh >= kills // 10, "every tenth life was a new Python"
    if kills >= 100:  # fewer do not come to each of them
        assert not set(TENDER) - tally.kills.keys(), tally.kills
    assert (tally.accepted, tally.unknown_left, tally.rejected) == (tally.messages, 0, 0), f"seed {seed}: {tally}"


# ── Several processes ───────────────────────────────────────────────────────────────────────────────────────────────


def test_killed_workers_and_killed_parents_double_no_text_and_lose_none(tmp_path: Path) -> None:
    seed = draw_seed()
    with ThreadPoolExecutor(JOBS) as pool:
        runs = [
            pool.submit(workers_under_fire, tmp_path / dialect, dialect, 4, seed + n)
            for n, dialect in enumerate(DIALECTS[: 3 if IS_LONG else 1])
        ]
    for run in runs:
        tally = run.result()
        assert tally.clean, f"seed {seed}: {tally}"
        assert (tally.accepted, tally.unknown_left, tally.rejected) == (tally.messages, 0, 0), f"seed {seed}: {tally}"


# ── Windows ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[WindowTally]]:
    """Runs over the edges of windows: one zone's closes meanwhile, another's opens, a third's stays open."""
    folder, seed = tmp_path_factory.mktemp("windows"), draw_seed()
    fire = partial(windows_under_fire, seed=seed)
    with ThreadPoolExecutor(JOBS) as pool:
        return {
            "one process": pool.submit(fire, folder / "one", kills=8),
            "two workers": pool.submit(fire, folder / "two", kills=8, workers=2),
            "mutant": pool.submit(fire, folder / "mutant", "no_window", kills=0),
        }


@pytest.mark.parametrize("which", ["one process", "two workers"])
def test_kills_lose_no_window_and_let_nothing_out_of_one(which: str, windows: dict[str, Future[WindowTally]]) -> None:
    end = windows[which].result()
    assert end.tally.clean, end
    assert end.outside_s == {}, end
    assert (end.accepted[IS_OPEN], end.accepted[OPENS]) == (36, 36), end
    assert end.accepted[CLOSES], end
    assert end.accepted[CLOSES] + end.canceled[CLOSES] == 108, end


def test_the_harness_sees_what_leaves_outside_of_a_window(windows: dict[str, Future[WindowTally]]) -> None:
    end = windows["mutant"].result()
    assert end.outside_s, end


# ── Two routes ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_two_providers_that_fail_in_turn_double_no_text_and_lose_none(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """`python -m benchmarks.crash --routes --kills 300` is the same with more; docs/guarantee.md has its table."""
    seed, kills = draw_seed(), max(10, pytestconfig.getoption("--kills") // 4)
    tally = two_routes.many_kills(tmp_path, kills=kills, seed=seed, jobs=JOBS)
    assert tally.clean, f"seed {seed}: {tally}"
    assert tally.kills.total() >= kills
    assert (tally.accepted + tally.rejected, tally.unknown_left) == (tally.messages, 0), f"seed {seed}: {tally}"
    assert tally.by_second, f"seed {seed}: {tally}"


# ── Nothing goes wrong ──────────────────────────────────────────────────────────────────────────────────────────


def test_without_faults_nothing_is_ever_unknown(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """`python -m benchmarks.crash --fault-free 10000` is the same."""
    messages = pytestconfig.getoption("--fault-free")
    with campaign(tmp_path / "smooth", messages=messages, dialect="twilio", rate="none", timeout_s=PATIENT_S) as target:
        target.finish()
        tally = target.judge()
    assert tally.clean, tally
    assert tally.starts == 1
    assert (tally.accepted, tally.exits[0]) == (messages, 1)
    assert (tally.unknown_found, tally.unknown_absent, tally.unknown_left) == (0, 0, 0)


# ── Every kind of fault ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def faulty_runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Tally]]:
    """A run for each kind of fault, several at a time. Of those that stop everybody for a second there are fewer."""
    folder = tmp_path_factory.mktemp("faults")

    def run(kind: str, dialect: str) -> Tally:
        chance = (3 if kind in REFUSED | MIXED else 12) / FAULTY_MESSAGES
        with campaign(
            folder / kind,
            messages=FAULTY_MESSAGES,
            dialect=dialect,
            faults=f"{kind}={chance}",
            seed=11,
            rate="none",
            timeout_s=TIMEOUT_S if kind in SLOW else PATIENT_S,
            keys=False,  # so that the log settles what is in doubt, with every provider
        ) as target:
            if kind in REFUSES_ONE:
                target.ends = (0, 1)
            target.finish()
            return target.judge()

    with ThreadPoolExecutor(JOBS) as pool:
        dialects = {kind: DIALECTS[n % 4] for n, kind in enumerate(FAULTS)}
        dialects |= dict.fromkeys(REFUSES_ONE, "twilio")  # SignalWire has no such answer
        return {kind: pool.submit(run, kind, dialect) for kind, dialect in dialects.items()}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_costs_no_text_and_doubles_none(kind: str, faulty_runs: dict[str, Future[Tally]]) -> None:
    """And each is classed for what it proves: a refusal as not sent, all others as unknown until the log has told."""
    tally = faulty_runs[kind].result()
    times = tally.faults[kind]
    assert times >= 1
    assert tally.clean, tally
    refused = times if kind in REFUSES_ONE else 0
    assert (tally.accepted, tally.rejected, tally.unknown_left) == (FAULTY_MESSAGES - refused, refused, 0), tally
    found, absent = tally.unknown_found, tally.unknown_absent
    if kind in REFUSED | REFUSES_ONE:
        assert (found, absent) == (0, 0)
    elif kind in ("answer-twice", "answer-twice-late"):
        # The first answer counts. Where the second arrives apart from it, the next request may be under way by then: that
        # one is in doubt, and found. On a busy machine what was written at once may arrive apart, too.
        assert found <= times
        assert absent == 0
    elif kind in NOT_THERE:
        assert (found, absent) == (0, times)
    elif kind in SLOW:
        assert (absent if kind == "timeout-before" else found) >= times
    elif kind not in MIXED:  # where two answers in a row have the id of the message before, the second one's is new
        assert (found + tally.misnamed, absent) == (times, 0)


# ── Mutants ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], dict[str, Future[Tally]]]:
    """Each mutant in the situation that its rule is for, or the product as it is in the same one."""

    @cache
    def run(mutated: bool) -> dict[str, Future[Tally]]:
        folder = tmp_path_factory.mktemp("scenarios")
        with ThreadPoolExecutor(JOBS) as pool:
            return {
                name: pool.submit(scenario, folder / name, name if mutated else None)
                for name, scenario in SCENARIOS.items()
            }

    return run


@pytest.mark.long
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_harness_catches_the_mutant(name: str, judged: Callable[[bool], dict[str, Future[Tally]]]) -> None:
    tally = judged(True)[name].result()
    shows = {"outcome_before_intent": tally.losses, "other_bytes": tally.unknown_left}.get(name, tally.duplicates)
    assert shows, tally


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_product_passes_where_the_mutant_fails(
    name: str, judged: Callable[[bool], dict[str, Future[Tally]]]
) -> None:
    tally = judged(False)[name].result()
    assert tally.clean, tally
    assert (tally.accepted, tally.unknown_left, tally.rejected) == (tally.messages, 0, 0), tally


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Future[Tally]]:
    folder = tmp_path_factory.mktemp("frozen")
    with ThreadPoolExecutor(JOBS) as pool:
        return {
            name: pool.submit(frozen_past_the_lease, folder / str(n), None, trap, transport=transport)
            for n, (name, (transport, trap)) in enumerate(ON_THE_WAY.items())
        }


@pytest.mark.parametrize("name", ON_THE_WAY)
def test_a_request_frozen_on_its_way_to_the_wire_does_not_leave_late(
    name: str, frozen: dict[str, Future[Tally]]
) -> None:
    tally = frozen[name].result()
    assert tally.clean, tally
    assert (tally.accepted, tally.unknown_left) == (tally.messages, 0), tally
