"""All of it together: a campaign with two variants, a holdout, a window, two routes and two approvals.

It goes out to two providers that fail in their own ways, is watched on the page, and is killed twice. In the end the
providers' counts, the status, the results, the report, the page and the evidence say the same.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import polars as pl
import pytest

from sender import sandbox
from sender.web import WebOptions, WebPage, open_web
from tests import local_http
from tests.cli.conftest import Shell

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")

PEOPLE = 300
CREDENTIALS = {
    "TWILIO_ACCOUNT_SID": "AC" + "5a" * 16,
    "TWILIO_AUTH_TOKEN": "5a" * 16,
    "TELNYX_API_KEY": "KEY-sandbox-key",
}
CAMPAIGN = """
name: spring
recipients: {file: people.csv, default_region: US}
routes:
  - {provider: twilio, from: "+12025550100"}
  - {provider: telnyx, from: "+12025550101"}
rate: 40/s
timeout_s: 2
window: {hours: "00:00-24:00", rules: none}
holdout: 10%
experiment: {key: spring-2026, event: purchase}
message:
  variants:
    - {name: plain, body: "Hi {{ name }}, our spring sale is on. Reply STOP to opt out"}
    - {name: urgent, weight: 2, body: "{{ name }}, 20% off until Sunday. Reply STOP to opt out"}
approval: {approvals: 2}
"""


@contextmanager
def provider(faults: str) -> Iterator[str]:
    options = sandbox.Options(latency_ms=20, faults=sandbox.parse_faults(faults), hang_s=4.0, sent_after_s=0.1)
    with sandbox.embedded(options) as url:
        yield url


def accepted_by(url: str) -> Counter[str]:
    return Counter(local_http.get(f"{url}/sandbox/counts").json()["recipients"])


def make_keys(sender: Shell, *names: str) -> None:
    lines = []
    for name in names:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", name], cwd=sender.folder, check=True)
        kind, key, *_ = (sender.folder / f"{name}.pub").read_text().split()
        lines.append(f"{name} {kind} {key}")
    sender.write("allowed_signers", "\n".join(lines) + "\n")


@contextmanager
def viewer(web: WebPage) -> Iterator[Callable[[str], str]]:
    """Somebody who has the page open: what they read at a path."""
    with local_http.Client(base_url=web.url, follow_redirects=True) as client:
        client.get(web.open_url).raise_for_status()

        def see(path: str) -> str:
            answer = client.get(path)
            assert answer.status_code == 200, answer.text
            return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))

        yield see


def wait_for(accepted: int, *urls: str) -> None:
    until = time.monotonic() + 60
    while sum(accepted_by(url).total() for url in urls) < accepted:
        assert time.monotonic() < until, f"{accepted} were never accepted"
        time.sleep(0.02)


def test_a_whole_campaign(sender: Shell) -> None:
    make_keys(sender, "anna", "ben")
    sender.people(PEOPLE)
    sender.write("spring.yaml", CAMPAIGN)
    with provider("no-region=0.1,timeout-after=0.02,reset-after=0.02") as first, provider("500-before=0.05") as second:
        sender.env |= CREDENTIALS | {"TWILIO_API_BASE": first, "TELNYX_API_BASE": second}

        planned = sender("plan", "spring.yaml", "--out", "plan")
        assert planned.code == 0, planned
        refused = sender("send", "plan", "--yes")
        assert refused.code == 3
        assert accepted_by(first) + accepted_by(second) == Counter()
        for name in ("anna", "ben"):
            approved = sender("approve", "plan", "--as", name, "--key", name, "--yes")
            assert approved.code == 0, approved

        with open_web(sender.folder / ".sender", WebOptions(port=0)) as web, viewer(web) as see:
            for goal in (40, 120):
                process = sender.start("send", "plan", "--yes", "--wait", "0")
                wait_for(goal, first, second)
                process.kill()
                process.communicate()
                assert "spring" in see("/")
            last = sender("send", "plan", "--yes", "--wait", "0")
            assert last.code in {0, 1, 4}, last
            status = sender("status", "spring", "--json").json
            page = see(f"/runs/{status['run_id']}")

        # nobody twice; whom a provider has and the ledger does not call accepted is in doubt, and said to be
        counted = accepted_by(first) + accepted_by(second)
        results = sender.results()
        accepted = results.filter(pl.col("message_id").is_not_null())
        assert max(counted.values()) == 1
        unknown = results.filter(pl.col("status") == "unknown")
        assert set(accepted["to"]) <= set(counted) <= {*accepted["to"], *unknown["to"]}
        for name, url in (("twilio", first), ("telnyx", second)):
            by_it = set(accepted.filter(pl.col("provider") == name)["to"])
            assert by_it
            assert by_it <= set(accepted_by(url)) <= by_it | set(unknown["to"])

        # the holdout, and the variants by their weights
        held_out = results.filter(pl.col("reason") == "holdout")
        assert 15 <= held_out.height <= 50
        variants = dict(results.filter(pl.col("variant").is_not_null()).group_by("variant").len().iter_rows())
        assert 0.5 < variants["plain"] / variants["urgent"] * 2 < 2

        # each says the same
        assert status["accepted"] == accepted.height
        assert status["unknown"] == unknown.height
        assert status["pending"] == 0
        assert status["rows"] == PEOPLE
        assert status["routes"] == dict(accepted.group_by("provider").len().iter_rows())
        assert f"{accepted.height} accepted" in page
        bought = accepted.filter(pl.col("variant") == "urgent")["to"][:9]
        sender.write("sold.csv", "phone\n" + "\n".join(bought) + "\n")
        assert sender("outcomes", "import", "sold.csv", "--event", "purchase").code == 0
        report = sender("report", "spring", "--json").json
        groups = {group["name"]: group for group in report["comparison"]["groups"]}
        assert {name: group["people"] for name, group in groups.items()} == variants | {"holdout": held_out.height}
        assert {name: group["successes"] for name, group in groups.items()} == {"plain": 0, "urgent": 9, "holdout": 0}
        assert sum(group["accepted"] for group in groups.values()) == accepted.height
        assert {route["name"]: route["accepted"] for route in report["routes"]} == status["routes"]
        evidence = sender("evidence", "spring", "--as", "anna", "--key", "anna", "-o", "spring.tar")
        assert evidence.code == 0, evidence
        verified = sender("evidence", "verify", "spring.tar", "--signers", "allowed_signers")
        assert verified.code == 0, verified
        assert f"{accepted.height} accepted" in verified.out
        assert "approved by anna and ben" in verified.out
