#!/usr/bin/env bash
# phonenumbers 9.0.43: a mobile of a country with one time zone gets the 42 zones of all of +1.
#
# time_zones_for_number asks whether the *kind* of number is geographical. Mobiles are not, so the answer is every
# zone of the calling code: for a mobile of Jamaica (+1 876), 42 zones with America/Adak first.
# time_zones_for_geographical_number knows the prefix and answers America/Jamaica alone. A sender that takes the first
# zone texts Jamaica by the clock of Alaska; one that waits until it is day in all 42 has a window of a few hours, or
# none.
#
# Expected: the zones of the number's region, which its own region_code_for_number knows to be JM.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check phonenumbers==9.0.43
"$work/venv/bin/python" - >"$work/seen" <<'PY'
import phonenumbers
from phonenumbers import timezone

print("phonenumbers", phonenumbers.__version__)
for region in ("JM", "BB", "TT", "DO", "AG", "KY"):
    number = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    zones = timezone.time_zones_for_number(number)
    print(
        phonenumbers.region_code_for_number(number),
        len(zones),
        zones[0],
        *timezone.time_zones_for_geographical_number(number),
    )
PY
cat >"$work/expected" <<'TXT'
phonenumbers 9.0.43
JM 42 America/Adak America/Jamaica
BB 42 America/Adak America/Barbados
TT 42 America/Adak America/Port_of_Spain
DO 1 America/Santo_Domingo America/Santo_Domingo
AG 42 America/Adak America/Antigua
KY 42 America/Adak America/Cayman
TXT
diff "$work/expected" "$work/seen"
echo "still so"
