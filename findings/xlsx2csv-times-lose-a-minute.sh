#!/usr/bin/env bash
# xlsx2csv 0.8.6: half past two in the afternoon is written as 14:29, or as 02:29 with no word on the half of the day.
#
# A time in a workbook is a fraction of a day, and 14:30 is stored as 0.6041666666666666. xlsx2csv cuts instead of
# rounding, so that the minute, or the second, before is written. Where the hour of the format is a single h, it writes
# hours of the 12-hour clock although the format has no AM/PM. Spreadsheet programs show 14:30 in each of these cells.
#
# Expected: 14:30; h is an hour of the 24-hour clock unless the format has AM/PM (ECMA-376, part 1, 18.8.31).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" --disable-pip-version-check "$@"; }
pip install --quiet xlsx2csv==0.8.6 openpyxl==3.1.5
cd "$work"
venv/bin/python - <<'PY'
from datetime import datetime

from openpyxl import Workbook

book = Workbook()
sheet = book.active
for form in ("yyyy-mm-dd hh:mm", "dd/mm/yyyy hh:mm:ss", "d mmm yyyy h:mm", "m/d/yy h:mm"):
    sheet.append([form, datetime(2026, 12, 1, 14, 30)])
    sheet.cell(sheet.max_row, 2).number_format = form
book.save("times.xlsx")
PY
{
  venv/bin/python -c 'import importlib.metadata as m; print("xlsx2csv", m.version("xlsx2csv"))'
  venv/bin/xlsx2csv times.xlsx
} >seen
cat >expected <<'TXT'
xlsx2csv 0.8.6
yyyy-mm-dd hh:mm,2026-12-01 14:29
dd/mm/yyyy hh:mm:ss,01/12/2026 14:29:59
d mmm yyyy h:mm,01 Dec 2026 02:29
m/d/yy h:mm,12/01/26 02:29
TXT
diff expected seen
echo "still so"
