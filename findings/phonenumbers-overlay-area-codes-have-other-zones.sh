#!/usr/bin/env bash
# phonenumbers 9.0.43: area codes that share one territory are in different time zones.
#
# +1 689 overlays +1 407 and +1 321: one territory around Orlando, Florida, with one clock, America/New_York. The
# package puts every number of 689 into America/Chicago, and those of 407 and 321 into America/New_York. Likewise +1
# 364 overlays +1 270 in Kentucky and +1 448 overlays +1 850 in Florida: the older code has both zones by exchange,
# the younger code one zone for all of its numbers. So a text that leaves at "20:30 local time" of a 689 number
# arrives at 21:30.
#
# Expected: an overlay has its parent's zones, since neither says where in the territory a number is. Source of the
# overlays: NANPA's planning letters (689 in 2019, 364 in 2014, 448 in 2021).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check phonenumbers==9.0.43
"$work/venv/bin/python" - >"$work/seen" <<'PY'
import phonenumbers
from phonenumbers.timezone import time_zones_for_number

print("phonenumbers", phonenumbers.__version__)
for older, younger in (("407", "689"), ("321", "689"), ("270", "364"), ("850", "448")):
    zones = []
    for area in (older, younger):
        exchanges = (time_zones_for_number(phonenumbers.parse(f"+1{area}{exchange}0100")) for exchange in range(200, 1000))
        zones.append(sorted({zone for found in exchanges for zone in found}))
    print(older, *zones[0], "|", younger, *zones[1])
PY
cat >"$work/expected" <<'TXT'
phonenumbers 9.0.43
407 America/New_York | 689 America/Chicago
321 America/New_York | 689 America/Chicago
270 America/Chicago America/New_York | 364 America/New_York
850 America/Chicago America/New_York | 448 America/New_York
TXT
diff "$work/expected" "$work/seen"
echo "still so"
