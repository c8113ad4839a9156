"""What may happen to a run over several workers, and runs to which it does."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster.rig import Outcome, Rig, kill, rig, wait

# Each does something to a run that is under way, until the run is over or `times` are through.


def kill_senders(it: Rig, times: int, dice: random.Random) -> int:
    """Senders and the steward die, with what they have in flight; the machines' clocks are five minutes apart."""
    done = 0
    for number in range(times):
        time.sleep(dice.uniform(0.5, 1.5))
        wait(lambda: it.is_over() or it.shifts())
        if it.is_over():
            break
        pid = it.steward() if number % 3 == 2 else dice.choice(it.shifts() or [0])
        if pid:
            kill(pid)
            done += 1
    return done


def freeze_senders(it: Rig, times: int, dice: random.Random) -> int:
    """A sender sleeps until what it had claimed has been taken for unknown and looked up, and then goes on."""
    for _ in range(times):
        wait(it.shifts)
        pid = dice.choice(it.shifts())
        kill(pid, signal.SIGSTOP)
        time.sleep(it.over_s + 12.0)
        kill(pid, signal.SIGCONT)
        time.sleep(4.0)  # for what it sends now
    return times


def restart_database(it: Rig, times: int, dice: random.Random) -> int:
    """The database crashes and comes back."""
    for _ in range(times):
        time.sleep(dice.uniform(1.0, 2.0))
        it.server.halt("immediate")
        time.sleep(1.0)
        it.server.resume()
    return times


def confuse_engine(it: Rig, times: int, dice: random.Random) -> int:
    """Shifts and stewards are doubled, and the engine's tables are gone."""
    it.execute(
        "INSERT INTO pgqueuer (priority, entrypoint, payload, status)"
        " SELECT 0, entrypoint, payload, 'queued' FROM pgqueuer, generate_series(1, 2)"
    )
    for _ in range(times):
        time.sleep(dice.uniform(1.0, 2.0))
        it.execute("DROP TABLE IF EXISTS pgqueuer CASCADE")
    return 1 + times


def cut_network(it: Rig, times: int, dice: random.Random) -> int:
    """A machine loses the database, the provider, or both, without a word; for longer than its claims live, at times."""
    for number in range(times):
        cut_once(it, number, dice)
    return times


def cut_once(it: Rig, number: int, dice: random.Random) -> None:
    place = dice.choice(it.namespaces)
    what = ("database", "provider", "both")[number % 3]
    place.cut(what)
    time.sleep((it.over_s + 3.0, 1.0)[number // 3 % 2])
    place.join(what)
    time.sleep(1.0)


def kill_steward(it: Rig, times: int, dice: random.Random) -> int:
    """Whoever sees the run to its end dies, again and again; the next one looks up what is in doubt at once."""
    done = 0
    for _ in range(times):
        time.sleep(dice.uniform(1.0, 2.0))
        if (pid := it.steward()) is not None:
            kill(pid)
            done += 1
        time.sleep(12.0)
    return done


def fail_over(it: Rig, times: int, dice: random.Random) -> int:
    """The database dies, and its synchronous standby takes over."""
    time.sleep(dice.uniform(1.0, 2.0))
    it.server.halt("immediate")
    time.sleep(1.0)
    assert it.copy is not None
    it.copy.promote()
    return 1


def everything(it: Rig, times: int, dice: random.Random) -> int:
    """Kills of senders and of the steward, cuts and restarts of the database, `times` of each."""
    for number in range(times):
        kill_senders(it, 1, dice)
        cut_once(it, number, dice)
        it.keep_going()
        if (pid := it.steward()) is not None:
            kill(pid)
        time.sleep(dice.uniform(1.0, 3.0))
        restart_database(it, 1, dice)
        time.sleep(dice.uniform(5.0, 10.0))
        it.keep_going()
        if it.is_over():
            return 4 * number + 4
    return 4 * times


SCENARIOS: dict[str, Callable[[Rig, int, random.Random], int]] = {
    "kill": kill_senders,
    "steward": kill_steward,
    "freeze": freeze_senders,
    "restart": restart_database,
    "engine": confuse_engine,
    "cut": cut_network,
    "failover": fail_over,
    "all": everything,
}
NEEDS: dict[str, dict[str, Any]] = {  # of the rig
    "failover": {"standby": "synchronous"},
    "kill": {"clocks_s": (0, 300, -300)},
}
IN_NAMESPACES = ("cut", "all")
LOCKED_S = 5.0  # before a start that found the campaign being sent is tried again


def play(
    folder: Path,
    scenario: str,
    *,
    messages: int,
    rate: str,
    times: int,
    workers: int = 3,
    most_s: float = 240.0,
    starts: int = 4,
    **options: Any,
) -> Outcome:
    """Send `messages` while `scenario` happens `times`; return what came of it.

    Afterwards the run is started again where it rests, up to `starts` times in all.
    """
    dice = random.Random(1)
    with rig(folder, **NEEDS.get(scenario, {}), **options) as it:
        it.begin_workers(workers, namespaces=scenario in IN_NAMESPACES)
        begun_s = time.monotonic()
        it.begin_run(messages, rate)
        wait(lambda: len(it.counts()) >= min(20, messages // 4))
        disturbances = SCENARIOS[scenario](it, times, dice)
        try:
            wait(it.is_at_rest, most_s=most_s)
            last = it.begun + starts - 1
            while (not it.is_over() or it.unknown()) and it.begun < last:  # as a person does
                if it.begin_again() == 3:  # somebody who is gone still has the lock, for some seconds
                    time.sleep(LOCKED_S)
                it.busy_s = time.monotonic()
                wait(it.is_at_rest, most_s=most_s)
        except AssertionError:
            raise AssertionError(f"{it.outcome(messages, begun_s, disturbances)}\n{it.logs()}") from None
        return it.outcome(messages, begun_s, disturbances)
