#!/usr/bin/env bash
# twilio 9.13.0 (Python SDK): a time with a zone is sent as if it were UTC, hours from what was meant.
#
# `send_at`, and the filters `date_sent_after` and `date_sent_before`, take a datetime. It is written with
# strftime("%Y-%m-%dT%H:%M:%SZ"): the clock of its own zone, and a Z behind it. So 9 in the morning in New York becomes
# 9:00 UTC, and the text leaves at 4 in the night there; a list of messages since then begins five hours early. Neither
# an error nor a warning says so. A datetime without a zone is taken for UTC, too.
#
# Expected: the same instant, 14:00Z. `send_at` is documented as ISO 8601 with the time zone, and a datetime that has an
# offset names an instant (docs.python.org, datetime, aware objects).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" --disable-pip-version-check "$@"; }
pip install --quiet twilio==9.13.0 tzdata==2026.6
"$work/venv/bin/python" - >"$work/seen" <<'PY'
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from twilio.rest import Client


class Api(BaseHTTPRequestHandler):
    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.answer(b'{"sid": "SM1", "messages": []}', "send_at", form["SendAt"][0])

    def do_GET(self):
        query = parse_qs(urlsplit(self.path).query)
        self.answer(b'{"messages": []}', "date_sent_after", query["DateSent>"][0])

    def answer(self, body, name, value):
        print(f"  {name}: {value}")
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


api = HTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=api.serve_forever, daemon=True).start()
client = Client("AC" + "a" * 32, "token")
client.api.base_url = f"http://127.0.0.1:{api.server_port}"

print("twilio", version("twilio"))
meant = datetime(2026, 12, 1, 9, 0, tzinfo=ZoneInfo("America/New_York"))
print("meant:", meant.isoformat(), "=", meant.astimezone(UTC).isoformat())
client.messages.create(
    to="+12025550101", messaging_service_sid="MG" + "a" * 32, body="Hi", schedule_type="fixed", send_at=meant
)
client.messages.list(date_sent_after=meant, limit=1)
PY
cat >"$work/expected" <<'TXT'
twilio 9.13.0
meant: 2026-12-01T09:00:00-05:00 = 2026-12-01T14:00:00+00:00
  send_at: 2026-12-01T09:00:00Z
  date_sent_after: 2026-12-01T09:00:00Z
TXT
diff "$work/expected" "$work/seen"
echo "still so"
