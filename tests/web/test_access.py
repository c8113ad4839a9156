"""Who may see the live page, and who may act on it; over real HTTP."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

import sender
from sender.core.errors import InputError
from sender.plan.manifest import Manifest
from sender.sending import run_control
from sender.state.ledger import Run
from sender.state.open import open_state
from sender.web import WebOptions, WebPage, open_web
from tests import local_http
from tests.web.runs import make_plan

PATHS = ("/", "/events", "/plans", "/runs/{run}", "/runs/{run}/preview", "/events/{run}", "/runs/{run}/pause")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state whose run has sent two of its five messages."""
    folder = tmp_path / "state"
    sender.send(make_plan(5, rate="none"), state_dir=folder, init_state=True, wait_s=0, limit=2)
    return folder


@pytest.fixture
def run(state: Path) -> Run:
    with open_state(state, read_only=True) as opened:
        return opened.ledger.runs()[0]


@pytest.fixture
def web(state: Path) -> Iterator[WebPage]:
    with open_web(state, WebOptions(port=0)) as page:
        yield page


@contextmanager
def client(page: WebPage, *, admitted: bool = True) -> Iterator[httpx.Client]:
    with local_http.Client(base_url=page.url, timeout=10) as client:
        if admitted:
            assert client.get(page.open_url).status_code == 200
        yield client


def form_key(admitted: httpx.Client, run: Run, action: str = "pause") -> str:
    text = admitted.get(f"/runs/{run.run_id}/{action}").text
    return text.split('name="form_key" value="')[1].split('"')[0]


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_shown_without_the_token(web: WebPage, run: Run, path: str) -> None:
    with client(web, admitted=False) as stranger:
        answer = stranger.get(path.format(run=run.run_id))
        assert (answer.status_code, "A token is needed" in answer.text) == (403, True)
        assert run.run_id not in answer.text
        assert stranger.get("/?token=wrong").status_code == 403
        assert stranger.get("/").status_code == 403


def test_the_token_can_be_typed(web: WebPage) -> None:
    token = web.open_url.split("token=")[1]
    with client(web, admitted=False) as stranger:
        assert stranger.post("/login", data={"token": "wrong"}).status_code == 403
        assert stranger.post("/login", data={"token": token}).status_code == 200
        assert "In progress" in stranger.get("/").text
        cookie = stranger.get(web.open_url).headers["set-cookie"]
        assert token not in cookie
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1:1", "127.0.0.1.evil.example", "", "[", "x:y"]
)
def test_another_name_of_this_machine_is_refused(web: WebPage, host: str) -> None:
    """A name that a stranger's name server leads to 127.0.0.1."""
    with client(web) as admitted:
        assert admitted.get("/", headers={"host": host}).status_code == 421


def test_a_named_host_is_served(state: Path) -> None:
    with open_web(state, WebOptions(port=0, names=("texts.example",))) as page:
        assert page.url == "https://texts.example"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_the_network_is_not_let_in_without_a_name(state: Path, host: str) -> None:
    with pytest.raises(InputError, match="reachable from the network"), open_web(state, WebOptions(host=host, port=0)):
        pass


@pytest.mark.parametrize("path", [*PATHS[:1], *PATHS[2:4], "/static/web.js", "/nothing", "/runs/nobody"])
def test_every_answer_forbids_what_it_does_not_need(web: WebPage, run: Run, path: str) -> None:
    with client(web) as admitted:
        headers = admitted.get(path.format(run=run.run_id)).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "same-origin")


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"origin": "https://evil.example"}, id="another origin"),
        pytest.param({"origin": "null"}, id="a hidden origin"),
        pytest.param({"sec-fetch-site": "cross-site"}, id="from another site"),
        pytest.param({"sec-fetch-site": "same-site"}, id="from another port"),
    ],
)
def test_a_form_of_another_page_does_nothing(web: WebPage, run: Run, state: Path, headers: dict[str, str]) -> None:
    with client(web) as admitted:
        data = {"form_key": form_key(admitted, run)}
        assert admitted.post(f"/runs/{run.run_id}/pause", data=data, headers=headers).status_code == 403
        assert admitted.post(f"/runs/{run.run_id}/pause", data={"form_key": "x"}).status_code == 403
        assert admitted.post(f"/runs/{run.run_id}/pause", content=b"x" * 5000).status_code == 413
    with open_state(state, read_only=True) as opened:
        assert opened.ledger.run(run.run_id).paused_by is None


def test_what_is_done_is_recorded_and_logged(
    web: WebPage, run: Run, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sender.web")
    with client(web) as admitted:
        data = {"form_key": form_key(admitted, run)}
        for action in ("pause", "resume", "close"):
            answer = admitted.post(f"/runs/{run.run_id}/{action}", data=data)
            assert (answer.status_code, answer.headers["location"]) == (303, f"/runs/{run.run_id}?did={action}")
            with open_state(state, read_only=True) as opened:
                now = opened.ledger.run(run.run_id)
                by = f"{run_control.name_person()}, on the web page"
                assert (now.paused_by, now.closed_by) == (
                    by if action == "pause" else None,
                    by if action == "close" else None,
                )
        refused = admitted.post(f"/runs/{run.run_id}/pause", data=data)
        assert (refused.status_code, "was closed" in refused.text) == (409, True)
    events = [
        (record.__dict__["action"], record.__dict__["run_id"]) for record in caplog.records if hasattr(record, "action")
    ]
    assert events == [(action, run.run_id) for action in ("pause", "resume", "close")]


def test_a_read_only_page_does_nothing(state: Path, run: Run) -> None:
    with open_web(state, WebOptions(port=0, read_only=True)) as page, client(page) as admitted:
        shown = admitted.get(f"/runs/{run.run_id}").text
        assert "read-only" in shown
        assert "control-pause" not in shown
        assert admitted.get(f"/runs/{run.run_id}/pause").status_code == 403
        assert admitted.post(f"/runs/{run.run_id}/pause", data={"form_key": "x"}).status_code == 403


@pytest.mark.parametrize("people", [False, True])
def test_people_are_shown_only_with_permission(state: Path, run: Run, people: bool) -> None:
    with open_web(state, WebOptions(port=0, people=people)) as page, client(page) as admitted:
        for path in ("/", f"/runs/{run.run_id}"):
            text = admitted.get(path).text
            assert "A secret text" not in text
            assert re.search(r"55501\d\d", text) is None
        preview = admitted.get(f"/runs/{run.run_id}/preview")
        assert preview.status_code == (200 if people else 403)
        assert ("A secret text" in preview.text) is people
        if people:
            assert preview.headers["content-security-policy"].startswith("sandbox; default-src 'none'")


def test_a_plan_is_shown_with_its_hash_and_the_command_that_approves_it(state: Path) -> None:
    plan = make_plan(4, rate="none")
    signers = state.parent / "allowed_signers"
    asks = {"approvals": 2, "signers": str(signers), "revoked": None}
    plan = plan.with_manifest(sender_manifest(plan, asks))
    folder = state / "plans" / "spring-1"
    folder.parent.mkdir(exist_ok=True)
    plan.write(folder)
    with open_web(state, WebOptions(port=0)) as page, client(page) as admitted:
        text = admitted.get("/plans").text
        assert plan.hash in text
        assert f"sender approve {folder} --as NAME" in text
        assert "2 approvals needed" in text
        (folder / "manifest.json").write_text("{}")
        assert "A damaged plan" in admitted.get("/plans").text


def sender_manifest(plan: sender.Plan, approval: dict[str, object]) -> Manifest:
    return replace(plan.manifest, approval=approval)
