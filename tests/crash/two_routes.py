"""A campaign with two routes, whose providers fail in turn, under the same fire as one with a single provider.

Each provider is a sandbox of its own, with a truth of its own; the run is a live one, to their loopback addresses.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sender.sandbox.credentials import environment as credentials
from sender.state.state_dir import StateDir
from tests.crash.harness import BAD_DAY, DECK, NAME, Campaign, Deck, Provider, Tally, trap_at, until_killed
from tests.crash.launcher import POINTS, Trap

PAIRS = (("twilio", "signalwire"), ("telnyx", "twilio"), ("signalwire", "telnyx"), ("signalwire-compat", "twilio"))
SENDERS = ("+12125550142", "+13105550143")
_OWN = {
    "twilio": "TWILIO",
    "telnyx": "TELNYX",
    "signalwire": "SIGNALWIRE",
    "signalwire-compat": "SIGNALWIRE",
}  # prefixes of environment variables
PROBE_S = 0.3
RATE = "50/s"  # of both together: slow enough that what goes wrong has a life to go wrong in
# What a provider may have for a while. `down` is no server at all.
MOODS = {
    "well": "",
    "refuses the account": "no-funds=0.4",
    "refuses regions": "no-region=0.3",
    "does not answer": "timeout-after=0.05,timeout-before=0.05,reset-after=0.1,500-after=0.1",
    "bad day": BAD_DAY,
    "down": "",
}
_FIRST = tuple(point for point in POINTS if point.startswith("create_run"))


class TwoRoutes(Campaign):
    """A folder with a campaign of two routes, and starts of `sender send` until it is done."""

    def __init__(self, folder: Path, providers: dict[str, Provider], *, messages: int, mutant: str | None) -> None:
        first = next(iter(providers))
        super().__init__(folder, providers[first], messages=messages, dialect=first, mutant=mutant, rate=RATE)
        self.providers = providers
        self.ends = (0, 1)  # 1: both providers have refused a message
        self.longest_s += 60  # the log of a provider that is down is tried for half a minute, and then left as long
        path = folder / f"{NAME}.yaml"
        written = [
            line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith(("from", "pro"))
        ]
        routes = [
            f"  - {{provider: {name}, from: '{number}'}}" for name, number in zip(providers, SENDERS, strict=True)
        ]
        path.write_text("\n".join([*written, "routes:", *routes, ""]), encoding="utf-8")

    def arguments(self) -> list[str]:
        return ["--init-state", "--wait", "0s"]

    def addresses(self) -> dict[str, str]:
        return {
            name: value
            for dialect, provider in self.providers.items()
            for name, value in credentials(provider.url).items()
            if name.startswith(_OWN[dialect])
        }

    def told(self) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        for provider in self.providers.values():
            self.tally.faults.update(provider.ask("faults")["faults"])
            told += provider.ask("messages")["messages"]
        return told

    def launch(self, trap: Trap, *, fresh: bool = False) -> Any:
        own = {"settle_s": self.settle_s, "probe_s": PROBE_S}
        return super().launch(Trap(**(vars(trap) | own)), fresh=fresh)

    def have_moods(self, moods: dict[str, str]) -> None:
        """Start each provider anew as it is for a while."""
        for dialect, mood in moods.items():
            provider = self.providers[dialect]
            provider.kill()
            self.tally.provider_kills += 1
            provider.become(MOODS[mood])
            if mood != "down":
                provider.start()

    def judge(self) -> Tally:
        """As for one provider, and each row names the one that has its message."""
        tally = super().judge()
        whose = {
            message["message_id"]: dialect
            for dialect, provider in self.providers.items()
            for message in provider.ask("messages")["messages"]
        }
        for row in self.results():
            if row["message_id"] and whose.get(row["message_id"]) != row["provider"]:
                tally.problems.append(f"{row['to']}: {row['message_id']} is not {row['provider']}'s")
        with StateDir(self.folder / ".sender", create=False) as state_dir:
            run = state_dir.find(NAME)
            moves, journal = state_dir.ledger.moves(run.run_id), state_dir.ledger.journal(run.run_id)
        tally.moved += moves["seq"].n_unique()
        tally.by_second += journal.filter(route=1).height
        return tally


@contextmanager
def two_routes(
    folder: Path, *, messages: int, pair: tuple[str, str] = PAIRS[0], seed: int = 0, mutant: str | None = None
) -> Iterator[TwoRoutes]:
    """A campaign with both of its providers running, and well."""
    folder.mkdir(parents=True)
    providers: dict[str, Provider] = {}
    for number, dialect in enumerate(pair):
        (folder / dialect).mkdir()
        providers[dialect] = Provider(folder / dialect, seed=seed + number)
    try:
        for provider in providers.values():
            provider.start()
        yield TwoRoutes(folder, providers, messages=messages, mutant=mutant)
    finally:
        for provider in providers.values():
            provider.kill()


def under_fire(
    folder: Path, rng: random.Random, deck: Deck, *, messages: int, pair: tuple[str, str], kills: int
) -> Tally:
    """One campaign, killed up to `kills` times while one provider after the other fails, then resumed to its end."""
    with two_routes(folder, messages=messages, pair=pair, seed=rng.randrange(1 << 30)) as target:
        tally = target.tally
        failing = 0
        while not target.over and tally.kills.total() < kills and tally.starts < 4 * kills:
            moods = {dialect: "bad day" if rng.random() < 0.3 else "well" for dialect in pair}
            moods[pair[failing]] = rng.choice([mood for mood in MOODS if mood != "well"])
            failing = 1 - failing
            target.have_moods(moods)
            cards = _FIRST if not tally.starts and rng.random() < 0.3 else DECK
            point, fresh = deck.take(cards), deck.is_tenth()
            trap, kill_after_s = trap_at(point, rng, fresh=fresh)
            if not target.live(trap, kill_after_s=kill_after_s, fresh=fresh):
                deck.put_back(cards, point)
        target.have_moods(dict.fromkeys(pair, "well"))
        target.finish()
        return target.judge()


def many_kills(
    folder: Path,
    *,
    kills: int,
    seed: int,
    messages: int = 300,
    jobs: int = 2,
    tell: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Campaigns under fire, `jobs` at a time, until there have been `kills` kills. `tell` hears of each one's end."""
    deck = Deck(random.Random(f"{seed} deck"))

    def one(number: int, left: int) -> Tally:
        rng, pair = random.Random(f"{seed} {number}"), PAIRS[number % len(PAIRS)]
        return under_fire(folder / str(number), rng, deck, messages=messages, pair=pair, kills=min(12, left))

    return until_killed(one, kills=kills, jobs=jobs, tell=tell)


def silent_first(folder: Path, mutant: str | None) -> Tally:
    """The first provider accepts and does not answer, and the second is well: who moves on a timeout texts twice."""
    with two_routes(folder, messages=60, mutant=mutant) as target:
        first, _ = target.providers
        target.providers[first].kill()
        target.providers[first].become("reset-after=0.2,500-after=0.1")
        target.providers[first].start()
        target.finish()
        return target.judge()
