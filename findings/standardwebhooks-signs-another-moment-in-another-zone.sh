#!/usr/bin/env bash
# standardwebhooks 1.1.0: what is signed for a time with another zone than UTC cannot be verified.
#
# `Webhook.sign` takes an aware datetime, and reads its clock as if it were UTC's: two equal datetimes have different
# signatures. A message that is signed at 04:00 in New York is signed for 04:00 UTC, five hours earlier, so that its
# receiver, who has the right Unix time in the header `webhook-timestamp`, finds no matching signature. Its own `verify`
# refuses it, too.
#
# Expected: the Unix time of that moment, as the specification has it ("the timestamp of when the message was sent, as
# integer unix timestamp, seconds since epoch"; standardwebhooks.com, read 2026-11-29), and equal signatures for equal
# datetimes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" --disable-pip-version-check "$@"; }
pip install --quiet standardwebhooks==1.1.0
"$work/venv/bin/python" - >"$work/seen" <<'PY'
from datetime import datetime, timedelta, timezone
from importlib.metadata import version

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

print("standardwebhooks", version("standardwebhooks"))
webhook = Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
utc = datetime(2026, 12, 1, 9, tzinfo=timezone.utc)
new_york = utc.astimezone(timezone(timedelta(hours=-5)))
print("equal times:", utc == new_york, "equal signatures:", webhook.sign("a", utc, "{}") == webhook.sign("a", new_york, "{}"))
now = datetime.now(timezone.utc)
for name, zone in (("UTC", timezone.utc), ("New York", timezone(timedelta(hours=-5)))):
    at = now.astimezone(zone)
    headers = {
        "webhook-id": "a",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": webhook.sign("a", at, "{}"),
    }
    try:
        print(name, "verified:", webhook.verify("{}", headers))
    except WebhookVerificationError as error:
        print(name, "refused:", error)
PY
cat >"$work/expected" <<'TXT'
standardwebhooks 1.1.0
equal times: True equal signatures: False
UTC verified: {}
New York refused: No matching signature found
TXT
diff "$work/expected" "$work/seen"
echo "still so"
