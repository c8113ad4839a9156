"""For each rule that keeps the guarantee, the situation in which it counts. Run with the rule and without it.

A harness that reports nothing may be blind; these show that it sees. Each scenario takes a mutant of the launcher (or
None for the product as it is) and gives the harness's tally.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

from tests import warm
from tests.crash.harness import BAD_DAY, PATIENT_S, TENDER, Tally, campaign
from tests.crash.launcher import Trap
from tests.crash.two_routes import silent_first

MESSAGES = 60
IN_HAND = Trap("claim:after", 2, freeze=True)  # a group of intents, none of which has been looked at yet
# On its way to the wire, by transport: past every check but the transport's own, and just before the last of these.
ON_THE_WAY = {
    "fast, handed over": ("fast", Trap("send:before", 15, freeze=True)),
    "fast, before its last look at the clock": ("fast", Trap("send:look:2", 15, freeze=True)),
    "httpx, handed over": ("httpx", Trap("send:before", 15, freeze=True)),
    "httpx, before the look that precedes the headers": ("httpx", Trap("send:look:2", 15, freeze=True)),
    "httpx, before the look that precedes the body": ("httpx", Trap("send:look:3", 15, freeze=True)),
}


def crash_after_sending(folder: Path, mutant: str | None) -> Tally:
    """Killed between the requests and their record: only the intents on disk know of them."""
    with campaign(folder, messages=MESSAGES, mutant=mutant) as target:
        target.live(Trap("record:before", 2))
        target.live(Trap("send:after", 10))
        target.finish()
        return target.judge()


def crash_before_sending(folder: Path, mutant: str | None) -> Tally:
    """Killed between the intents and the requests: nothing of the group has left."""
    with campaign(folder, messages=MESSAGES, mutant=mutant) as target:
        target.live(Trap("claim:after", 2))
        target.live(Trap("send:before", 10))
        target.finish()
        return target.judge()


def ambiguous_answers(folder: Path, mutant: str | None) -> Tally:
    """5xx and resets of messages that were accepted: trying again blindly is texting twice."""
    with campaign(
        folder, messages=MESSAGES, faults="500-after=0.1,503-after=0.1,reset-after=0.1", mutant=mutant
    ) as target:
        target.finish()
        return target.judge()


def lagging_log(folder: Path, mutant: str | None) -> Tally:
    """A log that shows a message only after a while: what is absent now may be there later."""
    with campaign(folder, messages=MESSAGES, faults="500-after=0.2", log_lag_s=1.5, mutant=mutant) as target:
        target.settle_s = 2.5
        target.finish()
        return target.judge()


def frozen_past_the_lease(folder: Path, mutant: str | None, trap: Trap = IN_HAND, *, transport: str = "fast") -> Tally:
    """Stopped with intents in hand, taken for dead, replaced, and then woken.

    The lock is taken away from the frozen process, as somebody may who finds it hanging: the deadline is what is left.
    """
    with campaign(
        folder,
        messages=MESSAGES,
        mutant=mutant,
        transport=transport,
        timeout_s=PATIENT_S,  # so that it is the deadline that tells, and not the request's own time limit
    ) as target:
        target.lease_ms = 1500
        frozen = target.launch(trap)
        try:
            _wait_until_stopped(frozen)
            for lock in (folder / ".sender" / "locks").iterdir():
                lock.unlink()
            time.sleep(target.lease_ms / 1000)
            target.finish()
            os.kill(frozen.pid, signal.SIGCONT)
            target.tally.exits[frozen.wait(60)] += 1
        finally:
            frozen.kill()
        return target.judge()


def workers_under_fire(folder: Path, dialect: str, kills: int, seed: int) -> Tally:
    """Two workers on a bad day; in turn each of them dies at a point of its own, and their parent at any moment."""
    rng = random.Random(seed)
    with campaign(folder, messages=60 * kills, dialect=dialect, faults=BAD_DAY, seed=seed, workers=2) as target:
        while not target.over and target.tally.starts < kills:
            if target.tally.starts % 2:
                target.live(Trap(), kill_after_s=rng.uniform(0.3, 3.8))
            else:
                target.live(Trap(rng.choice(TENDER), rng.randint(1, 15)))
        target.finish()
        return target.judge()


WINDOW = "{hours: ['09:00-09:01', '14:30-15:00', '21:01-21:05'], deadline: '%sT09:04 Etc/UTC'}"
WINDOW_MINUTES = ((540, 541), (870, 900), (1261, 1265))
CLOSES, IS_OPEN, OPENS = "Etc/UTC", "Asia/Kathmandu", "Etc/GMT-12"
ZONE_MINUTES = {CLOSES: 0, IS_OPEN: 345, OPENS: 720}  # ahead of UTC, all year
EDGE_S = 20  # so long after the start one zone's window closes, and another's opens
BLIND_S = 60  # the same for the mutant, which has half of it: people whose window is open get theirs first


@dataclass
class WindowTally:
    """What came of a run over the edges of windows: by zone, and when each message arrived."""

    tally: Tally
    accepted: Counter[str]
    canceled: Counter[str]
    outside_s: dict[str, float]  # seconds outside of its window, by number, of messages that arrived there


def windows_under_fire(
    folder: Path, mutant: str | None = None, *, kills: int, seed: int, workers: int = 1
) -> WindowTally:
    """Killed again and again while one zone's window closes and another's opens."""
    rng, messages = random.Random(seed), 180
    now = datetime.now(UTC)
    edge = timedelta(seconds=EDGE_S if mutant is None else BLIND_S)
    begins = now.replace(hour=9, minute=1, second=0, microsecond=0) - edge
    offset_ms = round((begins - now).total_seconds() * 1000)
    with campaign(
        folder,
        messages=messages,
        mutant=mutant,
        rate="6/s",
        workers=workers,
        window=WINDOW % begins.date(),
        zones=(CLOSES, CLOSES, CLOSES, IS_OPEN, OPENS) if mutant is None else (OPENS, OPENS, OPENS, OPENS, IS_OPEN),
        day_offset_ms=offset_ms,
    ) as target:
        while not target.over and target.tally.kills.total() < kills:
            if target.tally.starts % 2:
                target.live(Trap(), kill_after_s=rng.uniform(0.5, 4.5))
            else:
                target.live(Trap(rng.choice(TENDER), rng.randint(1, 12)))
        if mutant is None:
            target.finish()
        else:  # it may wait for what never comes
            target.live(Trap(), kill_after_s=BLIND_S / 2)
        tally, rows = target.judge(), target.results()
        arrived = {entry["to"]: entry["created_ms"] for entry in target.provider.ask("messages")["messages"]}
    zones = dict(zip((row["to"] for row in rows), target.zones, strict=True))
    outside = {}
    for to, at_ms in arrived.items():
        second = (at_ms + offset_ms) / 1000 % 86_400 + ZONE_MINUTES[zones[to]] * 60
        away = min(max(start * 60 - second, second - end * 60, 0.0) for start, end in WINDOW_MINUTES)
        if away:
            outside[to] = away
    return WindowTally(
        tally,
        Counter(zones[to] for to in arrived),
        Counter(zones[row["to"]] for row in rows if row["status"] == "canceled"),
        outside,
    )


def ignored_keys(folder: Path, mutant: str | None) -> Tally:
    """Telnyx without the header that its pages promise: a repeated request is a second message."""
    with campaign(
        folder, messages=MESSAGES, dialect="telnyx", faults="reset-after=0.15,500-after=0.1", mutant=mutant, keys=False
    ) as target:
        target.finish()
        return target.judge()


def known_keys(folder: Path, mutant: str | None) -> Tally:
    """Telnyx, on a bad day for answers, and its log cannot be read: only repeated requests settle anything."""
    with campaign(
        folder,
        messages=MESSAGES,
        dialect="telnyx",
        faults="reset-after=0.15,reset-before=0.15,log-500=1",
        mutant=mutant,
    ) as target:
        if mutant is None:
            target.live(Trap("send:after", 20))
            target.live(Trap("repeat:after", 3))
            target.finish()
        else:  # it may never end
            for _ in range(2):
                target.live(Trap(), kill_after_s=8.0)
        return target.judge()


def _wait_until_stopped(process: warm.Process) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        if psutil.Process(process.pid).status() == psutil.STATUS_STOPPED:
            return
        time.sleep(0.01)
    raise TimeoutError("the process never came to its point")


SCENARIOS: dict[str, Callable[[Path, str | None], Tally]] = {
    "no_intent": crash_after_sending,
    "outcome_before_intent": crash_before_sending,
    "blind_retry": ambiguous_answers,
    "no_grace": lagging_log,
    "no_deadline": frozen_past_the_lease,
    "no_proof": ignored_keys,
    "fresh_keys": known_keys,
    "other_bytes": known_keys,
    "moves_on_a_timeout": silent_first,
}
