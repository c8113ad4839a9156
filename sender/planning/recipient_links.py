"""The links of a plan's messages: one token for each person and address, derived and never random.

A token follows from the state's key, the campaign, the number and the address. So a person has the same link after
every interruption and in every retry, its length is known before, and nobody without the key can tell whose it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from sender.campaign.model import Campaign
from sender.core.errors import CampaignError, InputError
from sender.plan.plan import Plan
from sender.planning.compiled import CompiledCampaign
from sender.planning.link_maker import NO_SECRET, LinkMaker, compile_links
from sender.state.open import read_people_key

_PURPOSE, _TEST_PURPOSE = "links", "links of tests"


def with_links(
    compiled: CompiledCampaign, campaign: Campaign, state: str | Path | None, *, test: bool
) -> CompiledCampaign:
    """Return the compiled campaign with what makes its links; the same where it has none.

    Raises InputError without a state, but for a test, and StateError.
    """
    maker = compile_links(campaign)
    return compiled if maker is None else replace(compiled, links=replace(maker, secret=read_secret(state, test=test)))


def read_secret(state: str | Path | None, *, test: bool) -> bytes:
    """Return the secret that the links of a plan are made with; it is made where the state has none.

    Raises InputError without a state, but for a test, and StateError.
    """
    if state is None and not test:
        raise InputError(
            "the links of a campaign need the state directory, whose key makes them",
            fix="build_plan(campaign, state_dir=...) names it",
        )
    secret = None if state is None else read_people_key(state, create=not test)
    if secret is None:
        return NO_SECRET
    purpose = _TEST_PURPOSE if test else _PURPOSE
    return hashlib.blake2b(purpose.encode(), digest_size=32, key=secret).digest()


def check_links(plan: Plan, maker: LinkMaker | None) -> None:
    """Raise CampaignError where two links of a plan have the same token."""
    if maker is None:
        return
    links = plan.scan().filter(pl.col("seq").is_not_null()).select("to", pl.col("links")).explode("links").drop_nulls()
    pairs = links.select("to", "links", token=pl.col("links").str.slice(0, maker.length)).unique()
    counts = pairs.select(pairs=pl.len(), tokens=pl.col("token").n_unique()).collect()
    if counts["pairs"].item() != counts["tokens"].item():
        raise CampaignError(
            f"two links would have the same token of {maker.length} characters",
            where="links.length",
            fix="raise it by one or two",
        )


def list_links(plan: Plan, base: str) -> pl.DataFrame:
    """Return `token`, `link`, `url`, `row_number`, `seq`, `to` of each link in a plan's messages, in file order."""
    scan = plan.scan()
    if "links" not in scan.collect_schema():  # plans of older versions do not have the column
        text, number = pl.String(), pl.UInt32()
        columns = {"token": text, "link": text, "url": text, "row_number": number, "seq": number, "to": text}
        return pl.DataFrame(schema=columns)
    rows = scan.filter(pl.col("seq").is_not_null()).select("row_number", "seq", "to", "links").explode("links")
    parts = pl.col("links").str.splitn(" ", 2).struct
    listed = rows.drop_nulls("links").select(
        parts.field("field_0").alias("token"), parts.field("field_1").alias("url"), "row_number", "seq", "to"
    )
    frame = listed.collect().sort("row_number", maintain_order=True)
    return frame.select("token", pl.concat_str(pl.lit(base), "token").alias("link"), "url", "row_number", "seq", "to")


def links_to_manifest(maker: LinkMaker | None) -> Mapping[str, Any] | None:
    """Return what a plan's manifest keeps of how its links were made."""
    return None if maker is None else {"base": maker.base, "domains": list(maker.domains), "length": maker.length}
