"""Builds the table of zones in `sender/rules/table/`: `python -m tests.rules.zone_table`.

It joins what two sources know of a number: the time zones and towns of exchanges in `phonenumbers`, and the zone and
state of each ZIP in `zipcodes`. Both err, so neither decides alone where they differ: a number then has every zone that
one of them gives. Zones of countries are those of zone.tab in `tzdata`; the zones of `phonenumbers` for countries
outside +1 are not used, since it gives Algeria the clock of Paris and Marabá in Brazil that of Manaus.

Zones are compared by their clock: two names whose offsets agree for the two years after the table's date are one zone.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import version
from importlib.resources import files
from itertools import groupby
from pathlib import Path

import phonenumbers
from phonenumbers.tzdata import TIMEZONE_DATA

from sender.core.lazy_modules import LazyModule
from sender.rules.zones import zone, zone_names

geodata = LazyModule("phonenumbers.geodata")  # both take a fifth of a second, in each process that collects the tests
zipcodes = LazyModule("zipcodes")

AS_OF = dt.date(2026, 11, 29)
TABLE = Path(__file__).parents[2] / "sender" / "rules" / "table"
SOURCES = ("phonenumbers", "tzdata", "zipcodes")

STATES = {
    "Alabama": "AL",
    "Alaska": "AK",
    "Arizona": "AZ",
    "Arkansas": "AR",
    "California": "CA",
    "Colorado": "CO",
    "Connecticut": "CT",
    "Delaware": "DE",
    "Washington D.C.": "DC",
    "Florida": "FL",
    "Georgia": "GA",
    "Hawaii": "HI",
    "Idaho": "ID",
    "Illinois": "IL",
    "Indiana": "IN",
    "Iowa": "IA",
    "Kansas": "KS",
    "Kentucky": "KY",
    "Louisiana": "LA",
    "Maine": "ME",
    "Maryland": "MD",
    "Massachusetts": "MA",
    "Michigan": "MI",
    "Minnesota": "MN",
    "Mississippi": "MS",
    "Missouri": "MO",
    "Montana": "MT",
    "Nebraska": "NE",
    "Nevada": "NV",
    "New Hampshire": "NH",
    "New Jersey": "NJ",
    "New Mexico": "NM",
    "New York": "NY",
    "North Carolina": "NC",
    "North Dakota": "ND",
    "Ohio": "OH",
    "Oklahoma": "OK",
    "Oregon": "OR",
    "Pennsylvania": "PA",
    "Rhode Island": "RI",
    "South Carolina": "SC",
    "South Dakota": "SD",
    "Tennessee": "TN",
    "Texas": "TX",
    "Utah": "UT",
    "Vermont": "VT",
    "Virginia": "VA",
    "Washington State": "WA",
    "West Virginia": "WV",
    "Wisconsin": "WI",
    "Wyoming": "WY",
}
TERRITORIES = ("AS", "GU", "MP", "PR", "VI")  # regions of their own, and of the United States
PROVINCES = {  # the zones of zone.tab whose comment names the province
    "AB": "America/Edmonton",
    "BC": "America/Vancouver America/Creston America/Dawson_Creek America/Edmonton America/Fort_Nelson",
    "MB": "America/Winnipeg",
    "NB": "America/Moncton",
    "NL": "America/St_Johns America/Goose_Bay",
    "NS": "America/Halifax America/Glace_Bay",
    "NT": "America/Edmonton America/Inuvik",
    "NU": "America/Iqaluit America/Atikokan America/Cambridge_Bay America/Rankin_Inlet America/Resolute",
    "ON": "America/Toronto America/Atikokan America/Winnipeg",
    "PE": "America/Halifax",
    "QC": "America/Toronto America/Blanc-Sablon America/Halifax",
    "SK": "America/Regina America/Edmonton America/Swift_Current",
    "YT": "America/Whitehorse America/Dawson",
}
# Canada Post's first letters, and what its first digits say where a province has several zones.
PROVINCES_OF_LETTER = {
    "A": "NL",
    "B": "NS",
    "C": "PE",
    "E": "NB",
    "G": "QC",
    "H": "QC",
    "J": "QC",
    "K": "ON",
    "L": "ON",
    "M": "ON",
    "N": "ON",
    "P": "ON",
    "R": "MB",
    "S": "SK",
    "T": "AB",
    "V": "BC",
    "X": "NT NU",
    "Y": "YT",
}
DISTRICTS = {
    "America/St_Johns": "A1 A5 A8",
    "America/Toronto": "G1 G2 G3 G5 G6 G7 G8 G9 H J K L M N",
    "America/Vancouver": "V2 V3 V4 V5 V6 V7 V8 V9",
}
# ZIPs of which `zipcodes` has the zone around them. Tuba City (Navajo, with summer time) shares its ZIP with Moenkopi
# (Hopi, without); Jackpot keeps Idaho's time; West Wendover was moved to Mountain time in 1999 (64 FR 56705).
ZIP_ZONES = {
    "86045": "America/Denver America/Phoenix",
    "89825": "America/Denver America/Los_Angeles",
    "89883": "America/Denver",
}
# Codes that overlay an older one whose territory spans zones, and are in neither source's details. Source: NANPA's and
# the CNAC's planning letters.
OVERLAYS = {
    "324": "904",
    "645": "305",
    "728": "561",
    "729": "423",
    "679": "313",
    "726": "210",
    "236": "250",
    "257": "250",
    "672": "250",
    "778": "250",
    "367": "418",
    "581": "418",
    "474": "306",
    "639": "306",
}
# Codes of which `phonenumbers` gives the calling code's or a wrong zone: all zones of the provinces they serve.
PROVINCES_OF_CODE = {"709": ("NL",), "867": ("NT", "NU", "YT"), "879": ("NL",)}
# Brazil's area codes outside of Brasília's time, by Anatel's plan of national codes (81 has Fernando de Noronha).
BRAZIL = {
    **dict.fromkeys(("65", "66"), "America/Cuiaba"),
    "67": "America/Campo_Grande",
    "68": "America/Rio_Branco",
    "69": "America/Porto_Velho",
    "81": "America/Noronha America/Recife",
    "92": "America/Manaus",
    "95": "America/Boa_Vista",
    "97": "America/Eirunepe America/Manaus",
}
BRASILIA = [
    *range(11, 20), 21, 22, 24, 27, 28, *range(31, 36), 37, 38, *range(41, 50), 51, 53, 54, 55, *range(61, 65),
    *(71, 73, 74, 75, 77, 79), *range(82, 90), 91, 93, 94, 96, 98, 99,
]  # fmt: skip
# Zones of zone.tab by which nobody with a number of that country is expected to live.
NOT_LIVED_BY = {
    "CN": {"Asia/Urumqi"},  # Beijing's time is the legal one in all of China
    "UA": {"Europe/Simferopol"},
    "GL": {"America/Danmarkshavn"},  # a weather station
}
REGIONS_WITHOUT_ROWS = {"AC": "Atlantic/St_Helena", "TA": "Atlantic/St_Helena", "XK": "Europe/Belgrade"}

FICTIONAL = "555"  # the exchange of numbers in films and examples, which is in no town
_FEWEST_ZIPS = 50  # from which on a zone that none of a code's ZIPs has is an error of `phonenumbers`
_LEAST_SHARE = 0.01  # of a code's ZIPs; fewer are neighbours of another code's territory


@cache
def clock(name: str) -> tuple[int, ...]:
    """The offsets of a zone, in minutes, at noon and midnight UTC for two years from AS_OF."""
    start = dt.datetime.combine(AS_OF, dt.time(), dt.UTC)
    moments = (start + dt.timedelta(hours=12 * step) for step in range(2 * 731))
    return tuple(int(moment.astimezone(zone(name)).utcoffset() / dt.timedelta(minutes=1)) for moment in moments)


def one_a_clock(names: Iterable[str]) -> tuple[str, ...]:
    """The first of `names` for each clock, sorted."""
    first: dict[tuple[int, ...], str] = {}
    for name in names:
        first.setdefault(clock(name), name)
    return tuple(sorted(first.values()))


def clocks(names: Iterable[str]) -> frozenset[tuple[int, ...]]:
    return frozenset(map(clock, names))


@dataclass(frozen=True, slots=True)
class Zip:
    """A ZIP: its state, its zones (none for a military address), its town's names and its area codes."""

    code: str
    state: str
    zones: tuple[str, ...]
    towns: tuple[str, ...]
    area_codes: tuple[str, ...]


@cache
def zips() -> list[Zip]:
    """Every ZIP, in order. Napakiak, whose zone is its own name, is left out: the ZIPs around it decide."""
    rows = []
    for place in zipcodes.list_all():
        code, state, name = place["zip_code"], place["state"], place["timezone"]
        zones = tuple(ZIP_ZONES.get(code, name).split()) if state != "FM" else country_zones()["FM"]
        if zone_names().issuperset(zones):
            towns = (place["city"], *place["acceptable_cities"])
            rows.append(Zip(code, state, zones, tuple(map(str.lower, towns)), tuple(place["area_codes"])))
    return sorted(rows, key=lambda row: row.code)


@cache
def zips_by_area_code() -> defaultdict[str, list[Zip]]:
    rows: defaultdict[str, list[Zip]] = defaultdict(list)
    for row in zips():
        for code in row.area_codes:
            rows[code].append(row)
    return rows


@cache
def towns() -> Mapping[tuple[str, str], frozenset[tuple[int, ...]]]:
    """The clocks of at least a tenth of a town's ZIPs, by its name in lower case and its state."""
    clocks_of: defaultdict[tuple[str, str], Counter[tuple[int, ...]]] = defaultdict(Counter)
    for row in zips():
        for name in row.towns:
            clocks_of[name, row.state].update(clocks(row.zones))
    return {
        town: frozenset(of_zip for of_zip, count in counts.items() if count >= counts.total() / 10)
        for town, counts in clocks_of.items()
        if counts
    }


def longest_prefix(table: Mapping[str, object], number: str, shortest: int) -> str | None:
    for size in range(len(number), shortest - 1, -1):
        if number[:size] in table:
            return number[:size]
    return None


@cache
def _described() -> Mapping[str, Counter[str]]:
    """The states that the towns of each code's exchanges are in."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for prefix, names in geodata.GEOCODE_DATA.items():
        if prefix.startswith("1") and len(prefix) >= 4 and (match := re.search(r", ([A-Z]{2})$", names.get("en", ""))):
            found[prefix[1:4]][match[1]] += 1
    return found


@cache
def state_of(code: str) -> str | None:
    """The state, district or province of an area code, by `phonenumbers`; None where it does not name one."""
    name = geodata.GEOCODE_DATA.get("1" + code, {}).get("en", "")
    if name in STATES:
        return STATES[name]
    if match := re.search(r", ([A-Z]{2})$", name):
        return match[1]
    towns_in = _described().get(code)
    return towns_in.most_common(1)[0][0] if towns_in else None


@cache
def own_regions() -> Mapping[str, str]:
    """The region of each area code that is neither in the United States' states nor in Canada."""
    codes = {}
    for region in phonenumbers.COUNTRY_CODE_TO_REGION_CODE[1]:
        leading = phonenumbers.PhoneMetadata.metadata_for_region(region).leading_digits
        if region not in {"US", "CA"}:
            codes |= {f"{n}": region for n in range(200, 1000) if re.fullmatch(leading or "", f"{n}")}
    return codes


@cache
def country_zones() -> Mapping[str, tuple[str, ...]]:
    """The zones of each region, one a clock, in the order of zone.tab."""
    rows: defaultdict[str, list[str]] = defaultdict(list)
    for line in (files("tzdata") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            region, _, name = line.split("\t")[:3]
            if name not in NOT_LIVED_BY.get(region, ()):
                rows[region].append(name)
    rows |= {region: [name] for region, name in REGIONS_WITHOUT_ROWS.items()}
    return {region: one_a_clock(names) for region, names in sorted(rows.items())}


@dataclass
class AreaCode:
    """What the sources know of an area code of the United States or Canada."""

    code: str
    base: str = field(init=False)  # the code whose territory this one overlays, or itself

    def __post_init__(self) -> None:
        self.base = OVERLAYS.get(self.code, self.code)

    @cached_property
    def state(self) -> str | None:
        return state_of(self.code) or state_of(self.base)

    @cached_property
    def places(self) -> tuple[str, ...]:
        if self.state in PROVINCES or self.code in PROVINCES_OF_CODE:
            return ("CA",)
        if geodata.GEOCODE_DATA.get("1" + self.code, {}).get("en", "").startswith(("British", "Nova")):
            return ("CA",)
        country = phonenumbers.region_code_for_number(phonenumbers.parse(f"+1{self.code}2345678"))
        if country == "CA" or (self.state is None and country != "US"):
            return ("CA",)
        return ("US", f"US-{self.state}") if self.state else ("US",)

    @cached_property
    def zip_zones(self) -> Counter[str]:
        """How many of the code's ZIPs in its own state have each zone."""
        rows = {row.code: row for code in (self.code, self.base) for row in zips_by_area_code()[code]}
        return Counter(name for _, row in sorted(rows.items()) if row.state == self.state for name in row.zones)

    @cached_property
    def listed(self) -> Mapping[str, tuple[str, ...]]:
        """The zones of the exchanges that `phonenumbers` lists, by exchange; those of the older code for an overlay."""
        prefixes = {
            f"{exchange}": longest_prefix(TIMEZONE_DATA, f"1{self.base}{exchange}", 5) for exchange in range(200, 1000)
        }
        return {exchange: TIMEZONE_DATA[prefix] for exchange, prefix in prefixes.items() if prefix}

    @cached_property
    def default(self) -> tuple[str, ...]:
        return tuple(sorted({*TIMEZONE_DATA.get("1" + self.code, ()), *TIMEZONE_DATA.get("1" + self.base, ())}))

    @cached_property
    def zones(self) -> tuple[str, ...]:
        """The union of what both sources give, one name a clock: the ZIPs' most frequent one first."""
        if self.code in PROVINCES_OF_CODE:
            names = " ".join(PROVINCES[province] for province in PROVINCES_OF_CODE[self.code])
            return one_a_clock(names.split())
        total = sum(self.zip_zones.values())
        by_clock: Counter[tuple[int, ...]] = Counter()
        for name, count in self.zip_zones.items():
            by_clock[clock(name)] += count
        near = [name for name, _ in self.zip_zones.most_common() if by_clock[clock(name)] >= _LEAST_SHARE * total]
        listed = [name for exchange, names in self.listed.items() for name in names if self._in_town(exchange, name)]
        supported = {*by_clock, *clocks(listed)}
        default = [name for name in self.default if total < _FEWEST_ZIPS or clock(name) in supported]
        return one_a_clock([*near, *sorted(listed), *default]) or self._of_state()

    def _in_town(self, exchange: str, name: str) -> bool:
        town = self._town(exchange)
        return town is None or clock(name) in town

    def _of_state(self) -> tuple[str, ...]:
        return state_zones().get(f"US-{self.state}", ())

    @cached_property
    def contradicted(self) -> bool:
        """Whether `phonenumbers` gives the code by default a zone that most of its ZIPs do not have."""
        most = sum(count for name, count in self.zip_zones.items() if clock(name) in clocks(self.default))
        return bool(self.zip_zones) and most < sum(self.zip_zones.values()) / 2

    def exchange_zones(self, exchange: str) -> tuple[str, ...]:
        """The zones of one exchange: one of the code's where the sources agree on it, else all of the code's."""
        if exchange == FICTIONAL or self.base != self.code:
            return self.zones
        listed, town = self.listed.get(exchange), self._town(exchange)
        known = clocks(listed if listed is not None else self.default)
        trusted = known == town if town is not None else listed is not None and not self.contradicted
        if not trusted or not known < clocks(self.zones):
            return self.zones
        return tuple(name for name in self.zones if clock(name) in known)

    def _town(self, exchange: str) -> frozenset[tuple[int, ...]] | None:
        """The clocks of the town that `phonenumbers` names for an exchange; None where there is none with a ZIP."""
        prefix = longest_prefix(geodata.GEOCODE_DATA, f"1{self.code}{exchange}", 5)
        name, _, state = geodata.GEOCODE_DATA[prefix].get("en", "").rpartition(", ") if prefix else ("", "", "")
        return towns().get((name.lower(), state))


@cache
def state_zones() -> Mapping[str, tuple[str, ...]]:
    """The zones of each state, territory and province, by its place."""
    of_state: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in zips():
        of_state[row.state].update(row.zones)
    states = {f"US-{state}": one_a_clock(name for name, _ in names.most_common()) for state, names in of_state.items()}
    provinces = {f"CA-{province}": one_a_clock(names.split()) for province, names in PROVINCES.items()}
    return {place: names for place, names in (states | provinces).items() if names}


def zip_rows() -> list[tuple[str, str, str, str]]:
    """Ranges of ZIPs with one state and the same zones. A ZIP that is missing between two of a range is in it."""
    rows: list[tuple[str, str, str, str]] = []
    for (_, state, zones), group in groupby(zips(), key=lambda row: (row.code[:3], row.state, row.zones)):
        codes, names = [row.code for row in group], "|".join(sorted(zones))
        if rows and rows[-1][2:] == (state, names) and int(rows[-1][1]) + 1 == int(codes[0]):
            rows[-1] = (rows[-1][0], codes[-1], state, names)
        else:
            rows.append((codes[0], codes[-1], state, names))
    return rows


def number_rows() -> list[tuple[str, str, str, str]]:
    """The zones of each area code, and of those of its exchanges whose zones are fewer: prefix, exchanges, places, zones."""
    rows = []
    for number in sorted(
        {*own_regions(), *OVERLAYS, *(key[1:4] for key in (*TIMEZONE_DATA, *geodata.GEOCODE_DATA) if _is_code(key))}
    ):
        region = own_regions().get(number)
        if region:
            places = f"US|US-{region}" if region in TERRITORIES else region
            rows.append((f"1{number}", "", places, "|".join(country_zones()[region])))
            continue
        area = AreaCode(number)
        narrower: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for exchange in range(200, 1000):
            narrower[area.exchange_zones(f"{exchange}")].append(exchange)
        narrower.pop(area.zones, None)
        rows.append((f"1{number}", "", "|".join(area.places), "|".join(area.zones)))
        rows += [
            (f"1{number}", _ranges(exchanges), "|".join(area.places), "|".join(names))
            for names, exchanges in sorted(narrower.items())
        ]
    brazil = {f"{code}": "America/Sao_Paulo" for code in BRASILIA} | BRAZIL
    return rows + [(f"55{code}", "", "BR", "|".join(sorted(names.split()))) for code, names in sorted(brazil.items())]


def _ranges(exchanges: list[int]) -> str:
    """`226-227 253`, for ascending exchanges."""
    parts = []
    for _, group in groupby(enumerate(exchanges), key=lambda item: item[1] - item[0]):
        run = [exchange for _, exchange in group]
        parts.append(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}")
    return " ".join(parts)


def _is_code(prefix: str) -> bool:
    return prefix.startswith("1") and len(prefix) >= 4


def region_rows() -> list[tuple[str, str]]:
    """The zones of each country, state, territory and province, by its place."""
    zones_by_place = {**country_zones(), **state_zones()}
    return [(place, "|".join(names)) for place, names in sorted(zones_by_place.items())]


def postal_rows() -> list[tuple[str, str]]:
    """The zones of the first two characters of Canadian postal codes."""
    narrower = {start: name for name, starts in DISTRICTS.items() for start in starts.split()}
    rows = []
    for letter, provinces in PROVINCES_OF_LETTER.items():
        names = {name for province in provinces.split() for name in state_zones()[f"CA-{province}"]}
        for start in (f"{letter}{digit}" for digit in range(10)):
            rows.append((start, narrower.get(start) or narrower.get(letter) or "|".join(one_a_clock(sorted(names)))))
    return rows


def tables() -> dict[str, str]:
    """The files of the table, by name."""
    header = (
        f"# as_of {AS_OF}; " + ", ".join(f"{name} {version(name)}" for name in SOURCES) + "\n"
        "# Built by tests/rules/zone_table.py from the time zones and towns of exchanges in `phonenumbers` (Apache-2.0),\n"
        "# the ZIPs of `zipcodes` (MIT, Copyright Sean Pianka) and zone.tab of `tzdata` (public domain).\n"
    )
    content = {
        "numbers.csv": ("prefix,exchanges,places,zones", number_rows()),
        "postal_codes.csv": ("start,zones", postal_rows()),
        "regions.csv": ("place,zones", region_rows()),
        "zips.csv": ("first,last,state,zones", zip_rows()),
    }
    return {
        name: header + "\n".join([columns, *map(",".join, rows)]) + "\n" for name, (columns, rows) in content.items()
    }


def main() -> None:
    for name, text in tables().items():
        (TABLE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
