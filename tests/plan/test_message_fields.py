"""The fields of one message: the plan's, the row's own over them, and what follows from them."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from sender.core.refs import make_ref
from sender.plan.message_fields import (
    SERVICE_FIELDS,
    find_service,
    is_mms,
    merge_fields,
    parse_fields,
    ref_column,
    row_field,
    row_service,
)

COMMON = {"validity_period": 60, "subject": "A"}


def rows(*fields: str | None, media: list[str] | None = None) -> pl.DataFrame:
    schema = {"fields": pl.String, "media": pl.List(pl.String)}
    return pl.DataFrame({"fields": fields, "media": [media] * len(fields)}, schema=schema)


def test_a_rows_own_fields_are_over_the_plans() -> None:
    assert merge_fields(COMMON, None) is COMMON
    assert merge_fields(COMMON, '{"subject":"B","attempt":2}') == {"validity_period": 60, "subject": "B", "attempt": 2}
    assert (parse_fields(None), parse_fields('{"attempt":2}')) == ({}, {"attempt": 2})


def test_a_rows_own_field_is_text_or_null() -> None:
    frame = rows('{"attempt":2,"subject":"B"}', "{}", None)
    assert frame.select(row_field("attempt")).to_series().to_list() == ["2", None, None]


@pytest.mark.parametrize(
    ("fields", "service"),
    [
        pytest.param({}, None, id="none"),
        pytest.param(COMMON, None, id="other-fields"),
        pytest.param({"messaging_service_sid": "MGa"}, "MGa", id="twilio"),
        pytest.param({"messaging_profile_id": "p"}, "p", id="telnyx"),
    ],
)
def test_the_service_of_a_message(fields: dict[str, Any], service: str | None) -> None:
    assert find_service(fields) == service


def test_a_rows_own_service() -> None:
    frame = rows('{"messaging_profile_id":"p"}', '{"subject":"B"}', None)
    assert frame.select(row_service(SERVICE_FIELDS)).to_series().to_list() == ["p", None, None]


@pytest.mark.parametrize(
    ("common", "own", "media", "mms"),
    [
        pytest.param({}, None, None, False, id="text"),
        pytest.param({}, None, [], False, id="empty-list-of-media"),
        pytest.param({}, None, ["https://e.example/a.png"], True, id="media"),
        pytest.param({"send_as_mms": True}, None, None, True, id="the-plan-asks-for-it"),
        pytest.param({"message_type": "MMS"}, None, None, True, id="the-plans-type"),
        pytest.param({"message_type": "SMS"}, None, None, False, id="another-type"),
        pytest.param({}, '{"send_as_mms":true}', None, True, id="the-row-asks-for-it"),
        pytest.param({}, '{"send_as_mms":false}', None, False, id="the-row-says-no"),
        pytest.param({}, '{"message_type":"MMS"}', None, True, id="the-rows-type"),
    ],
)
def test_what_goes_as_mms(common: dict[str, Any], own: str | None, media: list[str] | None, *, mms: bool) -> None:
    assert rows(own, media=media).select(mms=is_mms(common))["mms"].to_list() == [mms]


def test_refs_of_a_column_are_the_refs_of_its_messages() -> None:
    seqs = pl.Series("seq", [0, 7, 1_234_567], dtype=pl.UInt32)
    refs = seqs.to_frame().select(ref_column("20261128-abc", pl.col("seq"))).to_series()
    assert refs.to_list() == [make_ref("20261128-abc", seq) for seq in seqs]
