#!/usr/bin/env bash
# phonenumbers 9.0.43: numbers of some countries get the time zone of another country, whose clock differs.
#
# The zone names in libphonenumber's data stand for clocks of years ago. Algeria has Europe/Paris and Nicaragua
# America/Chicago, which change to summer time while those countries do not; South Sudan has Nairobi, an hour ahead since
# 2021; Marabá in Brazil has Manaus, an hour behind. A text that leaves at "20:30 local time" of an Algerian number in July
# arrives at 19:30, one to Nicaragua at 19:30, one to South Sudan at 19:30, and one to Marabá at 21:30.
#
# Expected: the zone of the number's own country, as zone.tab in the IANA data has it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check phonenumbers==9.0.43 tzdata==2026.6
"$work/venv/bin/python" - >"$work/seen" <<'PY'
import zoneinfo
from datetime import datetime, timezone
from importlib.metadata import version

zoneinfo.reset_tzpath(to=[])  # the tzdata package, not the machine's files
import phonenumbers
from phonenumbers.timezone import time_zones_for_geographical_number

print("phonenumbers", version("phonenumbers"), "tzdata", version("tzdata"))
noon = datetime(2027, 7, 1, 12, tzinfo=timezone.utc)
for number, own in (
    ("+213551234567", "Africa/Algiers"),
    ("+50581234567", "America/Managua"),
    ("+211977123456", "Africa/Juba"),
    ("+559432123456", "America/Belem"),
):
    zone = time_zones_for_geographical_number(phonenumbers.parse(number))[0]
    clocks = [noon.astimezone(zoneinfo.ZoneInfo(name)).strftime("%H:%M") for name in (zone, own)]
    print(number[:4], zone, clocks[0], "instead of", own, clocks[1])
PY
cat >"$work/expected" <<'TXT'
phonenumbers 9.0.43 tzdata 2026.6
+213 Europe/Paris 14:00 instead of Africa/Algiers 13:00
+505 America/Chicago 07:00 instead of America/Managua 06:00
+211 Africa/Nairobi 15:00 instead of Africa/Juba 14:00
+559 America/Manaus 08:00 instead of America/Belem 09:00
TXT
diff "$work/expected" "$work/seen"
echo "still so"
