#!/usr/bin/env bash
# telnyx 4.189.0 (Python SDK): one call to send a message makes three POSTs, none with an idempotency key.
#
# The API has taken an Idempotency-Key on POST /v2/messages since this release, and a text is neither free nor to be
# taken back. By default the SDK posts the same body again when the connection closes without an answer, and after 429
# and 500, and sends no key of its own, so a request that was accepted before its connection broke is accepted up to
# three times. A Retry-After of more than 60 seconds is not waited for: the next POST leaves half a second later (2
# seconds are waited for).
#
# Expected: one POST where an answer is missing, or the same key on all three; and no POST before the time the server
# named.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" --disable-pip-version-check "$@"; }
pip install --quiet telnyx==4.189.0
env -u HTTP_PROXY -u HTTPS_PROXY -u ALL_PROXY -u http_proxy -u https_proxy -u all_proxy "$work/venv/bin/python" - >"$work/seen" <<'PY'
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import telnyx

posts = []
answer = None


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        posts.append((time.monotonic(), {name.lower() for name in self.headers}, body))
        if answer is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(answer[0])
        for name, value in answer[1].items():
            self.send_header(name, value)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = telnyx.Telnyx(api_key="KEY-example", base_url=f"http://127.0.0.1:{server.server_port}/v2")
print("telnyx", version("telnyx"))
cases = {
    "closed without an answer": None,
    "429, retry-after 2": (429, {"retry-after": "2"}),
    "429, retry-after 61": (429, {"retry-after": "61"}),
    "500": (500, {}),
}
for name, answer in cases.items():
    posts.clear()
    try:
        client.messages.send(from_="+12025550100", to="+12025550101", text="hello")
    except telnyx.APIError:
        pass
    waits = [later[0] - earlier[0] for earlier, later in zip(posts, posts[1:])]
    print(
        f"{name}: {len(posts)} POSTs, {len({body for *_, body in posts})} body,",
        "a key" if any("idempotency-key" in headers for _, headers, _ in posts) else "no key",
        "and waits of 2 s or more" if min(waits) >= 2 else "and waits below 2 s",
    )
PY
cat >"$work/expected" <<'TXT'
telnyx 4.189.0
closed without an answer: 3 POSTs, 1 body, no key and waits below 2 s
429, retry-after 2: 3 POSTs, 1 body, no key and waits of 2 s or more
429, retry-after 61: 3 POSTs, 1 body, no key and waits below 2 s
500: 3 POSTs, 1 body, no key and waits below 2 s
TXT
diff "$work/expected" "$work/seen"
echo "still so"
