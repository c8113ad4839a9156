#!/usr/bin/env bash
# zipcodes 3.0.0: the time zone of a ZIP is not always a time zone.
#
# Of 42,789 ZIPs one has the zone `Napakiak`, which is the name of its town in Alaska and not in the IANA data, so
# zoneinfo raises ZoneInfoNotFoundError for it; 823 have none at all. Whoever schedules by ZIP meets the first of them
# in a list of Alaskans.
#
# Expected: America/Anchorage, as the ZIPs around it have.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" --disable-pip-version-check "$@"; }
pip install --quiet zipcodes==3.0.0 tzdata==2026.6
"$work/venv/bin/python" - >"$work/seen" <<'PY'
import zoneinfo
from importlib.metadata import version

import zipcodes

print("zipcodes", version("zipcodes"), "tzdata", version("tzdata"))
known, places = zoneinfo.available_timezones(), zipcodes.list_all()
print(len(places), "places,", sum(not place["timezone"] for place in places), "without a zone")
for place in places:
    if place["timezone"] and place["timezone"] not in known:
        print(place["zip_code"], place["city"], place["state"], place["timezone"])
PY
cat >"$work/expected" <<'TXT'
zipcodes 3.0.0 tzdata 2026.6
42789 places, 823 without a zone
99634 Napakiak AK Napakiak
TXT
diff "$work/expected" "$work/seen"
echo "still so"
