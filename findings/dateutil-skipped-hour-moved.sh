#!/usr/bin/env bash
# python-dateutil 4.0.0: a local time that a clock skips is now an hour later in UTC than in 2.9.0, without a warning.
#
# On 2027-03-14 New York's clocks go from 02:00 to 03:00, so 02:30 does not exist. 2.9.0 gives it the offset of summer
# (-4:00, 06:30 UTC, 01:30 before the change); 4.0.0 that of winter (-5:00, 07:30 UTC, 03:30 after it). Both say that
# the time does not exist when asked, and `resolve_imaginary` is the same in both; who stores the instant of a
# schedule without asking gets another one after the upgrade.
#
# Expected: a note in the changes, or a warning. What 4.0.0 does is what zoneinfo does (PEP 495).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" --disable-pip-version-check "$@"; }
for release in 2.9.0.post0 4.0.0; do
    pip install --quiet "python-dateutil==$release" tzdata==2026.6
    "$work/venv/bin/python" -W error - <<'PY'
from datetime import datetime, timezone
from importlib.metadata import version

from dateutil import tz

time = datetime(2027, 3, 14, 2, 30, tzinfo=tz.gettz("America/New_York"))
print(
    version("python-dateutil"),
    time.astimezone(timezone.utc).isoformat(),
    tz.datetime_exists(time),
    tz.resolve_imaginary(time).isoformat(),
)
PY
done >"$work/seen"
cat >"$work/expected" <<'TXT'
2.9.0.post0 2027-03-14T06:30:00+00:00 False 2027-03-14T03:30:00-04:00
4.0.0 2027-03-14T07:30:00+00:00 False 2027-03-14T03:30:00-04:00
TXT
diff "$work/expected" "$work/seen"
echo "still so"
