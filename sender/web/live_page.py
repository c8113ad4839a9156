"""The page's addresses: lists, runs, events, actions. What it shows is made by `sender.web.view` and the templates."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any, TypeVar
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from sender.core.errors import SenderError, UnknownRun
from sender.reports.pages.page import make_environment
from sender.reports.pages.preview_page import preview_html
from sender.sending import run_control
from sender.sending.run_control import name_person
from sender.state.state import State
from sender.web.access import Access, Guard
from sender.web.view import Detail, Row, Viewer
from sender.web.watcher import Parts, Watcher

_FORM_BYTES = 4096
_STATIC = {
    "page.css": ("sender.reports.pages", "text/css"),
    "web.css": ("sender.web.pages", "text/css"),
    "icon.svg": ("sender.web.pages", "image/svg+xml"),
    "web.js": ("sender.web.pages", "text/javascript"),
}
# A page that is complete in itself, with its own styles; `sandbox` leaves it no script, no form and no origin.
_PREVIEW_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
ACTIONS = ("pause", "resume", "close")
_log = logging.getLogger(__name__)
T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]


class LivePage:
    """The page of one state."""

    def __init__(
        self, state: State, access: Access, *, people: bool, read_only: bool, env: Mapping[str, str] | None
    ) -> None:
        self._state = state
        self._access = access
        self._people = people
        self._read_only = read_only
        self._env = env
        self._viewer = Viewer(state, people=people)
        self._one_at_a_time = threading.Lock()  # the state's handles are for one thread at a time
        self.watcher = Watcher(self._look)

    def routes(self) -> list[Route]:
        doors: list[tuple[str, Handler]] = [
            ("/events", self.stream),
            ("/events/{run_id}", self.stream),
            ("/plans", self.show_plans),
            ("/runs/{run_id}", self.show_run),
            ("/runs/{run_id}/preview", self.show_preview),
            ("/runs/{run_id}/{action}", self.ask),
        ]
        return [
            Route("/", self.enter),
            Route("/login", self.log_in, methods=["POST"]),
            Route("/static/{name}", show_static),
            *(Route(path, self._admitted(handler)) for path, handler in doors),
            Route("/runs/{run_id}/{action}", self._admitted(self.act), methods=["POST"]),
        ]

    # -- who may see it ----------------------------------------------------------------------------------------------

    def _admitted(self, handler: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            return await handler(request) if self._access.admits(request) else self._door()

        return handle

    async def enter(self, request: Request) -> Response:
        """The list of runs; with the token, the cookie."""
        token = request.query_params.get("token")
        if token is not None:
            return self._let_in(token)
        return await self.show_list(request) if self._access.admits(request) else self._door()

    async def log_in(self, request: Request) -> Response:
        """What was typed at the door."""
        return self._let_in(_first(await _read_form(request), "token"))

    def _let_in(self, token: str) -> Response:
        if not self._access.is_token(token):
            _log.warning("somebody used a wrong token", extra={"event": "web_refused"})
            return self._door("This is not the token of this server.")
        # Not a redirect: a browser that came here from another site would not send the cookie along with it.
        answer = HTMLResponse(_render("entered.html.j2"))
        answer.set_cookie(self._access.cookie, self._access.session, httponly=True, samesite="strict", path="/")
        return answer

    def _door(self, problem: str = "") -> Response:
        return HTMLResponse(_render("door.html.j2", problem=problem), 403)

    # -- what it shows -----------------------------------------------------------------------------------------------

    async def show_list(self, _: Request) -> Response:
        rows = await run_in_threadpool(self._locked, self._viewer.rows)
        return HTMLResponse(_render("list.html.j2", **self._list_values(rows)))

    async def show_run(self, request: Request) -> Response:
        detail = await run_in_threadpool(self._locked, self._viewer.detail, request.path_params["run_id"])
        did = request.query_params.get("did", "")
        return HTMLResponse(_render("run.html.j2", **{**self._run_values(detail), "did": did}))

    async def show_plans(self, _: Request) -> Response:
        plans = await run_in_threadpool(self._locked, self._viewer.plans)
        return HTMLResponse(_render("plans.html.j2", plans=plans, **self._frame()))

    async def show_preview(self, request: Request) -> Response:
        if not self._people:
            raise HTTPException(403, "Only `sender web --show-people` shows texts and numbers.")
        page = await run_in_threadpool(self._locked, self._preview, request.path_params["run_id"])
        return HTMLResponse(page, headers={"content-security-policy": _PREVIEW_POLICY})

    async def stream(self, request: Request) -> Response:
        """What changes, as server-sent events."""
        run_id = request.path_params.get("run_id", "")
        if run_id:
            await run_in_threadpool(self._locked, self._state.ledger.run, run_id)
        return StreamingResponse(self.watcher.events(run_id), media_type="text/event-stream")

    # -- what a person does there ------------------------------------------------------------------------------------

    async def ask(self, request: Request) -> Response:
        """The question before an action."""
        action = self._action(request)
        detail = await run_in_threadpool(self._locked, self._viewer.detail, request.path_params["run_id"])
        values = self._run_values(detail)
        return HTMLResponse(_render("ask.html.j2", **values, action=action, form_key=self._access.form_key))

    async def act(self, request: Request) -> Response:
        """The action itself, if it comes from the question."""
        action = self._action(request)
        if not self._access.is_own_form(request, _first(await _read_form(request), "form_key")):
            raise HTTPException(403, "This form does not come from this page: go back, and open it again.")
        run_id = request.path_params["run_id"]
        run = await run_in_threadpool(self._locked, self._state.ledger.run, run_id)
        by = f"{name_person()}, on the web page"
        await run_in_threadpool(self._carry_out, action, run_id, by)
        caller = None if request.client is None else request.client.host
        _log.info(
            "%s of run %s of %s, from %s",
            action,
            run_id,
            run.campaign,
            caller,
            extra={"event": "web_action", "action": action, "run_id": run_id, "by": by, "from": caller},
        )
        return RedirectResponse(f"/runs/{run_id}?did={action}", 303)

    def _action(self, request: Request) -> str:
        action: str = request.path_params["action"]
        if action not in ACTIONS:
            raise HTTPException(404, "There is no such page.")
        if self._read_only:
            raise HTTPException(403, "This page is read-only: `sender web` runs with --read-only.")
        return action

    def _carry_out(self, action: str, run_id: str, by: str) -> None:
        where = self._state.where
        match action:
            case "pause":
                run_control.pause(run_id, state_dir=where, by=by, wait_s=0)
            case "resume":
                run_control.lift_pause(run_id, state_dir=where)
            case "close":
                run_control.close(run_id, state_dir=where, by=by, env=self._env)

    # -- the values of the templates ---------------------------------------------------------------------------------

    def _look(self, view: str) -> Parts:
        """The parts of a view now: of a run's page, or of the list."""
        if view:
            return _parts("run.html.j2", self._run_values(self._locked(self._viewer.detail, view)))
        return _parts("list.html.j2", self._list_values(self._locked(self._viewer.rows)))

    def _locked(self, read: Callable[..., T], *arguments: Any) -> T:
        with self._one_at_a_time:
            return read(*arguments)

    def _preview(self, run_id: str) -> str:
        return preview_html(self._state.plan(self._state.ledger.run(run_id)))

    def _frame(self) -> dict[str, Any]:
        return {"read_only": self._read_only, "people": self._people, "where": self._state.where}

    def _list_values(self, rows: list[Row]) -> dict[str, Any]:
        under_way = [row for row in rows if row.state not in ("complete", "closed")]
        others = [row for row in rows if row.state in ("complete", "closed")]
        return {**self._frame(), "under_way": under_way, "others": others}

    def _run_values(self, detail: Detail) -> dict[str, Any]:
        return {**self._frame(), "detail": detail, "run": detail.row.run, "now": detail.now, "did": ""}


def make_app(page: LivePage, access: Access) -> ASGIApp:
    """The ASGI app of the page."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await page.watcher.close()

    handlers: dict[Any, Callable[[Request, Exception], Response]] = {
        HTTPException: lambda _, error: _problem(str(getattr(error, "detail", "")), getattr(error, "status_code", 500)),
        UnknownRun: lambda _, error: _problem(str(error), 404),
        SenderError: lambda _, error: _problem(str(error), 409),
        Exception: _failed,
    }
    return Guard(Starlette(routes=page.routes(), lifespan=lifespan, exception_handlers=handlers), access)


async def show_static(request: Request) -> Response:
    """A style sheet or the script."""
    name = request.path_params["name"]
    if name not in _STATIC:
        raise HTTPException(404, "There is no such page.")
    package, media_type = _STATIC[name]
    content = resources.files(package).joinpath(name).read_bytes()
    return Response(content, media_type=media_type, headers={"cache-control": "max-age=300"})


def _failed(request: Request, error: Exception) -> Response:
    _log.error("%s cannot be shown", request.url.path, exc_info=error, extra={"event": "web_failed"})
    return _problem("This page cannot be shown. The log of `sender web` has the error.", 500)


def _problem(sentence: str, status: int) -> Response:
    return HTMLResponse(_render("problem.html.j2", sentence=sentence), status)


def _render(template: str, **values: Any) -> str:
    return make_environment("sender.web.pages").get_template(template).render(values)


def _parts(template: str, values: dict[str, Any]) -> dict[str, str]:
    """The parts of a page that change while somebody watches: the blocks whose names begin with `part_`."""
    page = make_environment("sender.web.pages").get_template(template)
    context = page.new_context(values)
    parts = {name: "".join(block(context)) for name, block in page.blocks.items() if name.startswith("part_")}
    return {name.removeprefix("part_"): html for name, html in parts.items()}


async def _read_form(request: Request) -> dict[str, list[str]]:
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > _FORM_BYTES:
            raise HTTPException(413, "The form is too long.")
    return parse_qs(content.decode("utf-8", "replace"))


def _first(form: Mapping[str, list[str]], name: str) -> str:
    return form.get(name, [""])[0]
