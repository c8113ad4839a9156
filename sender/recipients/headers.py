"""What a column's header says, as words in several languages. Never looks at a cell, and never guesses: a word that is
not in these tables leaves a header undecided.

A header is split at spaces, punctuation, digits and capital letters (`MobilePhone`), without case and accents. The
words are those of exports by CRMs, shops and address books in English, German, French, Spanish, Italian, Portuguese and
Dutch, and the plain words for a phone in some more languages.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import lru_cache

from sender.core.composed_text import compose_text
from sender.core.errors import RecipientsError

_HEADERS_KEPT = 32_768  # of which a word or a key is computed once
_MOST_NAMED = 30  # headers an error lists


class PhoneHeader(StrEnum):
    """What a header says of phone numbers."""

    SURE = "sure"  # `Mobile #`, `Téléphone`: the number of the person in the row
    LIKELY = "likely"  # `Number`, `Phone (checked)`: only if what is in the column agrees
    OTHER = "other"  # `Fax`, `Landline`, `Emergency Phone`: not a number to text, or another person's
    NONE = "none"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MOBILE = _words(
    "mobiltelefon mobilfunk mobilephone mobile mobil mobiel mobiele mob cellphone cellular cell handy gsm natel"
    " portable cellulare movil movel celular telemovel smartphone msisdn komorka matkapuhelin мобильный 手机 携帯"
)
_PHONE = _words(
    "telephone telefono telefone telefoon telefon telephon telefonu phone phones tel fon ph puhelin rufnummer телефон"
    " телефона 电话 電話 전화"
)
_NUMBER = _words(  # `Tel. No.`, `N° de téléphone`, `Phone 1 - Value`
    "number numbers nummer numero numer num nbr nr no n # cislo numara номер номера 号码 番号 번호 value digits"
)
_DETAILS = _words(  # of what may be a person's own number
    "primary main preferred default best contact kontakt contacto contatto contato customer client kunde kunden cliente"
    " patient guest gast member mitglied lead user person personal personnel private privat prive privado particular"
    " home work business office other dienstlich geschaftlich geschaft trabajo lavoro trabalho travail werk thuis casa"
    " domicile daytime evening day night billing shipping mailing delivery recipient subscriber buyer owner attendee"
    " student employee staff volunteer donor participant applicant candidate teilnehmer empfanger address adresse sms"
    " text texting whatsapp international intl full formatted e164 us my your his her their the of for de du des la le"
    " del di do da dos van der optional required c s"
)
_NOT_A_NUMBER = _words(  # `Phone Type`, `Mobile Opt-In`, `Phone Country Code`
    "type typ tipo kind label country land pays pais code codes vorwahl prefix prefijo area ext extension durchwahl"
    " verified status carrier provider network opt optin optout consent subscribed unsubscribed marketing date datum at"
    " time last next notes note id model device os brand count flag has is not call calls called source app version url"
    " hash name region state city zip email mail lookup score permission allowed accepts"
)
_NOT_TO_TEXT = _words("fax telefax faxnummer pager landline festnetz festnetznummer fixe fixo fijo fisso vast vaste")
_OTHERS = _NOT_TO_TEXT | _words(  # `Assistant Phone`
    "switchboard zentrale hotline support assistant asst emergency notfall urgence emergencia emergenza spouse partner"
    " parent parents guardian mother father eltern manager supervisor agent rep sales salesperson company organization"
    " organisation firm firma account employer school doctor reference referrer store shop sender from"
)
_COUNTED = _words("number numbers nummer numero num nbr nr no #")  # `Number` alone may be a house number
_VAGUE = _words("contact kontakt contacto contatto contato sms whatsapp text texting recipient hp")  # `Contact No.`
_BEFORE_A_REMARK = _words("with incl including inkl mit avec con met eg")  # `Phone (with country code)`

_COUNTRY = _words("country land pays pais paese nazione nation страна 国家 国")
_COUNTRY_DETAILS = _words(
    "region code codes name iso iso2 iso3 2 3 1 mailing mailingaddress home business other primary default address"
    " addresses adresse adresses direccion indirizzo endereco shipping billing delivery customer contact of residence"
    " residenza residencia phone mobile cell telephone telefon number calling dial dialing value c the de du di"
)
_CALLING_CODE = _words("code codes dial dialing calling prefix vorwahl prefijo prefixe")
_OF_PHONE = _words("phone mobile cell telephone telefon calling dial dialing")

_EITHER = "|".join(map(re.escape, sorted({*_MOBILE, *_PHONE}, key=len, reverse=True)))
_COMPOUND = re.compile(  # `mobiltelefonnummer`, `homephone`, `telno`
    rf"(?:home|work|office|business|other|primary|main|contact|customer|kunden)?(?:{_EITHER})+"
    r"(?:nummern?|numbers?|num|nbr|nr|no|номер|号码|番号|번호)?\d*"
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")
_WORD = re.compile(r"[^\W_]+|#")
_ACCENTS = re.compile("[\u0300-\u036f]")
_SPELLINGS = (
    (re.compile(r"(?i)what'?s\s?app"), "whatsapp"),
    (re.compile(r"(?i)\be\.?\s?164\b"), "e164 "),
    (re.compile(r"(?i)\be-?mail"), "email"),
    (re.compile(r"(?i)\be\.\s?g\."), " eg "),
    (re.compile(r"(?<=\w)__c$"), ""),  # Salesforce's own fields
)


@lru_cache(_HEADERS_KEPT)
def words(header: str) -> tuple[str, ...]:
    """Return the words of a header, in lower case and without accents: `mobile`, `#` for `Mobile #`."""
    text = unicodedata.normalize("NFKC", header)
    for spelling, plain in _SPELLINGS:
        text = spelling.sub(plain, text)
    if "e164" not in text:
        text = _CAMEL.sub(" ", text)
    plain = unicodedata.normalize("NFC", _ACCENTS.sub("", unicodedata.normalize("NFKD", text)))
    return tuple(_WORD.findall(plain.casefold()))


def phone_header(header: str) -> PhoneHeader:
    """Return what `header` says of phone numbers. `SURE` only where every word is understood."""
    spoken = words(header)
    cut = next((at for at, word in enumerate(spoken) if at and word in _BEFORE_A_REMARK), len(spoken))
    said = [word for word in spoken[:cut] if not word.isdigit()]
    if said in (["to"], ["to", "number"]):
        return PhoneHeader.SURE
    nouns = [word for word in said if _COMPOUND.fullmatch(word)]
    rest = [word for word in said if word not in nouns]
    if not nouns:
        if _NOT_TO_TEXT.intersection(said) and not _NOT_A_NUMBER.intersection(said):
            return PhoneHeader.OTHER
        vague = not _COUNTED.isdisjoint(said) and all(word in _VAGUE or word in _COUNTED for word in said)
        return PhoneHeader.LIKELY if vague else PhoneHeader.NONE
    if _NOT_A_NUMBER.intersection(rest):
        return PhoneHeader.NONE
    if _OTHERS.intersection(rest):
        return PhoneHeader.OTHER
    known = all(word in _NUMBER or word in _DETAILS for word in rest)
    return PhoneHeader.SURE if known else PhoneHeader.LIKELY


def is_mobile(header: str) -> bool:
    """Whether a header says that its numbers are mobile ones."""
    return any(word.startswith(tuple(_MOBILE)) or word in ("sms", "whatsapp") for word in words(header))


def mentions_country(header: str) -> bool:
    """Whether a header has a word for country, whoever's it is."""
    return not _COUNTRY.isdisjoint(words(header))


def names_country(header: str) -> bool:
    """Whether a header says that a column has the country of the person in the row: `Country/Region`."""
    spoken = words(header)
    return mentions_country(header) and all(word in _COUNTRY or word in _COUNTRY_DETAILS for word in spoken)


def names_calling_code(header: str) -> bool:
    """Whether digits in a country column are a calling code (`49`), as its header says."""
    return not _CALLING_CODE.isdisjoint(words(header))


def rank_country(header: str, phone: str) -> tuple[int, ...]:
    """Return how near a country column is to the column of the number: `Shipping Country` and
    `Shipping Phone` belong together; then come the phone's own country and the one without any detail."""
    spoken = set(words(header)) - _COUNTRY - {"code", "codes", "name", "region"}
    shared = spoken.intersection(words(phone)) - {"phone", "mobile", "number"}
    of_phone = not spoken.isdisjoint(_OF_PHONE)
    return len(shared), int(of_phone), int(not spoken)


@lru_cache(_HEADERS_KEPT)
def header_key(header: str) -> str:
    """Return a header as it is compared: without case, spaces, `_`, `-`, and the number that repeated ones have."""
    return re.sub(r"[\s_-]+", "", re.sub(r" \(\d+\)$", "", compose_text(header))).casefold()


def is_number_like(header: str) -> bool:
    """Whether a header is really the first number of a plain list."""
    return sum(map(str.isdigit, header)) >= 3 and not any(map(str.isalpha, header))


def resolve_header(headers: Sequence[str], name: str, key: str, where: str) -> str:
    """Return the header `name`, or else the only one that is equal without case, spaces, `_`, `-`.

    Raises RecipientsError, which names the campaign's `key`.
    """
    if name in headers:
        return name
    alike = [header for header in headers if header_key(header) == header_key(name)]
    if len(alike) == 1:
        return alike[0]
    near = {header_key(header): header for header in headers}
    close = difflib.get_close_matches(header_key(name), near, n=1)
    raise RecipientsError(
        f"`{key}` names a column `{name}`, which does not exist",
        where=where,
        fix=(f"did you mean `{near[close[0]]}`? " if close else "") + f"headers here: {list_names(headers)}",
    )


def list_names(headers: Iterable[str]) -> str:
    """Return the headers as a sentence lists them, the first thirty."""
    names = [f"`{header}`" for header in headers]
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
