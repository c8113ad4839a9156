"""Requests as bytes, and answers as values: JSON, forms, dates, headers. Pure; performs no I/O.

Knows no provider. Raises nothing for the content of an answer but ValueError, where a docstring says so.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import orjson

from sender.core.errors import Unsupported
from sender.providers.base import Request, Response

TEXT_MAX_CHARS = 500
RETRY_AFTER_MAX_S = 3600.0
FIELDS_MAX = 200  # in a webhook's form; a Twilio MMS with ten files has about fifty
_EPOCH_FROM = 10**9  # a larger x-ratelimit-reset is a Unix time, a smaller one seconds (Telnyx documents both)
_VISIBLE_ASCII = re.compile(r"[!-~]{1,200}")
_WEB_URL = re.compile(r"https?://[!-~]+")
_MOST_URLS = 20  # of a message
_LONGEST_URL = 2000
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def refusal_text(response: Response) -> tuple[list[tuple[str | None, str]], str]:
    """The (code, text) pairs of an error answer in any documented shape, and all texts as one sentence."""
    faults = list(_faults(error_document(response) or {}))
    sentence = clean("; ".join(dict.fromkeys(text for _, text in faults if text)))
    return faults, sentence or snippet(response) or _phrase(response.status)


def error_document(response: Response) -> dict[str, Any] | None:
    """The JSON object in a refusal; None where there is none."""
    try:
        return json_object(response)
    except ValueError:
        return None


def json_object(response: Response) -> dict[str, Any]:
    """The JSON object in an answer, fractions as Decimal. Raises ValueError: cut off, not JSON, not an object."""
    if response.truncated:
        raise ValueError("was cut off")
    return parsed(response.content)


def parsed(content: bytes) -> dict[str, Any]:
    """The JSON object in a body, fractions as Decimal. Raises ValueError: not JSON, not an object."""
    try:
        is_utf8 = content.startswith(b'{"')  # UTF-8, as RFC 8259 requires; any other encoding has NULs or a mark here
        encoding = "utf-8" if is_utf8 else json.detect_encoding(content)
        document = _DECODER.decode(content.decode(encoding, "surrogatepass"))
    except (ValueError, ArithmeticError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(document, dict):
        raise ValueError("is not a JSON object")  # noqa: TRY004 (the document's fault, not the caller's)
    return document


def is_form(headers: Mapping[str, str]) -> bool:
    """Whether a webhook's body is a form."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"


def webhook_fields(headers: Mapping[str, str], body: bytes, url: str) -> dict[str, Any]:
    """Name -> value of a webhook: of its form, of its JSON object, or of the query where there is no body (GET).

    The first value of a repeated name counts. Raises ValueError when it cannot be read.
    """
    if body and not is_form(headers):
        return parsed(body)
    try:
        query = body.decode() if body else urlsplit(url).query
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError:  # also not UTF-8
        raise ValueError("is not a form") from None
    return dict(reversed(pairs))


def looked_up(response: Response) -> dict[str, Any] | None:
    """The document of a lookup; None when the provider itself says that there is none. Raises ValueError."""
    if response.status == 404:
        json_object(response)  # a proxy's own 404 page says nothing about the message
        return None
    return _read(response)


def found(response: Response) -> dict[str, Any]:
    """The document of an answer with status 200. Raises ValueError, with the provider's sentence, for any other."""
    return _read(response)


def listing(response: Response, key: str) -> dict[str, Any]:
    """The document of a list, with a list of objects under `key`. Raises ValueError for anything else."""
    document = _read(response)
    if not (isinstance(rows := document.get(key), list) and all(isinstance(row, dict) for row in rows)):
        raise ValueError(f"has no list of objects under {key!r}")
    return document


def mapping(value: object) -> dict[str, Any]:
    """`value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """`value` if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def message_id(value: object) -> str:
    """A message id: visible ASCII. Raises ValueError for anything else."""
    if isinstance(value, str) and _VISIBLE_ASCII.fullmatch(value):
        return value
    raise ValueError("has no message id")


def needed(value: object, name: str) -> str:
    """A text that a document must have. Raises ValueError when it is missing."""
    present = text(value)
    if present is None:
        raise ValueError(f"has no {name!r}")
    return present


def text(value: object) -> str | None:
    """A string or a whole number as clean text; None for anything else, and for an empty one."""
    if value is None or isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    return clean(str(value)) or None


def raw_text(value: object) -> str | None:
    """A string unchanged (a message body keeps its line breaks), but safe to encode."""
    return _encodable(value) if isinstance(value, str) else None


def whole(value: object) -> int | None:
    """A positive count, from a number or digits; None for zero (Twilio: not counted yet) and anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9 else None


def urls(values: Iterable[object]) -> tuple[str, ...]:
    """Those of the first 20 values that are http or https URLs of a usual length."""
    return tuple(
        value
        for value in islice(values, _MOST_URLS)
        if isinstance(value, str) and len(value) <= _LONGEST_URL and _WEB_URL.fullmatch(value)
    )


def amount(value: object) -> str | None:
    """A price as plain decimal text, sign and digits as the provider wrote them; None for anything else."""
    if isinstance(value, str) and len(value) < 40:
        try:
            Decimal(value)
        except ArithmeticError:
            return None
        return value if re.fullmatch(r"[+-]?[0-9.]+", value) else None
    if isinstance(value, Decimal):
        return format(value, "f") if abs(value.adjusted()) < 20 else None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18 else None


def seconds(value: object) -> float | None:
    """A duration in seconds, finite and not negative."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) and number >= 0 else None


def moment(value: object) -> datetime | None:
    """A time in ISO 8601 or RFC 2822, as aware UTC; without an offset it is UTC. None when unreadable."""
    if not isinstance(value, str):
        return None
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            parsed = parse(value)
            return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def exact_moment(value: object) -> datetime | None:
    """A time in ISO 8601 or RFC 2822 with its offset, as aware UTC; None when unreadable, and for a local time."""
    if not isinstance(value, str):
        return None
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            parsed = parse(value)
            return None if parsed.tzinfo is None else parsed.astimezone(UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def iso(value: object) -> str | None:
    """A time in ISO 8601 or RFC 2822, as ISO 8601 UTC text ending in Z. None when unreadable."""
    parsed = moment(value)
    return utc(parsed) if parsed else None


def utc(value: datetime) -> str:
    """An aware time as ISO 8601 UTC text ending in Z."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The wait that the provider asks for, in seconds, at most an hour; None without a readable one.

    `retry-after` is seconds or an HTTP date, else `x-ratelimit-reset` is seconds or a Unix time. A point in
    time is measured against the answer's own `date`, so that our clock does not matter; without one it is
    unreadable.
    """
    now = moment(headers.get("date"))
    for name in ("retry-after", "x-ratelimit-reset"):
        value = headers.get(name, "").strip()
        if _SECONDS.fullmatch(value):
            wait_s = float(value)
            if name == "x-ratelimit-reset" and wait_s > _EPOCH_FROM:
                if now is None:
                    continue
                wait_s -= now.timestamp()
        elif value and now and (until := moment(value)):
            wait_s = (until - now).total_seconds()
        else:
            continue
        return min(max(wait_s, 0.0), RETRY_AFTER_MAX_S)
    return None


def clean(value: str) -> str:
    """One line of at most 500 characters that can be encoded."""
    if len(value) <= TEXT_MAX_CHARS and value.isascii() and value.isalnum():
        return value
    line = " ".join(_encodable(value[: 4 * TEXT_MAX_CHARS]).split())
    return line if len(line) <= TEXT_MAX_CHARS else f"{line[: TEXT_MAX_CHARS - 1]}…"


def snippet(response: Response) -> str:
    """The beginning of an answer of unknown structure, as one line."""
    return clean(response.content[: 4 * TEXT_MAX_CHARS].decode("utf-8", "replace"))


def with_ref(url: str, ref: str) -> str:
    """`url` with `ref` as the last parameter of its query; query and fragment stay as they are."""
    address, hash_mark, fragment = url.partition("#")
    joiner = "" if address.endswith(("?", "&")) else "&" if "?" in address else "?"
    return f"{address}{joiner}ref={quote(ref, safe='')}{hash_mark}{fragment}"


def ref_in_url(url: object) -> str | None:
    """The last `ref` in a callback URL's query: what `with_ref` put there."""
    try:
        query = parse_qsl(urlsplit(url).query) if isinstance(url, str) else []
    except ValueError:
        return None
    return next((value for name, value in reversed(query) if name == "ref"), None)


def get(url: str, authorization: str) -> Request:
    """A GET request that asks for JSON."""
    return Request("GET", url, (("Authorization", authorization), ("Accept", "application/json")))


def post_json(url: str, authorization: str, document: Mapping[str, Any]) -> Request:
    """A POST request with a JSON document. Raises Unsupported for text that is not Unicode."""
    try:
        return _post(url, authorization, "application/json", orjson.dumps(document))
    except TypeError:  # half a character, or what no campaign can hold
        return _post(url, authorization, "application/json", _encoded(_ENCODER.encode(document)))


def post_form(url: str, authorization: str, pairs: Sequence[tuple[str, str]]) -> Request:
    """A POST request with a form, all reserved characters percent-encoded. Raises Unsupported as `post_json`."""
    return _post(url, authorization, "application/x-www-form-urlencoded", form(pairs).encode())


def form(pairs: Iterable[tuple[str, str]]) -> str:
    """Names and values as a form or a query, every reserved character percent-encoded (a space as %20)."""
    try:
        return "&".join([f"{_quoted_name(name)}={quote(value, safe='')}" for name, value in pairs])
    except UnicodeEncodeError:
        raise _not_text() from None


@lru_cache(256)
def _quoted_name(name: str) -> str:
    return quote(name, safe="")


def follow(base_url: str, link: object, authorization: str) -> Request | None:
    """The request for a next page; None for no link. Raises ValueError when the link is not one.

    Only path and query of the link count: credentials go to `base_url` and nowhere else, whatever an answer
    contains.
    """
    if link is None or link == "":
        return None
    if not isinstance(link, str):
        raise ValueError("has a link to the next page that is not text")  # noqa: TRY004
    parts = urlsplit(link)
    if not parts.path.startswith("/") or not parts.path.isascii() or not parts.query.isascii():
        raise ValueError("has a link to the next page that is not a URL")
    return get(f"{base_url}{parts.path}{f'?{parts.query}' if parts.query else ''}", authorization)


def _read(response: Response) -> dict[str, Any]:
    if response.status != 200:
        raise ValueError(clean(f"HTTP {response.status}: {refusal_text(response)[1]}"))
    return json_object(response)


def _post(url: str, authorization: str, content_type: str, content: bytes) -> Request:
    headers = (
        ("Authorization", authorization),
        ("Accept", "application/json"),
        ("Content-Type", content_type),
    )
    return Request("POST", url, headers, content)


def _encoded(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise _not_text() from None


def _not_text() -> Unsupported:
    return Unsupported("the message contains half a character (a lone surrogate)", where="message", fix="fix the text")


def _faults(document: dict[str, Any]) -> Iterable[tuple[str | None, str]]:
    """In the documented shapes: `{errors: [{code, message | title, detail}]}`, `{code, message}`, `{error}`."""
    errors = document.get("errors") or document.get("error") or document
    for entry in errors if isinstance(errors, list) else [errors]:
        if isinstance(entry, dict):
            texts = [text(entry.get(name)) for name in ("title", "message", "detail")]
            yield text(entry.get("code")), ": ".join(dict.fromkeys(part for part in texts if part))
        elif isinstance(entry, str):
            yield None, clean(entry)


def _encodable(value: str) -> str:
    return value.encode("utf-8", "replace").decode()


def _no_constant(name: str) -> float:
    raise ValueError(name)


# `json.loads` and `json.dumps` create these for each call with options, which takes 4 µs a message.
_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_no_constant)
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason given"
