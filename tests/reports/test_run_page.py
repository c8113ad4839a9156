"""A run's report: figures that add up, and a page that holds them in a browser and on a phone."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sender
from sender.core.lazy_modules import LazyModule
from sender.core.outcomes import Accepted, DeliveryReport, Outcome, Reason, Rejected, Status, Unknown
from sender.plan.plan import Plan
from sender.reports.figures import Figures, build_figures, figures_to_dict
from sender.reports.labels import amounts, per_second, seconds, share
from sender.state.ledger import ReceivedReport, Run, RunKind, Settlement
from sender.state.sqlite.ledger import SqliteLedger

run_page = LazyModule("sender.reports.pages.run_page")  # it loads matplotlib, which takes half a second

NINE = datetime(2026, 11, 20, 9, tzinfo=UTC)
HOSTILE = '<img src=x onerror="alert(1)">'
PRICES = """\
currency: USD
prices:
  - {to: US, sms: 0.01}
  - {to: GB, sms: 0.04}
"""


class Clock:
    now_ms = round(NINE.timestamp() * 1000)

    def __call__(self) -> int:
        return self.now_ms


def iso(at_ms: float) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()


def outcome(seq: int, now_ms: int) -> Outcome:
    if seq % 20 == 3:
        return Rejected(Reason.OPTED_OUT, "21610", f"unsubscribed {HOSTILE}")
    if seq % 50 == 7:
        return Unknown("the answer never came")
    return Accepted(f"SM{seq}", Status.QUEUED, "queued", segments=2 if seq % 10 == 0 else 1, created_at=iso(now_ms))


def report(seq: int, sent_ms: int) -> DeliveryReport:
    """Delivered after 2.5 s, every tenth after 5.5 s; every fifteenth is undelivered, every 25th has no final word."""
    priced = {"price": "-0.0075", "currency": "USD"}
    if seq % 25 == 4:
        return DeliveryReport(f"SM{seq}", Status.SENT, "sent", reported_at=iso(sent_ms + 500))
    if seq % 15 == 5:
        words = (Reason.UNREACHABLE, "30003", "Unreachable handset")
        at = iso(sent_ms + 2500)
        return DeliveryReport(f"SM{seq}", Status.UNDELIVERED, "undelivered", None, *words, reported_at=at, **priced)
    at = iso(sent_ms + (5500 if seq % 10 == 1 else 2500))
    return DeliveryReport(f"SM{seq}", Status.DELIVERED, "delivered", reported_at=at, **priced)


def make(
    folder: Path, *, rows: int = 400, sent: int | None = None, pause_ms: int = 0, name: str = f"Spring {HOSTILE}"
) -> Figures:
    """A run through a clock of its own: ten messages a second, in two countries, from two numbers; in its middle a
    pause."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prices.yaml").write_text(PRICES, encoding="utf-8")
    numbers = [f"+1{area}55501{n:02}" for area in ("202", "212") for n in range(90)]
    numbers += [f"+44207946{n:04}" for n in range(rows - len(numbers) - 1)]
    people = pl.DataFrame({"phone": [*numbers[: rows - 1], "n/a"]})
    senders = ["+12025550150", "+12025550151"]
    campaign = sender.load_campaign(
        recipients=people, name=re.sub(r"/", "", name), provider="sandbox", from_=senders, message="Hi",
        rate="10/s", prices=folder / "prices.yaml",
    )  # fmt: skip
    plan = sender.build_plan(campaign)
    clock = Clock()
    ledger = SqliteLedger.open(folder / "ledger.sqlite3", clock=clock)
    counts = {"rows": plan.manifest.rows, "messages": plan.manifest.messages, "skipped": 1}
    run = Run("20261120-090000-0a1b2c3d", plan.manifest.campaign, RunKind.SANDBOX, "sandbox", plan.hash, None, **counts,
              created_at_ms=clock.now_ms, simulated=True)  # fmt: skip
    ledger.create_run(run)
    reports: list[ReceivedReport] = []
    left = plan.manifest.messages if sent is None else sent
    while left and (claims := ledger.claim(run.run_id, limit=min(10, left), lease_ms=30_000)):
        left -= len(claims)
        settled = [Settlement(one, outcome(one.seq, clock.now_ms)) for one in claims]
        ledger.record(run.run_id, settled)
        accepted = [one.claim.seq for one in settled if isinstance(one.outcome, Accepted)]
        reports += [ReceivedReport(report(seq, clock.now_ms), run.run_id, seq) for seq in accepted]
        clock.now_ms += 1000
        if claims[0].seq == 200:
            clock.now_ms += pause_ms
    ledger.record_reports(reports)
    journal = ledger.journal(run.run_id)
    ledger.close()
    retry = dataclasses.replace(run, run_id="20261121-100000-ffffffff", retry_of=run.run_id)
    return build_figures(plan, journal, run, retries=[retry])


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    return make(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def page(found: Figures) -> str:
    return run_page.run_html(found)


# -- figures -----------------------------------------------------------------------------------------------------------

SEQS = range(399)
REJECTED = [seq for seq in SEQS if seq % 20 == 3]
UNKNOWN = [seq for seq in SEQS if seq % 50 == 7 and seq not in REJECTED]
ACCEPTED = [seq for seq in SEQS if seq not in REJECTED and seq not in UNKNOWN]
WAITING = [seq for seq in ACCEPTED if seq % 25 == 4]
UNDELIVERED = [seq for seq in ACCEPTED if seq % 15 == 5 and seq not in WAITING]
DELIVERED = [seq for seq in ACCEPTED if seq not in WAITING and seq not in UNDELIVERED]


def test_the_funnel_and_the_law(found: Figures) -> None:
    assert [(one.name, one.count) for one in found.funnel] == [
        ("rows", 400),
        ("messages", 399),
        ("submitted", 399),
        ("accepted", len(ACCEPTED)),
        ("with the carrier", len(ACCEPTED)),
        ("delivered", len(DELIVERED)),
    ]
    assert found.summary.holds
    assert found.waiting == len(WAITING)


def test_pace_and_latency(found: Figures) -> None:
    assert found.begun == NINE
    assert found.ended == NINE + timedelta(seconds=39)
    assert (found.per_s, found.peak_per_s, found.planned_per_s) == (10.0, 10.0, 10.0)
    assert found.latency is not None
    assert (found.latency.count, found.latency.median_s, found.latency.longest_s) == (len(DELIVERED), 2.5, 5.5)
    assert [one.seconds for one in found.slowest[:3]] == [5.5, 5.5, 5.5]


def test_a_pause_is_not_the_pace(tmp_path: Path) -> None:
    """Stopped after the first half, and gone on with an hour later."""
    halves = make(tmp_path, pause_ms=3_600_000)
    assert halves.ended == NINE + timedelta(seconds=39 + 3600)
    assert halves.per_s is not None
    assert 10.0 <= halves.per_s < 10.5


def test_the_timeline_adds_up(found: Figures) -> None:
    line = found.timeline
    assert line is not None
    assert (line.start, line.step_s) == (NINE, 1.0)
    assert (sum(line.accepted), sum(line.rejected)) == (len(ACCEPTED), len(REJECTED))
    assert (sum(line.unknown), sum(line.delivered)) == (len(UNKNOWN), len(DELIVERED))
    assert sum(line.failed) == len(UNDELIVERED)
    at_first = [seq for seq in ACCEPTED if seq < 10]
    assert line.accepted[0] == len(at_first)
    assert line.delivered[2] == len([seq for seq in DELIVERED if seq < 10 and seq % 10 != 1])
    assert (line.median_s[0], line.p95_s[0]) == (2.5, 5.5)


def test_countries_and_senders_add_up_to_the_whole(found: Figures) -> None:
    assert [one.name for one in found.countries] == ["GB", "US"]
    assert {one.name for one in found.senders} == {"+12025550150", "+12025550151"}
    for groups in (found.countries, found.senders):
        assert sum(one.messages for one in groups) == 399
        assert sum(one.accepted for one in groups) == len(ACCEPTED)
        assert sum(one.delivered for one in groups) == len(DELIVERED)
        assert sum(one.bad for one in groups) == len(REJECTED) + len(UNDELIVERED)
        assert sum(one.unknown for one in groups) == len(UNKNOWN)
        assert sum(one.segments for one in groups) == found.segments_real
        assert sum((one.planned for one in groups if one.planned is not None), Decimal()) == found.cost_planned
        assert sum((one.price["USD"] for one in groups), Decimal()) == found.summary.price["USD"]


def test_planned_against_real(found: Figures) -> None:
    assert found.cost_planned == Decimal("0.01") * 180 + Decimal("0.04") * 219
    assert found.summary.price == {"USD": Decimal("0.0075") * (len(DELIVERED) + len(UNDELIVERED))}
    assert found.priced == len(DELIVERED) + len(UNDELIVERED)
    assert (found.segments_planned, found.segments_told) == (399, len(ACCEPTED))
    assert found.segments_differ == len([seq for seq in ACCEPTED if seq % 10 == 0])


def test_json_has_plain_values(found: Figures) -> None:
    told = json.loads(json.dumps(figures_to_dict(found)))
    assert told["law"] == found.summary.totals_line()
    assert told["cost_planned"] == f"{found.cost_planned:f}"
    assert told["begun"] == "2026-11-20T09:00:00.000+00:00"


@pytest.mark.parametrize("sent", [0, 1, 15])
def test_a_run_that_has_hardly_begun(tmp_path: Path, sent: int) -> None:
    found = make(tmp_path, sent=sent)
    assert found.summary.pending == 399 - sent
    assert found.summary.holds
    assert f"{399 - sent} messages pending" in run_page.run_html(found)


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (share(1, 1000), "0.1 %"), (share(999_999, 1_000_000), "99.9 %"), (share(0, 5), "0 %"), (share(5, 5), "100 %"),
        (share(1, 0), ""), (seconds(0.84), "0.8 s"), (seconds(59.7), "1 min 00 s"), (seconds(7500), "2 h 05 min"),
        (per_second(1234.5), "1,234/s"), (per_second(0.1), "6/min"), (per_second(12.34), "12.3/s"),
        (amounts({"USD": Decimal("1.50"), "": Decimal(2)}), "2, 1.50 USD"), (amounts({}), ""),
        (amounts({"USD": Decimal("8.8000"), "EUR": Decimal("0.00790")}), "0.0079 EUR, 8.80 USD"),
    ],
)  # fmt: skip
def test_words(told: str, text: str) -> None:
    assert told == text


# -- the page ----------------------------------------------------------------------------------------------------------


class Strict(HTMLParser):
    """Fails on a tag that is not closed, closed twice, or closed in the wrong order, and on an id used twice."""

    EMPTY = frozenset({"meta", "br", "img", "input", "hr", "link"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.seen: set[str] = set()
        self.links: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        assert len(named) == len(attrs), f"<{tag}> has an attribute twice"
        assert not [name for name in named if name.startswith("on")], named
        if (own := named.get("id")) is not None:
            assert own not in self.ids, f"the id {own} is used twice"
            self.ids.add(own)
        self.links |= {str(value) for name, value in attrs if name in ("src", "href", "xlink:href")}
        self.seen.add(tag)
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.EMPTY:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_is_whole_and_asks_for_nothing(page: str) -> None:
    parsed = Strict()
    parsed.feed(page)
    parsed.close()
    assert not parsed.open
    assert not parsed.seen & {"script", "iframe", "object", "link", "img", "form"}
    assert all(link.startswith("#") and link[1:] in parsed.ids for link in parsed.links), parsed.links
    assert not re.search(r"url\((?!#)", page)
    text = " ".join("".join(parsed.text).split())
    for words in ("From rows to delivered", "Over time", "Why messages did not arrive", "United States", "United Kingdom",
                  "Slowest deliveries", "8 messages unknown", "again by run 20261121-100000-ffffffff"):  # fmt: skip
        assert words in text, words


def test_what_people_wrote_is_text(page: str) -> None:
    assert "<img" not in page
    assert "&lt;img src=x" in page


def test_the_same_figures_give_the_same_page(found: Figures, page: str) -> None:
    assert run_page.run_html(found) == page


def test_plots_take_their_colours_from_the_page(page: str) -> None:
    drawn = re.findall(r"<svg .*?</svg>", page, flags=re.DOTALL)
    assert len(drawn) == 6  # three plots, each wide and narrow
    for svg in drawn:
        assert not re.search(r"#0[0-9]0[0-9]0[0-9]\b", svg)
        assert "var(--" in svg
        assert 'aria-label="' in svg


# -- in a browser ------------------------------------------------------------------------------------------------------

HARNESS = """<!doctype html><title>harness</title><body><script>
const widths = [390, 1280], found = [];
async function look(width) {
  const frame = document.createElement("iframe");
  frame.style = `border: 0; width: ${width}px; height: 900px`;
  frame.src = "report.html";
  await new Promise(done => { frame.onload = done; document.body.append(frame); });
  const page = frame.contentDocument, root = page.documentElement;
  const wide = [...page.querySelectorAll("body *:not(svg *)")].filter(one => {
    const box = one.getBoundingClientRect(), head = one.closest("thead");
    if (head && head.getBoundingClientRect().width <= 1) return false;  // kept for screen readers
    return box.width > 1 && box.height > 1 && (box.right > width + 0.5 || box.left < -0.5);
  }).map(one => one.tagName + "." + one.className);
  const plots = [...page.querySelectorAll(".plot svg")].filter(one => one.getBoundingClientRect().width > 0);
  const words = plots.flatMap(one => [...one.querySelectorAll("text")]).map(one => one.getBoundingClientRect().height);
  found.push({ width, scroll: root.scrollWidth, wide, plots: plots.length, smallest: Math.min(...words) });
}
look(390).then(() => look(1280)).then(() => {
  document.body.innerHTML = "<pre>" + JSON.stringify(found) + "</pre>";
});
</script>"""


def browser() -> str:
    """Chromium's path. Where none is installed the test is skipped, unless SENDER_REQUIRE_BROWSER says it may not."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    if os.environ.get("SENDER_REQUIRE_BROWSER"):
        pytest.fail("no Chromium here, and SENDER_REQUIRE_BROWSER is set")
    pytest.skip("no Chromium here: apt-get install chromium")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None: ...


@pytest.fixture
def served(tmp_path: Path, page: str) -> Iterator[str]:
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    (tmp_path / "harness.html").write_text(HARNESS, encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_fits_a_phone_and_a_desk_without_a_complaint(served: str, tmp_path: Path) -> None:
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--enable-logging=stderr",
        "--window-size=1400,1000",
        "--virtual-time-budget=20000",
        "--dump-dom",
    ]
    done = subprocess.run(
        [browser(), *flags, f"--user-data-dir={tmp_path / 'profile'}", f"{served}/harness.html"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    told = re.search(r"<pre>(.*)</pre>", done.stdout)
    assert told, done.stdout + done.stderr
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not console, console
    phone, desk = json.loads(told[1].replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"))
    for one in (phone, desk):
        assert one["wide"] == []
        assert one["scroll"] <= one["width"]
        assert one["plots"] == 3  # each once, in the width that fits
        assert one["smallest"] >= 9  # pixels: readable


def test_a_plan_without_prices_or_deliveries(tmp_path: Path) -> None:
    people = pl.DataFrame({"phone": ["+12025550101"]})
    campaign = sender.load_campaign(recipients=people, provider="sandbox", from_="+12025550150", message="Hi")
    plan: Plan = sender.build_plan(campaign)
    result = sender.send(plan, state_dir=tmp_path)
    with sender.StateDir(tmp_path) as state:
        found = build_figures(state.plan(result.run), state.ledger.journal(result.run.run_id), result.run)
    html = run_page.run_html(found)
    assert "without a price table" in html
    assert "Why messages did not arrive" not in html
