"""What every store of the records of schedules does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import pytest

from sender.core.errors import RunLocked
from sender.state.files.tick_files import TickFiles
from sender.state.open import open_state
from sender.state.ticks import TickRecord, TickStore
from tests.state.conftest import SOME_DATABASES

ALIKE = ("朝の便り", "夜の便り", "spring sale", "spring_sale", "Spring_sale", "été", "ôtô")


def record(campaign: str, settled_ms: int = 7) -> TickRecord:
    return TickRecord(campaign, "0 9 * * * UTC", settled_ms)


@pytest.fixture(params=["folder", *SOME_DATABASES])
def ticks(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TickStore]:
    where = tmp_path if request.param == "folder" else request.getfixturevalue("new_database")(request.param)
    with open_state(where) as state:
        yield state.ticks


def test_campaigns_whose_names_look_alike_have_records_of_their_own(ticks: TickStore) -> None:
    for settled_ms, campaign in enumerate(ALIKE):
        assert ticks.read(campaign) is None
        ticks.write(record(campaign, settled_ms))
    assert [ticks.read(campaign) for campaign in ALIKE] == [record(name, at) for at, name in enumerate(ALIKE)]
    with ExitStack() as stack:
        for campaign in ALIKE:
            stack.enter_context(ticks.hold(campaign))
        with pytest.raises(RunLocked, match="another process starts été by its schedule"), ticks.hold("été"):
            pass


def test_a_record_of_an_older_version_is_read_and_is_one_campaign_s(tmp_path: Path) -> None:
    file = tmp_path / "schedule" / "spring_sale.json"
    file.parent.mkdir()
    file.write_text(json.dumps(asdict(record("spring sale"))))
    ticks = TickFiles(tmp_path)
    assert ticks.read("spring sale") == record("spring sale")
    assert [ticks.read(name) for name in ("spring_sale", "spring+sale")] == [None, None]
    ticks.write(record("spring sale", 8))
    ticks.write(record("spring_sale", 9))
    assert [ticks.read(name) for name in ("spring sale", "spring_sale")] == [
        record("spring sale", 8),
        record("spring_sale", 9),
    ]
