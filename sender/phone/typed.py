"""One number as a person types it."""

from __future__ import annotations

import re

from sender.core.errors import InputError
from sender.core.lazy_modules import pl
from sender.phone.cell import region_ok
from sender.phone.e164 import normalize


def read_number(text: str, region: str | None = None) -> str:
    """Return the number that `text` means: E.164, or a short code. `region` (two letters) is for one without `+`.

    Without a region, digits that are a whole number once a `+` is before them are taken for that number. Raises
    InputError.
    """
    if region is not None and not region_ok(region.upper()):
        raise InputError(f"{region!r} is not a country", fix="write two letters, for example US or GB")
    typed = re.sub(r"^\s*(?:tel|sms):", "", text.strip(), flags=re.IGNORECASE)
    readings = [typed] if region or typed.startswith("+") else [typed, f"+{typed}"]
    rows = normalize(
        pl.Series(readings, dtype=pl.String), default_region=region and region.upper(), short_codes=True, careful=True
    )
    for number in rows["to"]:
        if number is not None:
            return str(number)
    if re.fullmatch(r"\d{3,6}", typed):  # a short code, which some providers take as it is
        return typed
    detail = rows["detail"][0] or "the number is blank"
    raise InputError(
        detail if region or not typed else f"{text!r} cannot be read as a number with its country code",
        fix="write it with its country code, as +12025550100, or name its country: --region US",
    )
