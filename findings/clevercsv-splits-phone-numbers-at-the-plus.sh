#!/usr/bin/env bash
# clevercsv 0.8.5: a file with one column of phone numbers is split inside the numbers.
#
# CleverCSV finds the delimiter by how regular the rows are and by what types the cells have. A column of numbers in
# E.164 is as regular when it is split at the plus, and "12025550123" is a number while "+12025550123" is none of its
# types: the plus becomes the delimiter, each row gets an empty first cell, and the header moves away from its column.
# Numbers with blanks are split into three columns. With a second column beside it, or with dashes, the file is read
# as it is.
#
# Expected: one column, named phone, with the numbers as they stand there.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" --disable-pip-version-check "$@"; }
pip install --quiet clevercsv==0.8.5
"$work/venv/bin/python" - "$work" >"$work/seen" <<'PY'
import sys
from importlib.metadata import version
from pathlib import Path

import clevercsv

print("clevercsv", version("clevercsv"))
FORMS = {
    "E.164": "+1202555{:04}",
    "blanks": "202 555 {:04}",
    "dashes": "202-555-{:04}",
    "E.164 and a name": "+1202555{:04},Ann",
}
for name, form in FORMS.items():
    file = Path(sys.argv[1], "list.csv")
    header = "phone,name" if "," in form else "phone"
    file.write_text("\n".join([header, *(form.format(100 + n) for n in range(100)), ""]))
    header, first, *others = clevercsv.read_table(file)
    print(f"{name}: {len(others) + 1} rows, {header}, {first}")
PY
cat >"$work/expected" <<'TXT'
clevercsv 0.8.5
E.164: 100 rows, ['phone'], ['', '12025550100']
blanks: 100 rows, ['phone'], ['202', '555', '0100']
dashes: 100 rows, ['phone'], ['202-555-0100']
E.164 and a name: 100 rows, ['phone', 'name'], ['+12025550100', 'Ann']
TXT
diff "$work/expected" "$work/seen"
echo "still so"
