"""Builds a Plan from a campaign: compile, load, clean, render, measure. Columns all the way, a block at a time.

Never touches the network and needs no credentials. A bad row stays in the plan with its reason; what is wrong with
more than a row is an InputError, raised before anything is sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cache, partial, reduce
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import polars as pl

from sender.campaign.model import Campaign
from sender.campaign.start_time import StartTime, parse_start
from sender.core.errors import InputError, PricesError
from sender.plan.manifest import Manifest
from sender.plan.plan import Plan
from sender.plan.stored_rows import Block, StoredRows, gather
from sender.planning import costs
from sender.planning.audience import (
    Audience,
    PlanSuppression,
    open_suppression,
    read_test_number,
    resolve_audience,
)
from sender.planning.compiled import CompiledCampaign, check_columns, compile_campaign
from sender.planning.compiled_routes import check_routes, compile_routes, routes_manifest
from sender.planning.earlier_runs import EarlierRuns, find_earlier_runs, has_caps
from sender.planning.experiment_rows import with_experiment
from sender.planning.known_numbers import KnownNumbers, read_known_numbers
from sender.planning.messages import MarkRows, MessageBuilder
from sender.planning.recipient_links import check_links, links_to_manifest, with_links
from sender.planning.repeated_numbers import choose_rows
from sender.planning.scheduled_at import refuse_closed_hours
from sender.planning.throughput import estimate_throughput
from sender.planning.totals import PlanTotals
from sender.planning.used_cells import check_hidden_rows, read_recipients
from sender.recipients.columns import Recipients
from sender.recipients.input_file import InputFile

_version = cache(version)  # it reads and parses a file for each package, which takes longer than a small list
_ROLES = ("recipients", "template", "suppress", "prices")  # of input files, in the manifest's order
_VERSIONED = (
    "babel",
    "campaign-sender",
    "jinja2",
    "nameparser",
    "phonenumbers",
    "polars",
    "tzdata",
)  # packages that shape a plan


def build_plan(
    campaign: Campaign,
    *,
    limit: int | None = None,
    test_to: str | None = None,
    state_dir: str | Path | None = None,
    only_new: bool = False,
    rehearse: bool = False,
    at: str | datetime | StartTime | None = None,
) -> Plan:
    """Return the plan of `campaign`. Raises InputError for whatever is wrong with more than a row.

    `limit` plans only the first messages, up to that number; the others are skipped as `limit`. `test_to` sends them
    to that one number instead of the recipients (one message, unless `limit` says more). Numbers on the suppression
    list in `state_dir`, if there is one, are skipped. With `only_new` people are skipped, as `already_sent`, whom this
    campaign has reached in the same edition, or may have reached, by the runs in `state_dir`; with `rehearse` too, by
    its rehearsals. So are people, as `frequency_cap`, who have had as many messages as `limits.per_person` or a rule
    allows. Who is skipped does not change the hash: a STOP after a run must not make the same campaign look unsent.

    `at` is when it begins, written as the campaign's `start` and instead of it; `now`: when it is sent.
    """
    with _located(campaign):
        compiled = compile_campaign(campaign, at=_read_at(at))
        compiled = with_links(compiled, campaign, state_dir, test=test_to is not None)
        compiled = compile_routes(campaign, compiled)
        recipients = read_recipients(campaign, compiled)
        check_columns(compiled, recipients)
        check_routes(compiled, recipients)
    audience = choose_rows(compiled, recipients, resolve_audience(compiled, recipients))
    test_number = None if test_to is None else read_test_number(compiled, test_to)
    limit = 1 if test_number and limit is None else limit
    totals = PlanTotals(compiled, recipients.phones, recipients.packed_headers, test_to=test_to, only_new=only_new)
    earlier = None
    if only_new or (test_to is None and has_caps(compiled)):
        people = partial(_people, audience)
        earlier = find_earlier_runs(compiled, people, state_dir, only_new=only_new, rehearse=rehearse)
    with open_suppression(compiled, state_dir) as suppression:
        known = None if test_to is not None else read_known_numbers(compiled, state_dir)
        builder = MessageBuilder(
            compiled,
            recipients,
            audience,
            limit=limit,
            test_number=test_number,
            mark_rows=_join_marks(suppression.mark_rows, earlier, known),
            known=known,
        )
        rows = gather(_counted(builder.blocks(), totals), totals.hash)
    if test_to is None:
        check_hidden_rows(compiled, recipients, builder.hidden_rows)
    manifest = _manifest(
        compiled, recipients, audience, suppression, builder, totals, _sent(rows), test_to=test_to, only_new=only_new
    )
    return _complete(Plan(manifest, rows), campaign, compiled)


def _complete(plan: Plan, campaign: Campaign, compiled: CompiledCampaign) -> Plan:
    """Return the plan with what its manifest says of variants, links and approval. Raises InputError."""
    links = links_to_manifest(compiled.links)
    plan = plan.with_manifest(replace(plan.manifest, approval=_read_approval(campaign), links=links))
    plan = with_experiment(plan, compiled)
    with _located(campaign):
        check_links(plan, compiled.links)
        refuse_closed_hours(plan)
    return plan


def _counted(blocks: Iterator[Block], totals: PlanTotals) -> Iterator[Block]:
    """Yield `blocks`, counted: while the writer's thread hashes and writes the one before, which takes as long."""
    for block in blocks:
        totals.count(block[0])
        yield block
        del block


def _read_at(at: str | datetime | StartTime | None) -> StartTime | Literal["now"] | None:
    if at is None:
        return None
    if at == "now":
        return "now"
    try:
        return parse_start(at)
    except ValueError as error:
        raise InputError(f"at: {error}") from None


def _read_approval(campaign: Campaign) -> dict[str, Any] | None:
    """Return the campaign's `approval` as the manifest keeps it."""
    spec = campaign.approval
    if spec is None:
        return None
    signers, revoked = (
        None if file is None else str(campaign.path(file).absolute()) for file in (spec.signers, spec.revoked)
    )
    return {"approvals": spec.approvals, "signers": signers, "revoked": revoked}


def _join_marks(suppress: MarkRows | None, earlier: EarlierRuns | None, known: KnownNumbers | None) -> MarkRows | None:
    """The function that gives rows their reason: by the suppression list, their numbers' types, and earlier runs."""
    marks = [
        *([] if suppress is None else [suppress]),
        *([] if known is None else [known.mark_rows]),
        *([] if earlier is None else [earlier.mark_rows]),
    ]
    return (lambda frame: reduce(lambda marked, mark: mark(marked), marks, frame)) if marks else None


def _people(audience: Audience) -> pl.Series:
    """The numbers of the list (String, distinct)."""
    return pl.concat([block["to"].drop_nulls() for block in audience.numbers.frames(["to"])]).unique()


def _manifest(
    compiled: CompiledCampaign,
    recipients: Recipients,
    audience: Audience,
    suppression: PlanSuppression,
    builder: MessageBuilder,
    totals: PlanTotals,
    messages: pl.LazyFrame,
    *,
    test_to: str | None,
    only_new: bool,
) -> Manifest:
    pace, feasibility = estimate_throughput(compiled, messages, mms=totals.mms > 0)
    return Manifest(
        campaign=compiled.name,
        edition=compiled.edition,
        start=None if compiled.start is None else compiled.start.to_manifest(),
        only_new=only_new,
        on_unfinished=compiled.on_unfinished,
        limits=compiled.limits,
        canary=None if compiled.canary is None or test_to is not None else compiled.canary.to_manifest(),
        provider=compiled.provider,
        dialect=compiled.dialect,
        senders=compiled.all_senders,
        fields=compiled.fields,
        test_to=test_to,
        rows=recipients.table.height,
        messages=builder.messages,
        blank_rows=recipients.blank_rows,
        skipped=totals.skipped,
        segments=totals.segments,
        segment_counts=totals.segment_counts,
        encodings=totals.encodings,
        mms=totals.mms,
        replacements=builder.replacements(),
        blame=totals.blame,
        lint=totals.warnings,
        cost=costs.total_cost(messages, compiled.prices, max_cost=compiled.max_cost),
        numbers={**compiled.numbers.to_manifest(), "repairs": totals.repairs},
        notes=(*compiled.notes, *recipients.notes, *audience.notes, *builder.notes()),
        pace=pace,
        per_person=tuple(cap.text for cap in compiled.per_person),
        window=compiled.window,
        feasibility=feasibility,
        templates=compiled.varying,
        pool=compiled.pool_settings,
        sandbox=compiled.sandbox,
        inputs=tuple(sorted((*recipients.inputs, *compiled.inputs, *audience.inputs), key=_role_order)),
        versions={name: _version(name) for name in _VERSIONED},
        suppression=suppression.checked,
        suppress=tuple(file.to_manifest() for file in compiled.numbers.suppress if file.can_be_read_again),
        headers=recipients.packed_headers,
        **totals.hashes,
        **routes_manifest(compiled, pace, messages, mms=totals.mms > 0),
    )


def _sent(rows: pl.DataFrame | StoredRows) -> pl.LazyFrame:
    return (rows.scan() if isinstance(rows, StoredRows) else rows.lazy()).filter(pl.col("seq").is_not_null())


def _role_order(file: InputFile) -> int:
    return _ROLES.index(file.role)


@contextmanager
def _located(campaign: Campaign) -> Iterator[None]:
    """Add the campaign file and line to an error that names a key of the campaign."""
    try:
        yield
    except PricesError:
        raise  # it names a file and line of its own
    except InputError as error:
        if error.where is not None and (place := campaign.locate(error.where)):
            error.where = place
        raise
