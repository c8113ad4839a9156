"""A provider that accepts everything, on loopback: nginx where it is installed, else a small server in Python.

`with running(latency_ms) as (url, kind)`. Every POST gets a 201 with a unique id after that latency. nginx waits by its
echo module (Debian: nginx-light, libnginx-mod-http-echo); without it the answers that wait come from the Python server,
which is slower, and `kind` says so. `python -m benchmarks.stub PORT LATENCY_MS` is that server.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
ECHO = next(
    (
        one
        for one in map(
            Path,
            (
                "/usr/lib/nginx/modules/ngx_http_echo_module.so",
                "/usr/share/nginx/modules/ngx_http_echo_module.so",
            ),
        )
        if one.exists()
    ),
    None,
)
ANSWER = '{{"id":"{id}","sid":"SM{id}","status":"queued","data":{{"id":"{id}","to":[{{"status":"queued"}}]}}}}'
_NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors; {load}
events {{ worker_connections 16384; }}
worker_rlimit_nofile 20000;
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 60s; default_type application/json;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:{port} backlog=8192; location / {{ {answer} }} }}
}}
"""


@contextmanager
def running(latency_ms: int, *, http2: bool = False) -> Iterator[tuple[str, str]]:
    """The stub's address, and what it is; with `http2` it speaks nothing else."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        if nginx and (not latency_ms or ECHO):
            kind = "nginx, one worker"
            file = Path(folder) / "nginx.conf"
            file.write_text(_configuration(folder, port, latency_ms, http2=http2))
            command = [nginx, "-e", "stderr", "-c", str(file)]
        else:
            kind = "a Python server (slower than nginx: its echo module is missing)" if nginx else "a Python server"
            command = [sys.executable, "-m", "benchmarks.stub", str(port), str(latency_ms)]
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        try:
            _wait_for(port, process)
            yield f"http://127.0.0.1:{port}", kind
        finally:
            process.terminate()
            process.wait()


@contextmanager
def receiving(file: Path) -> Iterator[tuple[str, Callable[[], list[float]]]]:
    """The address of a stub that notes when requests arrive, and a call that ends it and gives these times, rising.

    Seconds of the system's monotonic clock, by the kernel's time stamps where there are any (`benchmarks.arrivals`).
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.arrivals", str(port), str(file)], cwd=ROOT)

    def arrivals() -> list[float]:
        process.terminate()
        process.wait()
        return sorted(array("d", file.read_bytes()))

    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}", arrivals
    finally:
        process.terminate()
        process.wait()


def _configuration(folder: str, port: int, latency_ms: int, *, http2: bool) -> str:
    answer = ANSWER.format(id="$request_id")
    if not latency_ms and not http2:
        return _NGINX.format(folder=folder, port=port, load="", answer=f"return 201 '{answer}';")
    # Over HTTP/2 `return` answers before it has the body, which httpcore 1.0.9 takes for an error.
    before = "echo_read_request_body;" if http2 else f"echo_sleep {latency_ms / 1000};"
    answer = f"echo_status 201; {before} echo -n '{answer}';"
    told = _NGINX.format(folder=folder, port=port, load=f"load_module {ECHO};", answer=answer)
    return told.replace("backlog=8192", "backlog=8192 http2") if http2 else told


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(500):
        if process.poll() is not None:
            raise SystemExit(f"the stub ended at once with {process.returncode}")
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise SystemExit("the stub does not answer")


class _Stub(asyncio.Protocol):
    """Answers each POST by its Content-Length; knows no more of HTTP than the contenders here need."""

    numbers = itertools.count(time.time_ns())  # no id comes again, as no provider has one twice
    latency_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._data = b""

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            at = head.find(b"content-length:")
            whole = end + 4 + (int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0)
            if len(self._data) < whole:
                return
            self._data = self._data[whole:]
            if self.latency_s:
                asyncio.get_running_loop().call_later(self.latency_s, self._answer)
            else:
                self._answer()

    def _answer(self) -> None:
        body = ANSWER.format(id=f"{next(self.numbers):032x}").encode()
        head = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        if not self._transport.is_closing():
            self._transport.write(head + body)  # type: ignore[attr-defined]


async def _serve(port: int, latency_ms: int) -> None:
    _Stub.latency_s = latency_ms / 1000
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    server = await loop.create_server(_Stub, "127.0.0.1", port, backlog=8192)
    await over.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
