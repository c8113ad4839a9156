"""The metrics file, read by Prometheus' own parser."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from sender.core.errors import InputError
from sender.core.output_files import NOTHING_PROTECTED
from sender.schedule.metrics import (
    CampaignMetrics,
    after_end,
    check_metrics_file,
    count_messages,
    read_metrics,
    render_metrics,
    write_metrics,
)

FULL = CampaignMetrics(
    'we"ekly\\ let\nter',
    last_success_s=1795926422.529,
    last_end_s=1795926500.0,
    duration_s=2.5,
    exit_code=1,
    messages={("delivered", ""): 40, ("skipped", "opted_out"): 2, ("failed", "unreachable"): 1},
    next_start_s=1796000000.0,
    held=12,
    missed=3,
)


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_prometheus_reads_all_of_it() -> None:
    text = render_metrics([FULL, CampaignMetrics("other")])
    assert text.endswith("\n# EOF\n")
    found = samples(text)
    label = ("campaign", 'we"ekly\\ let\nter')
    assert found["campaign_sender_last_success_timestamp_seconds", (label,)] == 1795926422.529
    assert found["campaign_sender_missed_starts_total", (label,)] == 3
    assert found["campaign_sender_held_messages", (label,)] == 12
    assert found["campaign_sender_last_messages", (label, ("reason", "opted_out"), ("status", "skipped"))] == 2
    assert not any(labels == (("campaign", "other"),) for _, labels in found), "what is not known is left out"


def test_an_empty_one_is_one() -> None:
    assert list(text_string_to_metric_families(render_metrics([]))) == []


def test_it_is_read_again(tmp_path: Path) -> None:
    write_metrics(tmp_path / "m.prom", [FULL])
    assert read_metrics(tmp_path / "m.prom") == {FULL.campaign: FULL}
    assert read_metrics(tmp_path / "none") == {}
    assert (tmp_path / "m.prom").stat().st_mode & 0o044, "a collector is another user"


def test_a_failed_start_keeps_the_last_success() -> None:
    after = after_end(FULL, exit_code=3, now_s=1796000010.0, begun_s=1796000000.0, summary=None)
    assert (after.last_success_s, after.messages) == (FULL.last_success_s, FULL.messages)
    assert (after.exit_code, after.last_end_s, after.duration_s) == (3, 1796000010.0, 10.0)


def test_rows_are_counted_once() -> None:
    summary = {
        "skipped": {"duplicate": 3, "opted_out": 1},
        "statuses": {"delivered": 10, "skipped": 4, "failed": 3, "rejected": 2},
        "errors": [
            {"status": "failed", "reason": "unreachable", "error_code": "1", "example": "x", "count": 2},
            {"status": "rejected", "reason": "opted_out", "error_code": "2", "example": "x", "count": 1},
            {"status": "rejected", "reason": "opted_out", "error_code": "3", "example": "x", "count": 1},
            {"status": "delivered", "reason": None, "error_code": "9", "example": "x", "count": 1},
        ],
    }
    counts = count_messages(summary)
    assert counts == {
        ("skipped", "duplicate"): 3,
        ("skipped", "opted_out"): 1,
        ("failed", "unreachable"): 2,
        ("failed", ""): 1,
        ("rejected", "opted_out"): 2,
        ("delivered", ""): 10,
    }
    assert sum(counts.values()) == 19


def test_no_number_is_in_a_label() -> None:
    text = render_metrics([CampaignMetrics("call +12025550100 (12025550101)", exit_code=0)])
    assert "2025550" not in text
    assert "20261201" in render_metrics([CampaignMetrics("offer 20261201", exit_code=0)]), "a date is none"


def test_a_file_of_another_kind_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text("name,phone\n")
    with pytest.raises(InputError, match="is not a metrics file"):
        check_metrics_file(file, NOTHING_PROTECTED)
    write_metrics(tmp_path / "m.prom", [FULL])
    assert check_metrics_file(tmp_path / "m.prom", NOTHING_PROTECTED) == tmp_path / "m.prom"
    write_metrics(tmp_path / "m.prom", [])
    assert check_metrics_file(tmp_path / "m.prom", NOTHING_PROTECTED) == tmp_path / "m.prom", "an empty one, too"
