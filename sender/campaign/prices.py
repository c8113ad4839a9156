"""The price table: a YAML file to validated prices, and the price of a message.

A price is for a destination (a region, or the beginning of a number), for SMS (a segment) or MMS (a message), for any
sender or for one type of sender, and has the carrier's fee with it. The most specific entry applies. The prices are the
file's alone: the project knows no vendor's prices. Reads that file only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import phonenumbers
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from sender.campaign import safe_yaml
from sender.campaign.validation import explain
from sender.core import money
from sender.core.errors import PricesError, Problem
from sender.core.near_names import find_near

SenderType = Literal["long_code", "toll_free", "short_code", "alphanumeric", "service"]


def _to_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _parse_destination(value: str) -> str:
    if value.startswith("+"):
        if not value[1:].isascii() or not value[1:].isdigit():
            raise ValueError(f"{value!r} is not the beginning of a number: write + and digits, as in +1 or +4477")
        return value
    region = value.upper()
    if region not in phonenumbers.SUPPORTED_REGIONS:
        hint = ": did you mean GB?" if region == "UK" else ": write US, or the beginning of a number such as +1"
        raise ValueError(f"there is no region {value!r}{hint}")
    return region


Amount = Annotated[int, BeforeValidator(money.parse)]
Destination = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_parse_destination)]


class PriceFields(BaseModel):
    """Prices in micro-units: `sms` and `sms_fee` for a segment, `mms` and `mms_fee` for a message."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True, defer_build=True
    )

    sms: Amount | None = None
    sms_fee: Amount = 0
    mms: Amount | None = None
    mms_fee: Amount = 0

    @model_validator(mode="after")
    def _check_prices(self) -> PriceFields:
        if self.sms is None and self.mms is None:
            raise ValueError("neither `sms` nor `mms` has a price: give one of them")
        for kind in ("sms", "mms"):
            if getattr(self, kind) is None and getattr(self, f"{kind}_fee"):
                raise ValueError(f"`{kind}_fee` needs `{kind}`: give the price, 0 if there is none")
        return self


class PriceEntry(PriceFields):
    """The prices of some destinations, for the sender types in `from`, or for all of them if it is empty."""

    to: Annotated[tuple[Destination, ...], BeforeValidator(_to_list)] = Field(min_length=1)
    from_: Annotated[tuple[SenderType, ...], BeforeValidator(_to_list)] = Field((), alias="from")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
    prices: tuple[PriceEntry, ...] = ()
    default: PriceFields | None = None


@dataclass(frozen=True, slots=True)
class MessagePrice:
    """The price and the carrier's fee in micro-units, of a segment or of an MMS, and the `entry` they are from."""

    price: int
    fee: int
    entry: str


@dataclass(frozen=True, slots=True)
class PriceTable:
    """The prices of one file. `currency` is its ISO 4217 code; `name`, `size` and `sha256` are the file's."""

    name: str
    currency: str
    entries: tuple[PriceEntry, ...]
    default: PriceFields | None
    size: int
    sha256: str

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The beginnings of numbers that have prices."""
        destinations = {destination for entry in self.entries for destination in entry.to}
        return tuple(sorted(destination for destination in destinations if destination.startswith("+")))

    def find(self, prefix: str | None, region: str | None, sender_type: str, *, mms: bool) -> MessagePrice | None:
        """Return the price of such a message; None without one.

        `prefix` is the longest of `prefixes` that the recipient's number begins with, or None.
        The most specific destination applies: prefixes longer than the country's calling code, the longest first;
        then the region; then the calling code; then `default`. For one destination, an entry for the sender's type
        comes before one for all types. An entry without a price for this kind of message is passed over.
        """
        kind = "mms" if mms else "sms"
        for destination in _destinations(prefix, region):
            for for_type in (True, False):
                for entry in self.entries:
                    applies = sender_type in entry.from_ if for_type else not entry.from_
                    price = getattr(entry, kind)
                    if applies and price is not None and destination in entry.to:
                        name = f"{destination}, {sender_type}" if for_type else destination
                        return MessagePrice(price, getattr(entry, f"{kind}_fee"), name)
        price = getattr(self.default, kind, None)
        return None if price is None else MessagePrice(price, getattr(self.default, f"{kind}_fee"), "default")


def load_prices(path: Path, *, name: str | None = None) -> PriceTable:
    """Return the price table in `path`, called `name` in the plan. Raises PricesError with every problem found."""
    data = _read_bytes(path)
    try:
        document = safe_yaml.load(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise PricesError(f"not UTF-8 (byte {error.start})", where=str(path), fix="save the file as UTF-8") from None
    except safe_yaml.YamlError as error:
        raise PricesError("not valid", where=str(path), problems=(error.problem,)) from None
    if not isinstance(document.value, dict):
        raise PricesError(
            "not a price table: it must be a mapping of keys (`currency: USD`)",
            where=str(path),
            fix="see the example in docs/campaign.md",
        )
    try:
        table = _File.model_validate(document.value)
    except ValidationError as error:
        problems = explain(error, document.value, document, known_keys=_PriceKeys(), file="price table")
        raise PricesError("the price table is not valid", where=str(path), problems=problems) from None
    _refuse_repeated(table.prices, document, path)
    return PriceTable(
        name or str(path), table.currency, table.prices, table.default, len(data), hashlib.sha256(data).hexdigest()
    )


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PricesError(
            f"the price table cannot be read: {error.strerror}",
            where=str(path),
            fix="the path is relative to the campaign file",
        ) from None


def _destinations(prefix: str | None, region: str | None) -> list[str]:
    """Return a number's destinations, most specific first. A calling code is less specific than a region: +1 is 25."""
    shorter = [] if prefix is None else [prefix[:end] for end in range(len(prefix), 1, -1)]
    specific = [start for start in shorter if not _is_calling_code(start)]
    codes = [start for start in shorter if _is_calling_code(start)]
    return [*specific, *([region] if region else []), *codes]


def _is_calling_code(prefix: str) -> bool:
    digits = prefix[1:]
    codes: Any = phonenumbers.COUNTRY_CODE_TO_REGION_CODE
    return int(digits) in codes or (len(digits) < 3 and any(str(code).startswith(digits) for code in codes))


def _refuse_repeated(entries: tuple[PriceEntry, ...], document: safe_yaml.Document, path: Path) -> None:
    """Raise PricesError for two prices of the same thing: which one applies must not depend on their order."""
    seen: dict[tuple[str, str | None, str], int] = {}
    problems = []
    for index, entry in enumerate(entries):
        for key in _keys(entry):
            line = document.line(("prices", index))
            if key in seen and seen[key] != index:
                to, sender_type, kind = key
                what = f"{kind} to {to}" + (f" from {sender_type}" if sender_type else "")
                first = document.line(("prices", seen[key]))
                problems.append(
                    Problem(line, f"prices.{index}", f"{what} already has a price (line {first})", "keep one of them")
                )
            seen.setdefault(key, index)
    if problems:
        raise PricesError("the price table is not valid", where=str(path), problems=tuple(problems))


def _keys(entry: PriceEntry) -> list[tuple[str, str | None, str]]:
    kinds = [kind for kind in ("sms", "mms") if getattr(entry, kind) is not None]
    return [(to, sender_type, kind) for to in entry.to for sender_type in entry.from_ or (None,) for kind in kinds]


class _PriceKeys:
    """The keys of a price table, as `sender.campaign.validation` asks for them."""

    def here(self, parents: safe_yaml.KeyPath) -> list[str]:
        """Return the keys allowed below a path."""
        model: type[BaseModel] = PriceFields if parents[:1] == ("default",) else PriceEntry if parents else _File
        return [info.alias or name for name, info in model.model_fields.items()]

    def near(self, path: safe_yaml.KeyPath) -> list[str]:
        """Return the keys that the unknown one at `path` may stand for."""
        return find_near(str(path[-1]), self.here(path[:-1]))
