"""The rows of results: plan and journal joined, each input row exactly once, in file order, with its own cells.

Reads the plan and the journal's frame it is given; opens no ledger, never touches the network, never prints.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence

from sender.core.errors import InputError
from sender.core.lazy_modules import pl
from sender.core.outcomes import CancelReason, Reason, SkipReason, Status
from sender.core.safe_tables import BODY, free_name, plain_name
from sender.plan.manifest import Manifest, provider_shown, sender_shown
from sender.plan.message_fields import ref_column
from sender.plan.plan import Plan
from sender.state.message_status import join_journal, status_of

_SPELLINGS = {"cancelled": Status.CANCELED.value}
# `row_number` comes before the original columns, our other columns after them.
COLUMNS: tuple[str, ...] = (
    "row_number",
    "to",
    "from",
    "provider",
    "message_id",
    "ref",
    "status",
    "provider_status",
    "reason",
    "error_code",
    "error_message",
    "segments",
    "encoding",
    "price",
    "currency",
    "attempts",
    "created_at",
    "sent_at",
    "updated_at",
    "line_type",
    "carrier",
    "smart_encoded",
    "variant",
    "moved_from",
    "run_id",
)
# What they are made of: columns of the plan, where it has them, and of the journal.
PLAN_COLUMNS = frozenset(
    {
        *("row_number", "seq", "to", "from_number", "reason", "detail", "encoding", "segments", "fields", "variant"),
        *("recipient", BODY),
    }
)
JOURNAL_COLUMNS = frozenset(
    {
        *("seq", "state", "status", "sender", "message_id", "provider_status", "reason", "error_code", "error_message"),
        *("segments", "price", "currency", "attempts", "created_at", "sent_at", "updated_at", "line_type", "carrier"),
        *("smart_encoded", "route"),
    }
)


def results_frame(
    plan: Plan, journal: pl.DataFrame, run_id: str, *, moves: pl.DataFrame | None = None, with_body: bool = False
) -> pl.DataFrame:
    """Every input row of `plan` in file order: COLUMNS, with the original columns after `row_number`.

    An original column keeps its name and its text. Where it has a name of ours, ours gets the prefix `sender_`
    (`sender_status`), repeated until the name is free. `row_number`, `segments` and `attempts` are UInt32, the times
    Datetime("ms", "UTC"), `smart_encoded` is Boolean, all else String.

    A skipped row has `to` (where its number could be read), `provider`, `run_id`, and the reason in `reason` and
    `error_message`. `segments` is the provider's count where it gave one, else the plan's; `price` is as the provider
    wrote it. `from` is the number that was really used, or else the planned one, or the service's id where a service
    picks the number. An intent is shown as `unknown`: `read_journal` has it as pending while a process sends the run,
    and otherwise only a crash leaves one behind. With `with_body` the text of each message
    is in one more column, the last, called `body`.

    Of a run with several routes, `provider` is that of the message's route, and `moved_from` says which others it has
    left, and why: `signalwire (insufficient_funds)`. `moves` are the run's, from its ledger.
    """
    return results_of_rows(plan.frame, plan.manifest, journal, run_id, moves=moves, with_body=with_body)


def results_of_rows(
    rows: pl.DataFrame,
    manifest: Manifest,
    journal: pl.DataFrame,
    run_id: str,
    *,
    moves: pl.DataFrame | None = None,
    with_body: bool = False,
) -> pl.DataFrame:
    """`results_frame` of some rows of a plan; `journal` has at least those of their messages."""
    if moves is None or moves.is_empty():
        journal = journal.with_columns(moved_from=pl.lit(None, pl.String))
    else:
        journal = journal.join(_describe_moves(moves, manifest), on="seq", how="left", maintain_order="left")
    message = pl.col("seq").is_not_null()
    joined = join_journal(rows, journal)
    ours = joined.select(
        "row_number",
        "to",
        pl.when(message).then(pl.coalesce("_sender", sender_shown(manifest, route="_route"))).alias("from"),
        provider_shown(manifest, route="_route").alias("provider"),
        message_id="_message_id",
        ref=pl.when(message).then(ref_column(run_id, pl.col("seq"))),
        status=status_of(),
        provider_status="_provider_status",
        reason=pl.when(message).then("_reason").otherwise("reason"),
        error_code="_error_code",
        error_message=pl.when(message).then("_error_message").otherwise("detail"),
        segments=pl.when(message).then(pl.coalesce("_segments", "segments")),
        encoding=pl.when(message).then("encoding"),
        price="_price",
        currency="_currency",
        attempts=pl.when(message).then(pl.col("_attempts").fill_null(0)),
        created_at="_created_at",
        sent_at="_sent_at",
        updated_at="_updated_at",
        line_type="_line_type",
        carrier="_carrier",
        smart_encoded="_smart_encoded",
        variant=pl.when(message).then("variant" if "variant" in joined.columns else None),
        moved_from="_moved_from",
        run_id=pl.lit(run_id),
        **({BODY: pl.when(message).then("body")} if with_body else {}),
    )
    cells = rows["recipient"]
    originals = cells.struct.unnest() if isinstance(cells.dtype, pl.Struct) else pl.DataFrame()
    ours = ours.rename({name: free_name(name, originals.columns) for name in ours.columns})
    return pl.concat([ours[:, :1], originals, ours[:, 1:]], how="horizontal")


def _describe_moves(moves: pl.DataFrame, manifest: Manifest) -> pl.DataFrame:
    """`seq` and `moved_from`: the routes that each message has left, in order, each with the reason."""
    reason = pl.coalesce("reason", pl.lit("not accepted"))
    return (
        moves.sort("seq", "attempt")
        .select("seq", moved_from=pl.format("{} ({})", provider_shown(manifest, route="route"), reason))
        .group_by("seq", maintain_order=True)
        .agg(pl.col("moved_from").str.join(", "))
    )


def merge_retries(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The first of `frames` (of `results_frame`), with each row from the last of the other frames that sent it."""
    first, *retries = frames
    ours = our_columns(first)
    number, status, message_id = first.columns[0], pl.col(ours["status"]), pl.col(ours["message_id"])
    not_sent = (status == Status.SKIPPED.value) | ((status == Status.CANCELED.value) & message_id.is_null())
    sent = [frame.filter(~not_sent) for frame in retries]
    return pl.concat([first, *sent]).unique(number, keep="last", maintain_order=True).sort(number)


def parse_statuses(texts: Iterable[str]) -> frozenset[Status]:
    """Return the statuses in `texts`, each a status or several with commas between them. Raises InputError."""
    given = list(texts)
    names = [name.strip().lower() for text in given for name in text.split(",")]
    statuses = frozenset(_parse_status(_SPELLINGS.get(name, name)) for name in names if name)
    if given and not statuses:
        raise InputError("no status is named", where="--status", fix=f"choose of {', '.join(Status)}")
    return statuses


def _parse_status(name: str) -> Status:
    if name in set(Status):
        return Status(name)
    if name in {*SkipReason, *CancelReason, *Reason}:
        raise InputError(
            f"`{name}` is a reason, not a status",
            where="--status",
            fix="the column `reason` of the results has it; the statuses are " + ", ".join(Status),
        )
    near = difflib.get_close_matches(name, [*Status], n=2, cutoff=0.6)
    hint = f"did you mean {' or '.join(f'`{status}`' for status in near)}? " if near else ""
    raise InputError(f"there is no status `{name}`", where="--status", fix=f"{hint}all are {', '.join(Status)}")


def filter_by_status(frame: pl.DataFrame, statuses: Collection[Status]) -> pl.DataFrame:
    """The rows of `frame` (of `results_frame`) that have one of `statuses`."""
    return frame.filter(pl.col(our_columns(frame)["status"]).is_in([status.value for status in statuses]))


def our_columns(frame: pl.DataFrame) -> dict[str, str]:
    """The names of our columns in `frame`, by their names in COLUMNS, and of `body` where it is there.

    Found by position: an original column may have any name. Raises ValueError for a frame of another shape.
    """
    ours = _by_position(frame.columns)
    if frame.width < len(COLUMNS) or any(not title.endswith(name) for name, title in ours.items()):
        raise ValueError("only a frame with the columns of results_frame() can be written")
    return ours


def _by_position(headers: list[str]) -> dict[str, str]:
    """The headers where our columns are, by their names in COLUMNS; `body` is the last one if it is there."""
    names = (*COLUMNS, BODY) if headers and plain_name(headers[-1]) == BODY else COLUMNS
    return dict(zip(names, [*headers[:1], *headers[1 - len(names) :]], strict=False))
