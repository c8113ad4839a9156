"""`python -m benchmarks.arrivals PORT FILE`: a provider that accepts everything, and notes when each request arrives.

On Linux the time is the kernel's, which stamps what a socket receives (SO_TIMESTAMPNS), so that a receiver that is late
itself counts nothing wrong; elsewhere it is when the request was read. SIGTERM ends it and writes FILE: a C double for
each request, seconds of the system's monotonic clock, in no order.
"""

from __future__ import annotations

import itertools
import selectors
import signal
import socket
import struct
import sys
import time
from array import array
from pathlib import Path

from benchmarks.stub import ANSWER

# Python names neither; both are 35 on every Linux but for Alpha, MIPS, PA-RISC and SPARC (asm-generic/socket.h).
_SO_TIMESTAMPNS = _SCM_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@qq")
_STAMPED = sys.platform == "linux"


class Receiver:
    """Answers each POST by its Content-Length; knows no more of HTTP than the transports here need."""

    def __init__(self, port: int) -> None:
        self.arrived = array("d")  # seconds of the monotonic clock
        self._numbers = itertools.count(time.time_ns())  # no id comes again, as no provider has one twice
        self._waits = selectors.DefaultSelector()
        self._begun: dict[socket.socket, bytes] = {}
        self._wall_less_monotonic_s = time.time() - time.monotonic()
        self._over = False
        self._listener = socket.create_server(("127.0.0.1", port), backlog=8192)
        self._listener.setblocking(False)
        self._waits.register(self._listener, selectors.EVENT_READ)

    def serve(self) -> None:
        """Answer until `stop`."""
        while not self._over:
            for key, _ in self._waits.select(0.1):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._read(key.fileobj)  # type: ignore[arg-type]

    def stop(self, *_: object) -> None:
        self._over = True

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if _STAMPED:
            connection.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._begun[connection] = b""
        self._waits.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> None:
        try:
            data, ancillary, *_ = connection.recvmsg(65_536, 128 if _STAMPED else 0)
        except BlockingIOError:
            return
        except OSError:
            data, ancillary = b"", []
        if not data:
            self._waits.unregister(connection)
            del self._begun[connection]
            connection.close()
            return
        arrived_s = self._stamp(ancillary)
        data = self._begun[connection] + data
        while (end := data.find(b"\r\n\r\n")) >= 0:
            head = data[:end].lower()
            at = head.find(b"content-length:")
            whole = end + 4 + (int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0)
            if len(data) < whole:
                break
            data = data[whole:]
            self.arrived.append(arrived_s)
            body = ANSWER.format(id=f"{next(self._numbers):032x}").encode()
            connection.send(
                b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (len(body), body)
            )
        self._begun[connection] = data

    def _stamp(self, ancillary: list[tuple[int, int, bytes]]) -> float:
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == _SCM_TIMESTAMPNS:
                seconds, nanoseconds = _TIMESPEC.unpack(data[: _TIMESPEC.size])
                return float(seconds + nanoseconds / 1e9 - self._wall_less_monotonic_s)
        return time.monotonic()


if __name__ == "__main__":
    receiver = Receiver(int(sys.argv[1]))
    signal.signal(signal.SIGTERM, receiver.stop)
    receiver.serve()
    Path(sys.argv[2]).write_bytes(receiver.arrived.tobytes())
