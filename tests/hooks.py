"""A server that keeps what it is called with, for tests of whoever calls."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.types import Receive, Scope, Send

from sender.core import asgi_server


@dataclass(frozen=True)
class Call:
    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    at_s: float


@dataclass
class Hook:
    """`answers` are the statuses of the next answers; then 200."""

    url: str
    calls: list[Call] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    silent: bool = False

    def wait_for(self, n: int, timeout_s: float = 20.0) -> list[Call]:
        until = time.monotonic() + timeout_s
        while len(self.calls) < n:
            assert time.monotonic() < until, f"{len(self.calls)} of {n} calls came"
            time.sleep(0.01)
        return self.calls


@contextmanager
def hook() -> Iterator[Hook]:
    with closing(asgi_server.listening_socket("127.0.0.1", 0)) as sock:
        kept = Hook(asgi_server.base_url(sock))

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            body, more = b"", True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
            headers = {name.decode(): text.decode() for name, text in scope["headers"]}
            query = scope["query_string"].decode()
            url = f"{kept.url}{scope['path']}{f'?{query}' if query else ''}"
            kept.calls.append(Call(scope["method"], url, headers, body, time.time()))
            status = kept.answers.pop(0) if kept.answers else 200
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

        config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, access_log=False)
        with asgi_server.in_thread(asgi_server.Server(config), sock, "hook"):
            yield kept
