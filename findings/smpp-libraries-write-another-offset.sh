#!/usr/bin/env bash
# smpp-pdu3 0.6 and aiosmpplib 0.7.4: a time with a zone gets the offset of another day, or one that SMPP does not have.
#
# SMPP's absolute time (schedule_delivery_time, validity_period) ends in the difference from UTC in quarters of an hour,
# 00 to 48, and its direction. smpp-pdu3 asks the zone for the offset of the moment at which it runs, not of the time
# that it writes: January and July in New York get the same one, so that half of the year is an hour off. aiosmpplib
# takes the seconds of Python's timedelta and leaves its days out: -5 hours are -1 day and 19 hours there, so west of
# Greenwich it writes 76 quarters where 20 are meant.
#
# Expected: 20- in January, 16- in July, and 23+ in Nepal (SMPP 3.4, section 7.1.1, absolute time format).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" --disable-pip-version-check "$@"; }
pip install --quiet smpp-pdu3==0.6 aiosmpplib==0.7.4 tzdata==2026.6
"$work/venv/bin/python" - >"$work/seen" <<'PY'
from datetime import datetime
from importlib.metadata import version
from zoneinfo import ZoneInfo

from aiosmpplib import SubmitSm
from smpp.pdu import smpp_time

print("smpp-pdu3", version("smpp-pdu3"), "aiosmpplib", version("aiosmpplib"))
new_york, nepal = ZoneInfo("America/New_York"), ZoneInfo("Asia/Kathmandu")
january, july = (datetime(2027, month, 1, 9, tzinfo=new_york) for month in (1, 7))
# Which of the two offsets it is depends on the day of the run.
offsets = {smpp_time.unparse(time).decode()[13:] for time in (january, july)}
print("smpp-pdu3: different offsets in January and July:", len(offsets), offsets <= {"20-", "16-"})
for name, time in (("January", january), ("July", july), ("Nepal", january.replace(tzinfo=nepal))):
    print(f"aiosmpplib, {name}:", SubmitSm.datetime_to_smpp_time(time))
PY
cat >"$work/expected" <<'TXT'
smpp-pdu3 0.6 aiosmpplib 0.7.4
smpp-pdu3: different offsets in January and July: 1 True
aiosmpplib, January: 270101090000076-
aiosmpplib, July: 270701090000080-
aiosmpplib, Nepal: 270101090000023+
TXT
diff "$work/expected" "$work/seen"
echo "still so"
