"""Random sequences of commands against the model, each from a seed of its own."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.sequences.steps import (
    CHANGES,
    Close,
    Edit,
    Forget,
    Look,
    Pause,
    Prune,
    Reply,
    Resume,
    Retry,
    Send,
    Step,
    Suppress,
    describe,
    finish,
)
from tests.sequences.world import CAMPAIGNS, DIALECTS, PEOPLE, Tally, opened

# Where a kill hurts: around the intent, the request and its outcome, and where a run begins and ends.
KILLS = (
    ("create_run:after", 1),
    ("claim:commit", 1),
    ("claim:after", 1),
    ("send:in_flight", 2),
    ("send:after", 3),
    ("record:before", 1),
    ("record:after", 1),
    ("finish_run:before", 1),
)
FAULTS = ("reset-after", "reset-before", "500-after", "html", "503-before")
LOOKS = (("status",), ("results", "offer"), ("send", "offer.yaml", "--dry-run"), ("plan", "news.yaml"))


def run_steps(
    folder: Path,
    steps: Sequence[Step],
    *,
    dialect: str = "twilio",
    faults: dict[str, list[str]] | None = None,
    mutant: str | None = None,
) -> Tally:
    """Do `steps` one after the other in a new world, then finish everything, and return what came of it."""
    with opened(folder, dialect=dialect, faults=faults, mutant=mutant) as world:
        for step in steps:
            world.tally.steps[describe(step)] += 1
            step.do(world)
            world.settle_closed()
        finish(world)
        world.judge_end()
        return world.tally


def random_sequence(folder: Path, seed: int, *, steps: int = 12, mutant: str | None = None) -> Tally:
    """One sequence: the same seed gives the same steps, dialect and faults. A problem names the seed and the steps."""
    rng = random.Random(seed)
    dialect = rng.choice(DIALECTS)
    faults = {person.number: [rng.choice(FAULTS)] * 2 for person in rng.sample(PEOPLE, rng.randint(0, 2))}
    sequence = [Send(CAMPAIGNS[0]), *(_draw(rng) for _ in range(steps - 1))] if rng.random() < 0.5 else []
    sequence = sequence or [_draw(rng) for _ in range(steps)]
    tally = run_steps(folder, sequence, dialect=dialect, faults=faults, mutant=mutant)
    if not tally.clean:
        listed = "\n".join(f"    {step!r}," for step in sequence)
        tally.problems.insert(0, f"seed {seed}: dialect={dialect!r}, faults={faults!r}, steps:\n{listed}")
    return tally


def many_sequences(
    folder: Path,
    *,
    sequences: int,
    seed: int,
    steps: int = 12,
    jobs: int = 2,
    on_progress: Callable[[Tally], None] | None = None,
) -> Tally:
    """`sequences` of them with seeds from `seed` on, `jobs` at one time. The folder of a clean one is removed."""
    total = Tally()

    def run_one(number: int) -> Tally:
        place = folder / f"{seed + number}"
        tally = random_sequence(place, seed + number, steps=steps)
        if tally.clean:
            shutil.rmtree(place, ignore_errors=True)  # what was killed last may still be on its way out
        return tally

    with ThreadPoolExecutor(jobs) as pool:
        for tally in pool.map(run_one, range(sequences)):
            total.add(tally)
            if on_progress is not None:
                on_progress(total)
    return total


def _draw(rng: random.Random) -> Step:
    campaign = rng.choice((CAMPAIGNS[0], *CAMPAIGNS))  # the first one twice as often: things happen to it again
    draw = rng.choices(list(_DRAWS), list(_DRAWS.values()))[0]
    return draw(rng, campaign)


def _send(rng: random.Random, campaign: str) -> Step:
    flags = rng.choice(((), (), (), ("--limit", "3"), ("--resume",), ("--on-unknown", "hold")))
    return Send(campaign, flags, away=rng.random() < 0.2)


def _send_on(rng: random.Random, campaign: str) -> Step:
    return Send(
        campaign, rng.choice((("--only-new",), ("--only-new",), ("--again",), ("--new-run",), ("--resend-unknown",)))
    )


def _send_killed(rng: random.Random, campaign: str) -> Step:
    return Send(campaign, rng.choice(((), (), ("--only-new",), ("--again",), ("--new-run",))), kill=rng.choice(KILLS))


def _send_and_meanwhile(rng: random.Random, campaign: str) -> Step:
    during: Step = rng.choice(
        (Close(campaign), Pause(campaign), Suppress(_number(rng)), Reply(_number(rng), "STOP"), Send(campaign))
    )
    return Send(campaign, during=during)


def _rehearse(rng: random.Random, campaign: str) -> Step:
    return rng.choice((Send(campaign, ("--rehearse",)), Retry(campaign, ("--rehearse",))))


def _retry(rng: random.Random, campaign: str) -> Step:
    flags = rng.choice(((), (), ("--include-unknown",), ("--status", "canceled"), ("--limit", "1")))
    return Retry(campaign, flags, kill=rng.choice((None, None, *KILLS[2:5])))


def _number(rng: random.Random) -> str:
    return rng.choice(PEOPLE).number


_DRAWS: dict[Callable[[random.Random, str], Step], int] = {
    _send: 6,
    _send_on: 4,
    _send_killed: 4,
    _send_and_meanwhile: 3,
    _rehearse: 2,
    _retry: 3,
    lambda rng, campaign: Edit(campaign, rng.choice(list(CHANGES))): 7,
    lambda rng, campaign: Suppress(_number(rng), rng.choice((None, campaign))): 2,
    lambda rng, campaign: Reply(_number(rng), rng.choice(("STOP", "STOP", "START")), again=rng.random() < 0.2): 3,
    lambda rng, campaign: Close(campaign): 2,
    lambda rng, campaign: Pause(campaign): 2,
    lambda rng, campaign: Resume(campaign): 1,
    lambda rng, _: rng.choice((Forget(_number(rng)), Prune())): 1,
    lambda rng, campaign: Look(rng.choice(LOOKS)): 1,
}
