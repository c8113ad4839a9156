"""Time zones by name: those of the `tzdata` package, whatever the machine has."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import pytest

from sender.core.errors import InputError
from sender.rules.zones import suggest_zone, zone, zone_names


def test_every_zone_is_read() -> None:
    assert len(zone_names()) > 590
    for name in zone_names():
        assert datetime(2026, 12, 1, tzinfo=zone(name)).utcoffset() is not None


def test_a_zone_is_the_packages_even_where_the_machine_has_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's Vancouver is Tokyo here, as an older machine's is the one that changes its clock in winter."""
    (tmp_path / "America").mkdir()
    tokyo = files("tzdata").joinpath("zoneinfo", "Asia", "Tokyo").read_bytes()
    (tmp_path / "America" / "Vancouver").write_bytes(tokyo)
    monkeypatch.setattr(zoneinfo, "TZPATH", (str(tmp_path),))
    zone.cache_clear()
    local = datetime(2026, 12, 1, 12, tzinfo=UTC).astimezone(zone("America/Vancouver"))
    assert local.isoformat() == "2026-12-01T05:00:00-07:00"


@pytest.mark.parametrize(
    "name",
    [
        "localtime", "posixrules", "right/Europe/Berlin", "posix/Europe/Berlin", "Factory", "Etc/Unknown", "Napakiak", "",
        " ", "America", "america/new_york", "../tzdata/zones", "/etc/localtime", "zone.tab", "tzdata.zi", "A\0B",
    ],
)  # fmt: skip
def test_what_is_not_a_zone_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="there is no time zone") as caught:
        zone(name)
    assert (caught.value.fix or "").startswith("write it as ")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("america/new york", "America/New_York"), ("New York", "America/New_York"), ("Berlin", "Europe/Berlin"),
        ("Europe/Berln", "Europe/Berlin"), ("Eastern Time", "America/New_York"), ("PST", "America/Los_Angeles"),
        ("EST", "America/New_York"), ("MST", "America/Denver"), ("us/pacific", "US/Pacific"), ("utc", "UTC"),
        ("Nowhere at all", None), ("", None),
    ],
)  # fmt: skip
def test_the_zone_that_a_text_may_mean(text: str, name: str | None) -> None:
    assert suggest_zone(text) == name


def test_links_are_zones() -> None:
    moment = datetime(2026, 12, 1, 12, tzinfo=UTC)
    assert moment.astimezone(zone("Asia/Calcutta")).utcoffset() == moment.astimezone(zone("Asia/Kolkata")).utcoffset()
    assert zone("Asia/Calcutta").key == "Asia/Calcutta"
