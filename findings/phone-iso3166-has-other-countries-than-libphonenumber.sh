#!/usr/bin/env bash
# phone-iso3166 0.4.1: numbers of Mayotte are Reunion's, Jersey's are British, and newer area codes are refused.
#
# The package maps a phone number to a country by ISO 3166-1, where YT, GG, JE, IM and AX are countries of their own. It
# has one country for each calling code but +1 and +7, so that whoever picks a sender, a language or an hour by it takes
# the neighbour's. Area codes that came after its table (235 in Missouri) are refused as invalid.
#
# Expected: the country that libphonenumber's metadata names (phonenumbers 9.0.43), by the ranges that each country's
# regulator gives out.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
pip() { "$work/venv/bin/pip" --disable-pip-version-check "$@"; }
pip install --quiet phone-iso3166==0.4.1 phonenumbers==9.0.43
"$work/venv/bin/python" - >"$work/seen" <<'PY'
from importlib.metadata import version

import phonenumbers
from phone_iso3166.country import phone_country

print("phone-iso3166", version("phone-iso3166"))
def country_of(number):
    try:
        return phone_country(number)
    except Exception as error:
        return type(error).__name__


for region in ("YT", "JE", "GG", "IM", "AX", "RE"):
    example = phonenumbers.example_number_for_type(region, phonenumbers.PhoneNumberType.MOBILE)
    print(region, country_of(phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)))
for number in ("+12025550100", "+12355550100"):
    print(number, phonenumbers.region_code_for_number(phonenumbers.parse(number)), country_of(number))
PY
cat >"$work/expected" <<'TXT'
phone-iso3166 0.4.1
YT RE
JE GB
GG GB
IM GB
AX FI
RE RE
+12025550100 US US
+12355550100 US InvalidPhone
TXT
diff "$work/expected" "$work/seen"
echo "still so"
