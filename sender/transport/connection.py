"""One HTTP/1.1 connection: a request out, its answer in, one at a time. Opens nothing and waits for nothing itself."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import cast

import httptools

from sender.providers.base import Response
from sender.transport.base import MAX_ANSWER_BYTES, NotHttp

_MAX_HEAD_BYTES = 64 * 1024
# With chunks of one byte an answer is six times as long as its content.
_MAX_BYTES = 8 * MAX_ANSWER_BYTES


@lru_cache(256)
def _header_name(name: bytes) -> str:
    return name.decode("latin-1").lower()


class Connection(asyncio.Protocol):
    """A connection that is up. `reusable` says whether it may carry another request."""

    def __init__(self) -> None:
        self.idle_since_s = 0.0
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = self._loop.create_future()
        self._transport: asyncio.Transport
        self._answer: asyncio.Future[Response] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._until_s = 0.0
        self._open = False
        self._parser = httptools.HttpResponseParser(self)

    @property
    def reusable(self) -> bool:
        """Whether it is up, carries no request, and nothing came that nobody asked for."""
        return self._open and self._answer is None and not self._transport.is_closing()

    def exchange(self, request: bytes, until_s: float) -> asyncio.Future[Response]:
        """Writes `request` now; the answer, or TimeoutError at the loop's time `until_s`, NotHttp or an OSError.

        The bytes may have left as soon as this is called. Whoever gives up waiting must `abort`.
        """
        answer = self._answer = self._loop.create_future()
        self._status = 0
        self._received = self._size = 0
        self._head_done = self._whole = False
        self._headers: dict[str, str] = {}
        self._content: list[bytes] = []
        self._until_s = until_s
        if self._timer is None or self._timer.when() > until_s:
            self._watch()
        self._transport.write(request)
        return answer

    def abort(self) -> None:
        """Closes at once, whatever is under way."""
        self._open = False
        self._transport.abort()

    # -- asyncio's calls -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._open = True

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:  # an answer to nothing: whose would the next one be?
            self.abort()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail(NotHttp())  # without the parser's words, which may quote what came
            return
        if not answer.done() and self._received > (_MAX_BYTES if self._head_done else _MAX_HEAD_BYTES):
            self._fail(NotHttp())

    def eof_received(self) -> None:  # asyncio then closes our side too
        self._open = False

    def connection_lost(self, exc: Exception | None) -> None:
        self._open = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.lost.done():
            self.lost.set_result(None)
        if self._answer is None:
            return
        to_its_end = self._head_done and "content-length" not in self._headers
        if exc is None and to_its_end and "transfer-encoding" not in self._headers:
            self._finish(truncated=False)  # such an answer ends where the connection does
        else:
            self._fail(exc or NotHttp())

    # -- httptools' calls ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._answer is None:
            self.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text, headers = _header_name(name), value.decode("latin-1"), self._headers
        headers[key] = f"{headers[key]}, {text}" if key in headers else text

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        self._head_done = self._status >= 200
        if not self._head_done:  # an interim answer is not the answer
            self._headers = {}

    def on_body(self, body: bytes) -> None:
        if self._answer is None:
            return
        self._size += len(body)
        self._content.append(body)
        if self._size > MAX_ANSWER_BYTES:
            self._open = False
            self._finish(truncated=True)
            self._transport.abort()

    def on_message_complete(self) -> None:
        if self._answer is None or not self._head_done:
            return
        if not self._parser.should_keep_alive():
            self._open = False
            self._transport.close()
        self._finish(truncated=False)

    # -- the end of an exchange ------------------------------------------------------------------------------------

    def _finish(self, *, truncated: bool) -> None:
        content = self._content[0] if len(self._content) == 1 else b"".join(self._content)
        answer = self._over()
        if answer is not None:
            answer.set_result(Response(self._status, self._headers, content[:MAX_ANSWER_BYTES], truncated=truncated))

    def _watch(self) -> None:
        """One timer stands for exchange after exchange, since hardly any comes to its end."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._until_s, self._expire)

    def _expire(self) -> None:
        timer, self._timer = self._timer, None
        if self._answer is None or timer is None:
            return
        if timer.when() < self._until_s:  # it was set for an earlier exchange
            self._watch()
        else:
            self._fail(TimeoutError())

    def _fail(self, error: BaseException) -> None:
        answer = self._over()
        self.abort()
        if answer is not None:
            answer.set_exception(error)

    def _over(self) -> asyncio.Future[Response] | None:
        """The one who waits, if there still is one; the exchange is over."""
        answer, self._answer = self._answer, None
        return answer if answer is not None and not answer.done() else None
