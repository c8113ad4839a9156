"""The live page in a browser: headless Chromium watches a run from start to end, and pauses and resumes it by clicks.

Without Chromium the tests are skipped with a sentence; with `SENDER_REQUIRE_BROWSER=1`, which `.ci/run` sets in CI, they
fail.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from sender.state.open import open_state
from sender.web import WebOptions, WebPage, open_web
from tests.web.runs import NAME, RESUME, SEND, first_run, process

SIZES = {"phone": {"width": 390, "height": 844}, "desk": {"width": 1280, "height": 800}}
RATE, MESSAGES = "20/s", 240
WIDEST = """
[...document.querySelectorAll("*")].filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
    .map((one) => one.outerHTML.slice(0, 100)).slice(-3)
"""


def chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = chromium()
    if program is None:
        if os.environ.get("SENDER_REQUIRE_BROWSER"):
            pytest.fail("there is no Chromium, and SENDER_REQUIRE_BROWSER wants one")
        pytest.skip("there is no Chromium: `apt-get install chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A page in the browser, and what went wrong on it: errors of the console, and requests to elsewhere."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.problems: list[str] = []
        page.on("console", lambda message: message.type in ("error", "warning") and self.problems.append(message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: request.url.startswith(url) or self.problems.append(request.url))

    def check(self) -> None:
        """What a person with a screen reader, a keyboard or little sight meets: no rule of axe is broken."""
        found = Axe().run(self.page)
        assert found.violations_count == 0, found.generate_report()
        assert self.problems == []
        width = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert width <= 0, f"it scrolls sideways: {self.page.evaluate(WIDEST)}"

    def check_all(self) -> None:
        """The same at each size, light and dark."""
        before = self.page.viewport_size
        assert before is not None
        for size in SIZES.values():
            self.page.set_viewport_size(size)  # type: ignore[arg-type]
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                self.check()
        self.page.set_viewport_size(before)


@pytest.fixture(params=[pytest.param(size, marks=pytest.mark.long if size != "phone" else ()) for size in SIZES])
def watch(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Opens the page at a size."""
    context = browser.new_context(viewport=SIZES[request.param])  # type: ignore[arg-type]

    def open_page(web: WebPage) -> Watched:
        watched = Watched(context.new_page(), web.url)
        watched.page.goto(web.open_url)
        watched.page.wait_for_url(f"{web.url}/")
        return watched

    yield open_page
    context.close()


def wait_for_progress(page: Page, messages: int) -> None:
    """Wait until that many more have been submitted than are shown."""
    before = int(page.locator("#progress progress").get_attribute("value") or 0)
    page.wait_for_function("n => document.querySelector('#progress progress').value >= n", arg=before + messages)


def test_a_run_is_watched_paused_and_resumed(tmp_path: Path, watch: Any) -> None:
    state = tmp_path / "state"
    with process(SEND, state, MESSAGES, RATE):
        run = first_run(state)
        with open_web(state, WebOptions(port=0)) as web:
            watched = watch(web)
            page = watched.page
            expect(page.get_by_role("heading", name="In progress")).to_be_visible()
            page.get_by_role("link", name=NAME).click()
            expect(page.locator("#head .badge")).to_have_text("sending")
            wait_for_progress(page, 20)
            assert page.locator("#connection").text_content() == "Live."
            page.get_by_role("link", name="Pause").click()
            page.get_by_role("button", name="Pause").click()
            expect(page.locator("#head .badge")).to_have_text("paused")
            expect(page.locator("#progress dd").filter(has_text=re.compile("^by .* on the web page$"))).to_be_visible()
            expect(page.locator("#news")).to_contain_text("paused by")
            expect(page.locator("#progress")).to_contain_text("no process", timeout=20_000)
            watched.check_all()
            page.get_by_role("link", name="Runs").click()
            expect(page.locator("#runs .badge")).to_have_text("paused")
            watched.check_all()
            page.get_by_role("link", name=NAME).click()
            with open_state(state, read_only=True) as opened:
                paused = opened.ledger.run(run.run_id)
                assert paused.paused_by is not None
                assert paused.paused_by.endswith(", on the web page")

            page.get_by_role("link", name="Resume").click()
            expect(page.get_by_text(f"sender resume {run.run_id}")).to_be_visible()
            watched.check_all()
            page.get_by_role("button", name="Resume").click()
            expect(page.get_by_text("The pause is lifted")).to_be_visible()
            expect(page.locator("#head .badge")).to_have_text("unfinished")
            with process(RESUME, state, run.run_id):
                expect(page.locator("#head .badge")).to_have_text("sending", timeout=20_000)
                expect(page.locator("#head .badge")).to_have_text("complete", timeout=60_000)
            expect(page.locator("#totals")).to_contain_text(
                f"{MESSAGES + 1} rows = 1 skipped + {MESSAGES} accepted", timeout=10_000
            )
            expect(page.locator("#news")).to_contain_text("complete, 100 % submitted")
            watched.check_all()
            assert "A secret text" not in page.content()
            assert "+1202555" not in page.content()
            assert re.search(r"55501\d\d", page.content()) is None, "no number in any other form"


def test_all_is_reached_by_keyboard(tmp_path: Path, watch: Any) -> None:
    state = tmp_path / "state"
    with process(SEND, state, 150, "10/s"):
        run = first_run(state)
        with open_web(state, WebOptions(port=0)) as web:
            watched = watch(web)
            page = watched.page
            page.goto(f"{web.url}/runs/{run.run_id}")
            reached = []
            for _ in range(5):
                page.keyboard.press("Tab")
                reached.append(page.evaluate("document.activeElement.innerText"))
            assert reached == ["Skip to the content", "Runs", "Written plans", "Pause", "Close"]
            page.focus("#control-pause")
            wait_for_progress(page, 10)
            assert page.evaluate("document.activeElement.id") == "control-pause", "what changes takes no focus away"
            page.keyboard.press("Enter")
            page.wait_for_url("**/pause")
            page.locator("#confirm").press("Enter")
            expect(page.locator("#head .badge")).to_have_text("paused")
            page.get_by_role("link", name="Close").press("Enter")
            page.locator("#confirm").press("Enter")
            expect(page.locator("#head .badge")).to_have_text("closed")
            watched.check_all()


def test_without_scripts_it_shows_the_present_state(tmp_path: Path, browser: Browser) -> None:
    state = tmp_path / "state"
    with process(SEND, state, 3, "none"):
        pass
    context = browser.new_context(java_script_enabled=False)
    with open_web(state, WebOptions(port=0, people=True)) as web:
        page = context.new_page()
        page.goto(web.open_url)
        page.wait_for_url(f"{web.url}/")
        page.get_by_role("link", name=NAME).click()
        expect(page.locator("#head .badge")).to_have_text("complete")
        page.get_by_role("link", name="Preview of its messages").click()
        expect(page.get_by_text("A secret text").first).to_be_visible()
    context.close()
