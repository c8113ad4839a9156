"""Requests that may be repeated: where the provider makes one message of all requests with the same key. Pure.

A key belongs to one attempt of one message. A repeated request has the key *and* the bytes of the first; the provider
answers it with the first one's success, or carries it out if the first never succeeded: one message either way.
An error says nothing about the first request.
"""

from __future__ import annotations

from sender.providers import _http
from sender.providers.base import Idempotency, Message, Request, Response


def make_key(message: Message) -> str:
    """The key of the message's attempt: no personal data; letters, digits, `-`, `_` and `:` only."""
    return f"{message.ref.replace('.', ':')}:{message.attempt}"


def with_key(request: Request, rule: Idempotency, message: Message) -> Request:
    """The create request with the message's key."""
    return request._replace(headers=(*request.headers, (rule.header, make_key(message))))


def with_other_body(request: Request) -> Request:
    """The same request with a body that no provider can accept as a message: it asks only whether the key is known."""
    return request._replace(content=b"{}")


def says(response: Response, answer: tuple[int, str]) -> bool:
    """Whether the answer is the provider's own, with that status and error code."""
    status, code = answer
    faults, _ = _http.refusal_text(response)
    return response.status == status and any(found == code for found, _ in faults)
