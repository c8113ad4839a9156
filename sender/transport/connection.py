"""One HTTP/1.1 connection: a request out, its answer in, one at a time. Does not open itself and never waits."""

from __future__ import annotations

import asyncio
import select
from functools import lru_cache
from typing import cast

import httptools

from sender.providers.base import Response
from sender.transport.base import MAX_ANSWER_BYTES, NotHttp

_MAX_HEAD_BYTES = 64 * 1024
# In chunks of one byte, an answer is six times as long as its content.
_MAX_BYTES = 8 * MAX_ANSWER_BYTES


@lru_cache(256)
def _header_name(name: bytes) -> str:
    return name.decode("latin-1").lower()


class Connection(asyncio.Protocol):
    """An open connection. `reusable` says whether it may carry another request."""

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
        self._unread: select.poll | None = None
        self.answer_id = 0  # of its last answer, by `id`, which is unique only while that answer is alive

    @property
    def reusable(self) -> bool:
        """Whether it is open, carries no request, and has received nothing unasked."""
        return self._open and self._answer is None and not self._transport.is_closing()

    @property
    def silent(self) -> bool:
        """Whether nothing has come that this process has not read yet.

        Bytes that wait in an idle connection are no answer to the next request: a doubled answer, or a goodbye.
        """
        return self._unread is None or not self._unread.poll(0)

    def exchange(self, request: bytes, until_s: float) -> asyncio.Future[Response]:
        """Write `request` now, and return the future of its answer.

        The future raises TimeoutError at the loop's time `until_s`, NotHttp or an OSError. The bytes may have left as
        soon as this is called. A caller that stops waiting must call `abort`.
        """
        answer = self._answer = self._loop.create_future()
        self._status = 0
        self._received = self._size = 0
        self._head_done = self._whole = False
        self._headers: dict[str, str] = {}
        self._content: list[bytes] = []
        self._until_s = until_s
        if self._timer is None or self._timer.when() > until_s:
            self._set_timer()
        self._transport.write(request)
        return answer

    def abort(self) -> None:
        """Close at once, whatever is in flight."""
        self._open = False
        self._transport.abort()

    # -- called by asyncio -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._open = True
        sock = transport.get_extra_info("socket")
        if hasattr(select, "poll") and sock is not None and sock.fileno() >= 0:  # Windows has none
            self._unread = select.poll()
            self._unread.register(sock.fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:  # an answer to no request: the next one could not be attributed
            self.abort()
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):  # 101 is no answer: nobody has asked for it
            self._fail(NotHttp())  # without the parser's message, which may quote the answer
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
        ends_with_connection = self._head_done and "content-length" not in self._headers
        if exc is None and ends_with_connection and "transfer-encoding" not in self._headers:
            self._finish(truncated=False)  # such an answer ends when the connection does
        else:
            self._fail(exc or NotHttp())

    # -- called by httptools ------------------------------------------------------------------------------------------

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
        answer = self._end_exchange()
        if answer is not None:
            response = Response(self._status, self._headers, content[:MAX_ANSWER_BYTES], truncated=truncated)
            self.answer_id = id(response)
            answer.set_result(response)

    def _set_timer(self) -> None:
        """Set the one timer that serves exchange after exchange, since hardly any exchange lasts until it fires."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._until_s, self._expire)

    def _expire(self) -> None:
        timer, self._timer = self._timer, None
        if self._answer is None or timer is None:
            return
        if timer.when() < self._until_s:  # it was set for an earlier exchange
            self._set_timer()
        else:
            self._fail(TimeoutError())

    def _fail(self, error: BaseException) -> None:
        answer = self._end_exchange()
        self.abort()
        if answer is not None:
            answer.set_exception(error)

    def _end_exchange(self) -> asyncio.Future[Response] | None:
        """End the exchange, and return the future that its caller still waits for (None: it does not)."""
        answer, self._answer = self._answer, None
        return answer if answer is not None and not answer.done() else None
