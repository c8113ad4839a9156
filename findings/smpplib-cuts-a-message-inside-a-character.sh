#!/usr/bin/env bash
# smpplib 2.2.4: a long message is cut in the middle of a character that takes two septets.
#
# `make_parts` cuts the encoded text every 153 septets. Characters of the extension table (the euro sign, brackets,
# braces) are an escape septet and a code; where the two lie on both sides of a cut, the first part ends with a lone
# escape and the second begins with the bare code. A handset that has received one part shows a blank and the letter
# `e`, not a euro sign.
#
# Expected: the pair moves to the next part (3GPP TS 23.040 9.2.3.24.1: an escape sequence is not to be split across
# segments), which makes 152 septets here.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" --disable-pip-version-check "$@"; }
pip install --quiet smpplib==2.2.4
"$work/venv/bin/python" - >"$work/seen" <<'PY'
from importlib.metadata import version

from smpplib import gsm

print("smpplib", version("smpplib"))
HEADER = 6  # octets before the text of a part
for text in ("a" * 152 + "€" + "a" * 8, "a" * 152 + "[" + "a" * 8):
    parts, *_ = gsm.make_parts(text)
    print([len(part) - HEADER for part in parts], parts[0][-1:], parts[1][HEADER : HEADER + 1])
PY
cat >"$work/expected" <<'TXT'
smpplib 2.2.4
[153, 9] b'\x1b' b'e'
[153, 9] b'\x1b' b'<'
TXT
diff "$work/expected" "$work/seen"
echo "still so"
