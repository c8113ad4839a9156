"""Whom a campaign has reached, in all of its runs: their plans hold the numbers, the ledger what happened to each.

A number is kept in clear, as it is in the plan; of people who were erased, and of plans that were pruned, keyed hashes
are left, by which a number that is asked about is recognised. Reads; writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from sender.core.errors import PlanError, RunComplete
from sender.core.frame_schema import FrameSchema
from sender.core.lazy_modules import pl
from sender.core.outcomes import Status, SubmissionState
from sender.plan.manifest import Manifest
from sender.plan.plan import Plan
from sender.state.ledger import Run, RunKind
from sender.state.people import as_integer
from sender.state.state import State

_SETTLED = (SubmissionState.ACCEPTED, SubmissionState.REJECTED, SubmissionState.CANCELED)
DID_NOT_ARRIVE = (Status.FAILED.value, Status.UNDELIVERED.value, Status.CANCELED.value)
_MOST_LOOKED_UP = 100_000  # messages of a run; to read more of them, the ledger goes through the whole run
CONTACTS_SCHEMA = FrameSchema({"to": "String", "run_id": "String", "at_ms": "Int64"})
RECENT_SCHEMA = FrameSchema(
    {"to": "String", "campaign": "String", "run_id": "String", "seq": "UInt32", "at_ms": "Int64"}
)
SENT_TO_SCHEMA = FrameSchema({**RECENT_SCHEMA.types, "accepted": "Boolean"})


@dataclass(frozen=True, slots=True)
class Edition:
    """One edition of one campaign: what nobody gets twice. A simulation knows only simulations of its own dialect."""

    campaign: str
    kind: RunKind
    name: str = ""
    dialect: str | None = None

    @classmethod
    def of(cls, manifest: Manifest, kind: RunKind) -> Edition:
        """The edition that a plan is of, in runs of that kind."""
        return cls(manifest.campaign, kind, manifest.edition, None if kind is RunKind.LIVE else manifest.dialect)

    def covers(self, manifest: Manifest | None) -> bool:
        """Whether a run of the campaign and kind is of this edition. One whose plan is gone may be."""
        return manifest is None or (manifest.edition == self.name and self.dialect in (None, manifest.dialect))


def find_reached(
    state: State,
    edition: Edition,
    people: pl.Series | None = None,
    *,
    after: Run | None = None,
    but_retries_of: Run | None = None,
) -> pl.DataFrame:
    """Those of `people` whom the edition has reached, as CONTACTS_SCHEMA: one row a number (`to`).

    Reached means accepted, unknown or under way: a person who may have the message counts as one who has it. Each has
    the newest run that reached it and the time that run was created (milliseconds UTC). With `after` only later runs
    count, and with `but_retries_of` those that are not its retries. Without `people` everybody is meant whose number is
    still known. Raises RunComplete when the plan of a run that reached somebody is gone, and PlanError when it is
    damaged: who has the message is unknown then.
    """
    runs = state.runs_of(edition.campaign, edition.kind)
    if after is not None:
        runs = runs[[run.run_id for run in runs].index(after.run_id) + 1 :]
    if but_retries_of is not None:
        runs = [run for run in runs if run.retry_of != but_retries_of.run_id]
    asked = None if people is None else AskedPeople.of(people)
    contacts: list[pl.DataFrame] = []
    for run in reversed([run for run in runs if edition.covers(state.plans.manifest(run))]):
        found = _find_reached_by(state, run, asked)
        contacts.append(found)
        if asked is not None:
            asked = asked.without(found["to"])
    frame = pl.concat(reversed(contacts)) if contacts else pl.DataFrame(schema=CONTACTS_SCHEMA)
    return frame.unique("to", keep="last", maintain_order=True)


def find_reached_later(state: State, root: Run, manifest: Manifest, kind: RunKind, people: pl.Series) -> pl.DataFrame:
    """Those of `people` whom a later run has reached that is no retry of `root`, as CONTACTS_SCHEMA.

    `manifest` is the one of the root's plan, and `kind` that of the retry: a rehearsal reaches nobody.
    """
    if kind is not root.kind:
        return pl.DataFrame(schema=CONTACTS_SCHEMA)
    return find_reached(state, Edition.of(manifest, kind), people, after=root, but_retries_of=root)


def find_recent(state: State, kind: RunKind, people: pl.Series, *, since_ms: int) -> pl.DataFrame:
    """The messages to `people` that runs of that kind have sent since then, as RECENT_SCHEMA, oldest first.

    Of every campaign. A message that may have been sent counts; one that proved not to have arrived (`failed`,
    `undelivered`, `canceled`) does not, so that a retry of it does not count twice. Raises PlanError when the plan of
    such a run is missing or damaged.
    """
    asked = AskedPeople.of(people)
    frames = [
        find_sent(state, run, asked.find_in(state, run), since_ms=since_ms)
        for run in state.ledger.runs()
        if run.kind is kind and may_have_sent_since(run, since_ms)
    ]
    return pl.concat(frames).select(*RECENT_SCHEMA).sort("at_ms") if frames else pl.DataFrame(schema=RECENT_SCHEMA)


def may_have_sent_since(run: Run, since_ms: int) -> bool:
    """Whether a message of the run may have been sent after that time."""
    return run.finished_at_ms is None or run.finished_at_ms >= since_ms


def find_sent(state: State, run: Run, messages: pl.DataFrame, *, since_ms: int) -> pl.DataFrame:
    """Those of the run's `messages` (`seq`, `to`) that were sent since then, as SENT_TO_SCHEMA.

    `accepted` is False for one that is unknown or under way.
    """
    seqs = messages["seq"].to_list() if messages.height < _MOST_LOOKED_UP else None
    sent = state.ledger.sent(run.run_id, since_ms=since_ms, seqs=seqs)
    arrived = sent.filter(~pl.col("status").is_in(DID_NOT_ARRIVE).fill_null(value=False))
    return messages.join(arrived, on="seq").select(
        "to",
        campaign=pl.lit(run.campaign),
        run_id=pl.lit(run.run_id),
        seq="seq",
        at_ms="at_ms",
        accepted=pl.col("status").is_not_null(),
    )


def find_unsettled(state: State, run: Run) -> pl.Series:
    """The numbers (String, distinct) of the run's messages that may still be sent: pending, unknown or under way."""
    if state.plans.pruned_at(run) is not None:  # only a run that is over is pruned
        return pl.Series("to", [], dtype=pl.String)
    messages = state.plan(run).scan().filter(pl.col("seq").is_not_null())
    settled = state.ledger.journal(run.run_id, states=_SETTLED)["seq"]
    return (
        messages.filter(~pl.col("seq").is_in(settled.implode()))
        .select(pl.col("to").drop_nulls().unique())
        .collect()["to"]
    )


class AskedPeople:
    """The people asked about: 20 ms for a million among a million."""

    def __init__(self, people: pl.DataFrame) -> None:
        """`people` has `to` and, sorted by it, `number`, the same as an integer (null for what is not E.164).

        When it is needed it gets `hash`, polars' hash of `to`, and `key`, by which erased people are known.
        """
        self._people = people

    @classmethod
    def of(cls, numbers: pl.Series) -> AskedPeople:
        people = pl.DataFrame({"to": numbers.drop_nulls().unique()})
        return cls(people.with_columns(number=as_integer(pl.col("to"))).sort("number"))

    def without(self, numbers: pl.Series) -> AskedPeople:
        """The people but for those with these numbers."""
        if numbers.is_empty():
            return self
        return AskedPeople(self._people.filter(~pl.col("to").is_in(numbers.implode())))

    def find_in(self, state: State, run: Run) -> pl.DataFrame:
        """`seq` and `to` of the run's messages to one of them.

        People who are no longer in the plan are found by what stays of them. Raises PlanError and StateError.
        """
        erased = state.plans.erased(run).filter(pl.col("seq").is_not_null())
        if erased.is_empty():
            return self._find_in_plan(state, run)
        if "key" not in self._people.columns:
            self._people = self._people.with_columns(state.people.hash_all(self._people["to"]))
        found = self._people.join(erased, on="key").select("seq", "to")
        return found if state.plans.pruned_at(run) else pl.concat([self._find_in_plan(state, run), found])

    def _find_in_plan(self, state: State, run: Run) -> pl.DataFrame:
        recipients = state.plans.recipients(run)
        if recipients is not None:
            return recipients.join(self._people.select("number", "to"), on="number").select("seq", "to")
        if "hash" not in self._people.columns:
            self._people = self._people.with_columns(hash=pl.col("to").hash())
        messages = state.plan(run).scan().filter(pl.col("seq").is_not_null()).select("seq", "to")
        return messages.filter(pl.col("to").hash().is_in(self._people["hash"].implode())).collect()


def _find_reached_by(state: State, run: Run, asked: AskedPeople | None) -> pl.DataFrame:
    """Those of `asked` whom the run has reached, as CONTACTS_SCHEMA. Raises as `find_reached`."""
    nobody = pl.DataFrame(schema=CONTACTS_SCHEMA)
    if state.plans.manifest(run) is None:
        if state.ledger.reached(run.run_id).is_empty():
            return nobody
        raise RunComplete(
            f"the plan of run {run.run_id} is gone: who has had {run.campaign} is unknown",
            fix="restore its folder from a backup; --again sends to everybody once more",
        )
    try:
        messages = _all_messages(state.plan(run)) if asked is None else asked.find_in(state, run)
    except PlanError:
        if state.ledger.reached(run.run_id).is_empty():
            return nobody
        raise
    seqs = messages["seq"].to_list() if messages.height < _MOST_LOOKED_UP else None
    reached = state.ledger.reached(run.run_id, seqs=seqs)
    return messages.filter(pl.col("seq").is_in(reached.implode())).select(
        pl.col("to").unique(), run_id=pl.lit(run.run_id), at_ms=pl.lit(run.created_at_ms, pl.Int64())
    )


def _all_messages(plan: Plan) -> pl.DataFrame:
    return plan.scan().filter(pl.col("seq").is_not_null() & pl.col("to").is_not_null()).select("seq", "to").collect()
