"""The media of a message, as the two form APIs list and show them: .../Messages/{Sid}/Media and .../Media/{Sid}.

Fetches no file: its type is what its name says. Facts: the OpenAPI files of Twilio (2026-04-14) and of SignalWire
(2026-08-21).
"""

from __future__ import annotations

import mimetypes
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from sender.sandbox.dialect import Answer, FieldProblem, Refused, StoredMessage
from sender.sandbox.laml import LamlApi
from sender.sandbox.wire_formats import rfc2822, whole

_MOST_ON_A_PAGE = 1000


@dataclass(frozen=True, slots=True)
class MediaRequest:
    """A request for media of a message; `path` and `query` are as they came."""

    message: StoredMessage
    path: str
    query: tuple[tuple[str, str], ...]


def answer_media(api: LamlApi, asked: MediaRequest, media_id: str | None) -> Answer:
    """Return one medium, or without `media_id` a page of all. Raises Refused (404) for an unknown one."""
    media = [_medium(api, asked.message, place) for place in range(len(asked.message.draft.media))]
    if media_id is None:
        return Answer(200, _page(api, asked, media))
    for medium in media:
        if medium["sid"] == media_id:
            return Answer(200, medium)
    raise Refused(FieldProblem(404, "20404", "The requested resource was not found."))


def _page(api: LamlApi, asked: MediaRequest, media: list[dict[str, Any]]) -> dict[str, Any]:
    params = dict(asked.query)
    size, number = whole(params, "PageSize", 50, 1, _MOST_ON_A_PAGE), whole(params, "Page", 0, 0, 10**9)
    if size is None or number is None:
        raise Refused(api.problem(api.bad_page[0], "PageSize or Page is out of range."))

    def uri(page: int) -> str:
        return f"{asked.path}?{urlencode({'PageSize': size, 'Page': page})}"

    start = number * size
    payload = {
        "uri": uri(number),
        "first_page_uri": uri(0),
        "next_page_uri": uri(number + 1) if start + size < len(media) else None,
        "previous_page_uri": uri(number - 1) if number else None,
        "page": number,
        "page_size": size,
        "media_list": media[start : start + size],
    }
    if api.tells_positions:
        payload |= {"start": start, "end": max(start, min(start + size, len(media)) - 1)}
    return payload


def _medium(api: LamlApi, message: StoredMessage, place: int) -> dict[str, Any]:
    url = message.draft.media[place]
    at = rfc2822(message.created_ms)
    sid = api.media_id(uuid.uuid5(uuid.NAMESPACE_URL, f"{message.message_id}/{place}"))
    return {
        "sid": sid,
        "account_sid": message.draft.account,
        "parent_sid": message.message_id,
        "content_type": mimetypes.guess_type(urlsplit(url).path)[0] or "image/jpeg",
        "date_created": at,
        "date_updated": at,
        "uri": api.media_uri(message, sid),
    }
