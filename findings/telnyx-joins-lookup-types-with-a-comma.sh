#!/usr/bin/env bash
# telnyx 4.189.0 (Python SDK): two types of a number lookup are sent in another form than its own docstring shows.
#
# The docstring of the parameter `type` says that it may be given more than once, to ask for several kinds of data in a
# single call, as `?type=carrier&type=enhanced-caller-name`. Its annotation is a single literal, so a type checker
# refuses a list; and with a list the client sends one parameter, `type=carrier,enhanced-caller-name`, because it joins
# every list of a query with commas; so does `extra_query`. What works
# is a query written into the path by hand, or one paid lookup for each type.
#
# Expected: the repeated parameter that the docstring shows, for a list.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" --disable-pip-version-check "$@"; }
pip install --quiet telnyx==4.189.0
"$work/venv/bin/python" - >"$work/seen" <<'PY'
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from typing import get_type_hints
from urllib.parse import unquote

from telnyx import Telnyx
from telnyx.types import NumberLookupRetrieveParams, number_lookup_retrieve_params


class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        print("  GET", unquote(self.path))
        body = b'{"data": {"phone_number": "+12025550101"}}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


api = HTTPServer(("127.0.0.1", 0), Api)
threading.Thread(target=api.serve_forever, daemon=True).start()
client = Telnyx(api_key="KEY", base_url=f"http://127.0.0.1:{api.server_port}/v2")

print("telnyx", version("telnyx"))
source = " ".join(open(number_lookup_retrieve_params.__file__).read().split())
print("documented:", "`?type=carrier&type=enhanced-caller-name`" in source)
print("annotated:", "List" in str(get_type_hints(NumberLookupRetrieveParams)["type"]))
kinds = ["carrier", "enhanced-caller-name"]
client.number_lookup.retrieve("+12025550101", type=kinds)
client.number_lookup.retrieve("+12025550101", extra_query={"type": kinds})
PY
cat >"$work/expected" <<'TXT'
telnyx 4.189.0
documented: True
annotated: False
  GET /v2/number_lookup/+12025550101?type=carrier,enhanced-caller-name
  GET /v2/number_lookup/+12025550101?type=carrier,enhanced-caller-name
TXT
diff "$work/expected" "$work/seen"
echo "still so"
