"""The live page over a state in a database: what it shows and does is the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import sender
from sender.state.open import open_state
from sender.web import WebOptions, open_web
from tests import local_http
from tests.state.conftest import SOME_DATABASES, give_back, lent, new_database, servers, state_pools  # noqa: F401 (fixtures)
from tests.web.runs import make_plan


@pytest.mark.parametrize("kind", SOME_DATABASES)
def test_a_run_in_a_database_is_shown_and_paused(new_database: Callable[[str], str], kind: str) -> None:  # noqa: F811
    url = new_database(kind)
    sender.send(make_plan(5, rate="none"), state_dir=url, wait_s=0, limit=2)
    with open_state(url, read_only=True) as state:
        (run,) = state.ledger.runs()
    with open_web(url, WebOptions(port=0)) as page, local_http.Client(base_url=page.url, timeout=10) as browser:
        browser.get(page.open_url)
        assert run.run_id in browser.get("/").text
        shown = browser.get(f"/runs/{run.run_id}").text
        assert "6 rows = 1 skipped + 2 accepted + 0 rejected + 0 canceled + 0 unknown + 3 pending" in shown
        with browser.stream("GET", f"/events/{run.run_id}") as events:
            assert next(events.iter_lines()) == "event: parts"
        form_key = browser.get(f"/runs/{run.run_id}/pause").text.split('name="form_key" value="')[1].split('"')[0]
        assert browser.post(f"/runs/{run.run_id}/pause", data={"form_key": form_key}).status_code == 303
        assert "paused" in browser.get("/").text
    with open_state(url, read_only=True) as state:
        paused = state.ledger.run(run.run_id).paused_by
    assert paused is not None
    assert paused.endswith(", on the web page")
