#!/usr/bin/env bash
# croniter 7.0.0 and cronsim 2.8: a daily job in the hour that a clock repeats runs twice by one and once by the other.
#
# On 2026-11-01 New York has 01:30 twice, and on 2027-04-04 Lord Howe Island repeats half an hour, 01:30 to 02:00.
# croniter starts `30 1 * * *` and `45 1 * * *` at both; cronsim, which follows Debian's cron, at the first only. Both
# agree on `*/30`, at which every half hour is meant, and on the hour that is skipped (02:30 becomes 03:00). So the
# two cannot be exchanged for each other without texting people twice.
#
# Expected: one start a day, as cron(8) says for changes of less than three hours.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" --disable-pip-version-check "$@"; }
pip install --quiet croniter==7.0.0 cronsim==2.8 tzdata==2026.6
"$work/venv/bin/python" - >"$work/seen" <<'PY'
from datetime import datetime
from importlib.metadata import version
from itertools import takewhile
from zoneinfo import ZoneInfo

from croniter import croniter
from cronsim import CronSim

print("croniter", version("croniter"), "cronsim", version("cronsim"))
for expression, zone, day in (
    ("30 1 * * *", "America/New_York", datetime(2026, 11, 1)),
    ("45 1 * * *", "Australia/Lord_Howe", datetime(2027, 4, 4)),
    ("30 2 * * *", "America/New_York", datetime(2027, 3, 14)),
):
    start = day.replace(tzinfo=ZoneInfo(zone))
    for name, times in (("croniter", croniter(expression, start).all_next(datetime)), ("cronsim", CronSim(expression, start))):
        that_day = takewhile(lambda time: time.date() == day.date(), times)
        print(name, expression, *(f"{time:%H:%M%z}" for time in that_day))
PY
cat >"$work/expected" <<'TXT'
croniter 7.0.0 cronsim 2.8
croniter 30 1 * * * 01:30-0400 01:30-0500
cronsim 30 1 * * * 01:30-0400
croniter 45 1 * * * 01:45+1100 01:45+1030
cronsim 45 1 * * * 01:45+1100
croniter 30 2 * * * 03:00-0400
cronsim 30 2 * * * 03:00-0400
TXT
diff "$work/expected" "$work/seen"
echo "still so"
