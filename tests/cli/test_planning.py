"""`sender plan` with prices, limits, `--explain`, and `sender plan diff`, as a person runs them."""

from __future__ import annotations

from typing import Any

import click
import pytest

from sender.cli.campaign_options import _campaign_keys, campaign_options
from sender.core import errors
from tests.cli.conftest import Shell

CAMPAIGN = """\
provider: sandbox
from: "+12025550100"
recipients: people.csv
message: "Hi {{ name }}, it’s on"
prices: prices.yaml
"""
PRICES = "currency: USD\nprices:\n  - {to: US, sms: 0.01}\n"


def campaign(sender: Shell, name: str = "a.yaml", more: str = "") -> None:
    sender.people(3)
    sender.write("prices.yaml", PRICES)
    sender.write(name, CAMPAIGN + more)


def test_the_summary_tells_segments_cost_and_blame(sender: Shell) -> None:
    campaign(sender)
    told = [" ".join(line.split()) for line in sender("plan", "a.yaml").out.splitlines()]
    assert "segments 3 3 messages of 1" in told
    assert "cost 0.03 USD by prices.yaml: US 0.03" in told
    assert not any("right single quotation mark" in line for line in told), "it costs no segment"


def test_the_limit_is_told_by_plan_and_stops_send(sender: Shell) -> None:
    campaign(sender, more="limits: {max_cost: 0.02}\n")
    planned = sender("plan", "a.yaml")
    assert planned.code == 0
    assert "would not be sent: the plan costs 0.03 USD, and limits.max_cost is 0.02" in " ".join(planned.out.split())
    stopped = sender("send", "a.yaml", "--yes")
    assert stopped.code == 3, stopped
    assert "the plan costs 0.03 USD, and limits.max_cost is 0.02" in stopped.err
    assert not list((sender.folder / ".sender" / "runs").iterdir())
    assert sender("send", "a.yaml", "--yes", "--max-cost", "0.03").code == 0


def test_prices_by_option(sender: Shell) -> None:
    campaign(sender)
    sender.write("dear.yaml", PRICES.replace("0.01", "5"))
    manifest = sender("plan", "a.yaml", "--prices", "dear.yaml", "--json").json
    assert manifest["cost"]["total"] == "15.00"
    assert manifest["blame"]["characters"] == [{"character": "’", "instead": "'", "messages": 3, "segments": 0}]


def test_a_broken_price_table(sender: Shell) -> None:
    campaign(sender)
    sender.write("prices.yaml", PRICES.replace("0.01", "0.01 USD"))
    done = sender("plan", "a.yaml")
    assert done.code == 2
    assert "prices.yaml, line 3, key `prices.0.sms`" in done.err


def test_repairs_and_types_left_out_are_told(sender: Shell) -> None:
    sender.write("people.csv", "phone\n2025550101.0\n2025550102.0\n+442079460123\n+449098790123\n4.91512E12\n")
    options = ("--provider", "sandbox", "--from", "+12025550100", "--body", "Hi", "--default-region", "United States")
    done = sender("plan", "people.csv", *options, "--skip-types", "fixed_line,premium-rate")
    told = [" ".join(line.split()) for line in done.out.splitlines()]
    repair = "dropped the decimals that a spreadsheet added, as in row 2, `2025550101.0` to +12025550101"
    assert f"repair: 2 numbers repaired: {repair}" in told
    assert "row 4 landline: a fixed_line number, a type that recipients.skip_types leaves out" in told
    assert "row 5 suppressed: a premium_rate number, a type that recipients.skip_types leaves out" in told
    told = sender("plan", "people.csv", *options, "--no-caution", "--json").json
    assert told["numbers"] == {
        "caution": False,
        "skip_types": [],
        "held_types": ["toll_free", "premium_rate", "shared_cost", "uan", "voicemail"],
        "repairs": [],
    }
    refused = sender("plan", "people.csv", *options, "--skip-types", "satellite")
    assert refused.code == 2
    assert "choose one of fixed_line, mobile, fixed_line_or_mobile, toll_free" in " ".join(refused.err.split())


def test_explain(sender: Shell) -> None:
    campaign(sender)
    done = sender("plan", "a.yaml", "--explain", "3")
    assert done.code == 0
    assert "'Hi Ada 1, it’s on'" in done.out
    assert not (sender.folder / ".sender").exists(), "it writes no plan"
    told = sender("plan", "a.yaml", "--explain", "3", "--json").json
    assert (told["row_number"], told["seq"], told["cells"]["name"]) == (3, 1, "Ada 1")
    assert [one["step"] for one in told["steps"]][-2:] == ["cost", "message"]
    assert sender("plan", "a.yaml", "--explain", "9").code == 2


def test_diff_of_campaigns_and_of_a_written_plan(sender: Shell) -> None:
    campaign(sender)
    campaign(sender, "b.yaml")
    sender.write("b.yaml", CAMPAIGN.replace("it’s", "it is"))
    assert sender("plan", "a.yaml", "--out", "written").code == 0
    for before in ("a.yaml", "written"):
        done = sender("plan", "diff", before, "b.yaml", "--examples", "1")
        assert done.code == 0, done
        lines = [" ".join(line.split()) for line in done.out.splitlines()]
        assert lines[0] == f"A {before}: 3 rows, 3 messages, 3 segments, 0.03 USD"
        assert "changed 3: 3 in body" in lines
        assert "body 'Hi Ada 0, it’s on'" in lines
        assert "'Hi Ada 0, it is on'" in lines
        assert "same 0" in lines
    told = sender("check", "diff", "written", "b.yaml", "--json").json
    assert (told["counts"]["changed"], told["counts"]["added"]) == (3, 0)


def test_diff_of_lists_with_options(sender: Shell) -> None:
    sender.people(2, "old.csv")
    sender.people(3, "new.csv")
    done = sender(
        "plan", "diff", "old.csv", "new.csv", "--provider", "sandbox", "--from", "+12025550100", "--body", "Hi"
    )
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert {"added 1", "row 4 +12025550102", "removed 0", "changed 0", "same 2"} <= set(lines)
    assert "costs are not compared: both plans need prices in one currency" in lines


def test_written_plans_take_no_options(sender: Shell) -> None:
    campaign(sender)
    sender("plan", "a.yaml", "--out", "written")
    done = sender("plan", "diff", "written", "written", "--body", "x")
    assert done.code == 2
    assert "never changes" in done.err


def test_a_campaign_called_diff(sender: Shell) -> None:
    campaign(sender, "diff")
    sender.write("diff", "phone\n+12025550101\n")
    done = sender("plan", "./diff", "--provider", "sandbox", "--from", "+12025550100", "--body", "Hi")
    assert done.code == 0, done
    assert "plan diff" in sender("--help").out
    assert "A B" in sender("plan", "diff", "--help").out


@pytest.mark.parametrize(("key", "option"), errors._OPTIONS.items())
def test_the_option_that_errors_name_stands_for_the_key(key: str, option: str) -> None:
    given: dict[str, Any] = {}

    @click.command()
    @campaign_options
    def probe(campaign: object, **options: Any) -> None:
        given.update(_campaign_keys(options))

    values = {"limits.max_failed": "7%", "recipients.hidden_rows": "keep"}
    value = values.get(key, "7" if key.startswith("limits.max_") else "value")
    probe.main(["c.yaml", option, value], standalone_mode=False)
    found: Any = given
    for name in key.split("."):
        found = found[name]
    assert value in str(found)


def test_errors_name_key_and_option(sender: Shell) -> None:
    sender.write("two.csv", "phone,mobile\n1,2\n")
    told = sender("plan", "two.csv", "--provider", "sandbox").err
    assert "fix: choose one with `recipients.phone_column` (--phone-column)" in told
    (sender.folder / "cp.csv").write_bytes(b"phone,name\n2025550101,Zo\xeb\n")
    told = sender("plan", "cp.csv", "--provider", "sandbox").err
    assert "`recipients.encoding: cp1252` (--set recipients.encoding=cp1252)" in told
