"""The steps of a sequence: what people who send campaigns do, as commands, and what the model says they may cause.

Each step is a value whose `repr` is Python, so a sequence that fails can be pasted into a test.
"""

from __future__ import annotations

import math
import re
import signal
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol

from sender.sandbox.webhooks import SimulatedReply
from tests.sequences.launcher import Setup
from tests.sequences.world import PEOPLE, SENDERS, Ended, World

SLOW = "8/s"  # so that something may happen meanwhile
NOTHING_BEGAN = (2, 3)  # exit codes of a start that was refused; a guard that stops a run has 3 as well
REPLY_S = 10.0


class Step(Protocol):
    def do(self, world: World) -> None: ...


@dataclass(frozen=True)
class Send:
    """`sender send`. `kill` is a point and its passage; `during` happens while it sends slowly."""

    campaign: str
    flags: tuple[str, ...] = ()
    kill: tuple[str, int] | None = None
    during: Step | None = None
    away: bool = False

    def do(self, world: World) -> None:
        _begin(
            world,
            self.campaign,
            self._command(world),
            flags=self.flags,
            kill=self.kill,
            during=self.during,
            away=self.away,
        )

    def _command(self, world: World) -> tuple[str, ...]:
        path = f"{self.campaign}.yaml"
        where = f"../job/{path}" if self.away else path
        pace = ("--rate", SLOW) if self.during is not None else ()
        return ("send", where, "--yes", "--init-state", "--wait", "0", *pace, *self.flags)


@dataclass(frozen=True)
class Retry:
    """`sender retry` of the newest run of a campaign."""

    campaign: str
    flags: tuple[str, ...] = ()
    kill: tuple[str, int] | None = None

    def do(self, world: World) -> None:
        command = ("retry", self.campaign, "--yes", "--wait", "0", *self.flags)
        _begin(world, self.campaign, command, flags=("--retry", *self.flags), kill=self.kill)


@dataclass(frozen=True)
class Resume:
    """`sender resume` of the newest run of a campaign, which lifts a pause."""

    campaign: str

    def do(self, world: World) -> None:
        world.paused.discard(world.newest_run(self.campaign) or "")
        _begin(world, self.campaign, ("resume", self.campaign, "--yes", "--wait", "0"))


def _begin(
    world: World,
    campaign: str,
    command: tuple[str, ...],
    *,
    flags: tuple[str, ...] = (),
    kill: tuple[str, int] | None = None,
    during: Step | None = None,
    away: bool = False,
) -> None:
    """Run a command that sends, and account for what it was allowed to send."""
    held = world.all_held_back()
    simulated = "--rehearse" in flags
    unknown = {number for edition, number in world.unknown(campaign) if edition == world.campaigns[campaign].edition}
    failed = world.failed(campaign)
    setup = Setup(point=kill[0], passage=kill[1]) if kill else None
    process = world.start(*command, setup=setup, away=away)
    if during is not None:
        _wait_for_a_text(world, process)
        during.do(world)
    ended = world.finish(process, *command, kill_expected=kill is not None)
    if not simulated and _has_begun(world, ended):
        if {"--again", "--new-run"} & set(flags):
            world.allow_again(campaign, [person.number for person in world.campaigns[campaign].people])
        if {"--resend-unknown", "--include-unknown"} & set(flags):
            world.allow_again(campaign, unknown)
        if "--retry" in flags:
            world.allow_again(campaign, failed)
    world.judge_texts(held, none_expected=" ".join(command) if simulated else "")
    world.judge_summary(ended)


def _has_begun(world: World, ended: Ended) -> bool:
    return ended.code not in NOTHING_BEGAN or len(world.texts()) > world.seen


def _wait_for_a_text(world: World, process: object) -> None:
    until = time.monotonic() + 5
    while len(world.texts()) == world.seen and process.poll() is None and time.monotonic() < until:  # type: ignore[attr-defined]
        time.sleep(0.02)


@dataclass(frozen=True)
class Edit:
    """The campaign's files are edited: `CHANGES_AND_CAP` says how."""

    campaign: str
    change: str

    def do(self, world: World) -> None:
        CHANGES_AND_CAP[self.change](world, self.campaign)
        world.write_campaign(self.campaign)


def _drop_a_person(world: World, name: str) -> None:
    people = world.campaigns[name].people
    del people[0]
    if not people:
        people.extend(PEOPLE)


def _add_people(world: World, name: str) -> None:
    people = world.campaigns[name].people
    people.extend(person for person in PEOPLE if person not in people)


def _reorder(world: World, name: str) -> None:
    world.campaigns[name].people.reverse()


def _break_a_row(world: World, name: str) -> None:
    world.campaigns[name].unreadable += 1


def _fix_the_rows(world: World, name: str) -> None:
    world.campaigns[name].unreadable = 0


def _change_the_text(world: World, name: str) -> None:
    world.campaigns[name].version += 1


def _change_the_sender(world: World, name: str) -> None:
    model = world.campaigns[name]
    model.sender = SENDERS[1 - SENDERS.index(model.sender)]


def _begin_an_edition(world: World, name: str) -> None:
    model = world.campaigns[name]
    model.edition = f"e{int(model.edition[1:] or 0) + 1}" if model.edition else "e1"


def _set_a_cap(world: World, name: str) -> None:
    world.campaigns[name].capped = True


CHANGES: dict[str, Callable[[World, str], None]] = {
    "a person is dropped": _drop_a_person,
    "people are added": _add_people,
    "the rows change places": _reorder,
    "a row gets a typo": _break_a_row,
    "the typos are fixed": _fix_the_rows,
    "the text changes": _change_the_text,
    "the sender changes": _change_the_sender,
    "a new edition": _begin_an_edition,
}
CAP = "a cap of one text a day"  # not drawn at random: what an older plan may send is no business of the cap
CHANGES_AND_CAP = CHANGES | {CAP: _set_a_cap}


@dataclass(frozen=True)
class Suppress:
    """A number goes onto the suppression list by hand, or into the campaign's suppression file."""

    number: str
    campaign: str | None = None

    def do(self, world: World) -> None:
        if self.campaign is not None:
            world.campaigns[self.campaign].stopped.append(self.number)
            world.write_campaign(self.campaign)
            return
        ended = world.run("suppress", "add", self.number)
        if ended.code == 0:
            world.by_hand.add(self.number)


@dataclass(frozen=True)
class Reply:
    """A person replies to one of our numbers; `again` delivers their first reply of that text once more."""

    number: str
    text: str
    again: bool = False

    def do(self, world: World) -> None:
        state = str(world.folder / ".sender")
        process = world.start("listen", "--port", "0", "--state-dir", state)
        assert process.stdout is not None
        match = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
        if match is None:
            ended = world.finish(process, "listen")
            ledger = world.folder / ".sender" / "ledger.sqlite3"  # a plan alone begins no state
            if ledger.exists():  # else nothing has been sent, and nobody can have replied
                world.tally.problems.append(f"sender listen: {ended.err}")
            return
        key = (self.number, self.text)
        known = self.again and key in world.reply_ids
        message_id = world.reply_ids.setdefault(key, uuid.uuid4().hex) if self.again else uuid.uuid4().hex
        world.reply_ids.setdefault(key, message_id)
        if self.text == "STOP" and not known:
            world.by_reply.add(self.number)  # from here on; the answer may be lost
            world.stopped_s[self.number] = time.time()
        elif self.text == "START":  # providers tell whole seconds, and within one a STOP comes last
            time.sleep(max(0.0, math.floor(world.stopped_s.get(self.number, 0.0)) + 1.1 - time.time()))
        reply = SimulatedReply(
            world.dialect, f"{match[0]}/inbound/{world.dialect}", self.number, SENDERS[0], self.text, message_id
        )
        answer = world.post("inbound", asdict(reply))["answer"]
        if answer not in (200, 204):
            world.tally.problems.append(f"{self!r} got {answer}")
        if self.text == "START" and not known:
            world.by_reply.discard(self.number)
        process.send_signal(signal.SIGINT)
        world.finish(process, "listen")


@dataclass(frozen=True)
class Close:
    """`sender close` of the newest run of a campaign: nothing more of it is sent, ever."""

    campaign: str

    def do(self, world: World) -> None:
        run_id = world.newest_run(self.campaign)
        ended = world.run("close", self.campaign, "--yes")
        if run_id is not None and ended.code in (0, 1):
            world.closing.add(run_id)


@dataclass(frozen=True)
class Pause:
    """`sender pause` of the newest run of a campaign: nothing of it is sent until it is resumed."""

    campaign: str

    def do(self, world: World) -> None:
        held = world.all_held_back()
        run_id = world.newest_run(self.campaign)
        ended = world.run("pause", self.campaign)
        world.judge_texts(held)
        if run_id is not None and ended.code == 0:
            world.paused.add(run_id)


@dataclass(frozen=True)
class Forget:
    """`sender forget` of a number: the person is erased, and all the same not texted again."""

    number: str

    def do(self, world: World) -> None:
        for name in world.campaigns:
            doubts = world.unknown(name)
            world.erased_in_doubt |= {(name, edition, to) for edition, to in doubts if to == self.number}
        world.run("forget", self.number, "--yes")
        if self.number in world.by_reply:  # a START of somebody who was erased is not looked for among old replies
            world.reply_ids.pop((self.number, "START"), None)


@dataclass(frozen=True)
class Prune:
    """`sender prune` of everything that is over: nobody is texted again for it."""

    def do(self, world: World) -> None:
        world.run("prune", "--older-than", "0s", "--yes")


@dataclass(frozen=True)
class Look:
    """A command that only reads: it must change nothing."""

    arguments: tuple[str, ...]

    def do(self, world: World) -> None:
        held = world.all_held_back()
        world.run(*self.arguments)
        world.judge_texts(held, none_expected=" ".join(self.arguments))


def finish(world: World) -> None:
    """Lift every pause, and send to everybody who has not had it, until nothing is left to do."""
    for name in world.campaigns:
        Resume(name).do(world)
        for _ in range(4):
            before = world.seen
            Send(name, ("--only-new",)).do(world)
            if world.seen == before:
                break


def describe(step: Step) -> str:
    """The kind of step, for counting."""
    kind = type(step).__name__.lower()
    if isinstance(step, Send):
        kind += " killed" if step.kill else ""
        kind += f" and {describe(step.during)}" if step.during else ""
    flags = getattr(step, "flags", ())
    detail = {Edit: "change", Reply: "text"}.get(type(step))
    return " ".join([kind, *flags, *([str(getattr(step, detail))] if detail else [])])
