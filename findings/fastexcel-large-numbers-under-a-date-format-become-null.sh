#!/usr/bin/env bash
# fastexcel 0.21.0: a large number in a cell with a date format is null, silently, in an .xlsx file read as text.
#
# A column of phone numbers, ids or amounts that somebody has formatted as a date shows #### in a spreadsheet, and still
# holds its numbers: the cell's value in the file is 2025550147. Read with dtypes="string" it is null, like a cell without
# content. The same number without the date format is read, and so are days in the date format, up to the year 9999
# (2958465) and a little beyond. No error and no warning says so.
#
# Expected: the number, or an error. Source: ECMA-376 part 1, 18.3.1.96 (the value of a cell is in `v`) and 18.8.30 (a
# number format is how it is displayed).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" --disable-pip-version-check "$@"; }
pip install --quiet fastexcel==0.21.0 polars==2.1.0 xlsxwriter==3.3.1 2>"$work/log" || { cat "$work/log"; exit 1; }
cd "$work"
"$work/venv/bin/python" - >"$work/seen" <<'PY'
from importlib.metadata import version

import fastexcel
import xlsxwriter

with xlsxwriter.Workbook("numbers.xlsx") as book:
    sheet = book.add_worksheet()
    day = book.add_format({"num_format": "dd.mm.yyyy"})
    sheet.write_row(0, 0, ["format", "number"])
    for row, (name, number, form) in enumerate(
        [("date", 46357, day), ("date", 2958465, day), ("date", 2958466, day), ("date", 2025550147, day),
         ("none", 2025550147, None)], 1
    ):
        sheet.write(row, 0, name)
        sheet.write(row, 1, number, form)

print("fastexcel", version("fastexcel"))
print(*fastexcel.read_excel("numbers.xlsx").load_sheet(0, dtypes="string").to_polars().rows(), sep="\n")
PY
cat >"$work/expected" <<'TXT'
fastexcel 0.21.0
('date', '2026-12-01 00:00:00')
('date', '9999-12-31 00:00:00')
('date', '+10000-01-01 00:00:00')
('date', None)
('none', '2025550147')
TXT
diff "$work/expected" "$work/seen"
echo "still so"
