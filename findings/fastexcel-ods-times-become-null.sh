#!/usr/bin/env bash
# fastexcel 0.21.0: a time in an OpenDocument sheet is null, silently, if it is a day or longer or if text is asked for.
#
# A time cell of an .ods file holds an ISO 8601 duration (`office:time-value="PT26H03M00S"`). 09:30 is read as a
# duration; 26:03 beside it is null. Read as text (dtypes="string"), both are null, while dates and booleans of the
# same sheet have their text. No error and no warning says so: a column of appointment times or of hours worked is
# blank.
#
# Expected: 1 day 2 h 3 min, and some text for a text column, as the same cells of an .xlsx file give. Source:
# OpenDocument 1.3 part 3, 19.382 (office:time-value is a duration).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" --disable-pip-version-check "$@"; }
pip install --quiet fastexcel==0.21.0 polars==2.1.0 odfpy==1.4.1 2>"$work/log" || { cat "$work/log"; exit 1; }
cd "$work"
"$work/venv/bin/python" - >"$work/seen" <<'PY'
from importlib.metadata import version

import fastexcel
from odf.opendocument import OpenDocumentSpreadsheet
from odf.table import Table, TableCell, TableRow
from odf.text import P

document, sheet = OpenDocumentSpreadsheet(), Table(name="Sheet1")


def add(*cells):
    row = TableRow()
    for text, values in cells:
        cell = TableCell(**values)
        cell.addElement(P(text=text))
        row.addElement(cell)
    sheet.addElement(row)


add(*((name, {"valuetype": "string"}) for name in ("time", "date")))
for value, shown, date in (("PT09H30M00S", "09:30:00", "2026-12-01"), ("PT26H03M00S", "26:03:00", "2026-12-02")):
    add((shown, {"valuetype": "time", "timevalue": value}), (date, {"valuetype": "date", "datevalue": date}))
document.spreadsheet.addElement(sheet)
document.save("times.ods")

print("fastexcel", version("fastexcel"))
reader = fastexcel.read_excel("times.ods")
print("as it is:", *reader.load_sheet(0).to_polars().rows())
print("as text:", *reader.load_sheet(0, dtypes="string").to_polars().rows())
PY
cat >"$work/expected" <<'TXT'
fastexcel 0.21.0
as it is: (datetime.timedelta(seconds=34200), datetime.date(2026, 12, 1)) (None, datetime.date(2026, 12, 2))
as text: (None, '2026-12-01') (None, '2026-12-02')
TXT
diff "$work/expected" "$work/seen"
echo "still so"
