#!/usr/bin/env bash
# pyexcelerate 0.13.0: a duration becomes the text `1 day, 2:03:00`, and a missing number the error #NUM!.
#
# Dates and times of a row become numbers of the workbook, but a timedelta is a type that pyexcelerate does not know: it
# is written as Python's own text of it, which no spreadsheet adds up or sorts, and no reader takes for a time. NaN, with
# which tables of numbers mark a missing one, becomes an error that spreads to every formula over the column. A date is a
# number without a format of a date, unless its cell gets a style, so that a reader sees 46357.5.
#
# Expected: 1.085417 days with a format such as [h]:mm:ss, as openpyxl and XlsxWriter write it, and an empty cell, or
# an error when the file is written.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" --disable-pip-version-check "$@"; }
pip install --quiet pyexcelerate==0.13.0 openpyxl==3.1.5
cd "$work"
venv/bin/python -W ignore - >seen <<'PY'
from datetime import datetime, timedelta
from importlib.metadata import version

import openpyxl
import pyexcelerate

print("pyexcelerate", version("pyexcelerate"))
row = [timedelta(hours=26, minutes=3), float("nan"), datetime(2026, 12, 1, 12)]
book = pyexcelerate.Workbook()
book.new_sheet("times", data=[row])
book.save("ours.xlsx")
other = openpyxl.Workbook()
other.active.append([row[0], None, row[2]])
other.save("openpyxl.xlsx")
for name in ("ours", "openpyxl"):
    cells = openpyxl.load_workbook(f"{name}.xlsx").active[1]
    print(name, *((cell.data_type, cell.value) for cell in cells))
PY
cat >expected <<'TXT'
pyexcelerate 0.13.0
ours ('s', '1 day, 2:03:00') ('e', '#NUM!') ('n', 46357.5)
openpyxl ('d', datetime.timedelta(days=1, seconds=7380)) ('n', None) ('d', datetime.datetime(2026, 12, 1, 12, 0))
TXT
diff expected seen
echo "still so"
