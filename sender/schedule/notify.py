"""Posts what became of a run to an address of the user's own, signed as Standard Webhooks.

Holds counts, codes and times: no texts, no numbers of people. A notification that cannot be delivered changes nothing
about the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sender.core.lazy_modules import httpx
from sender.core.standard_webhooks import Event, Target, signed_headers
from sender.schedule.metrics import count_messages, hide_numbers

_DELAYS_S = (1.0, 4.0, 10.0)  # before each further try
_TIMEOUT_S = 10.0
_WORTH_ANOTHER_TRY = (408, 425, 429)
_COUNTS = ("rows", "accepted", "rejected", "canceled", "unknown", "pending", "skipped", "statuses", "segments", "price")


def describe_run(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a notification says of a run, from its summary as plain values: no sentences, no numbers."""
    counts = count_messages(summary)
    return {
        **{name: summary.get(name) for name in ("run_id", "kind", "exit_code", "interrupted")},
        "campaign": hide_numbers(str(summary.get("campaign", ""))),
        **{name: summary[name] for name in _COUNTS if name in summary},
        "reasons": [
            {"status": status, "reason": reason, "count": n} for (status, reason), n in counts.items() if reason
        ],
    }


def name_error(error: Exception | None) -> str | None:
    """Return the class of an error; its sentence may name numbers."""
    return None if error is None else type(error).__name__


def run_event(summary: Mapping[str, Any], stopped: Exception | None, now: datetime) -> Event:
    """Return the notification of a run that has ended, stopped by that error or not."""
    data = {**describe_run(summary), "error": name_error(stopped)}
    return Event(f"run_{summary['run_id']}_{round(now.timestamp())}", "run.ended", now, data)


def notify(
    target: Target,
    event: Event,
    *,
    client: httpx.Client | None = None,
    now_s: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> str | None:
    """Post the event, a few times if need be; return why it could not be delivered, or None. Takes a minute at most."""
    own = client or httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False)
    try:
        failure = None
        for delay_s in (0.0, *_DELAYS_S):
            if delay_s:
                sleep(delay_s)
            failure, may_pass = _post(own, target, event, int(now_s()))
            if failure is None or not may_pass:
                break
        return failure
    finally:
        if client is None:
            own.close()


def _post(client: httpx.Client, target: Target, event: Event, timestamp_s: int) -> tuple[str | None, bool]:
    """Return what went wrong, or None, and whether another try may help."""
    body = event.body()
    headers = signed_headers(target, event.id, timestamp_s, body)
    try:
        answer = client.post(target.url, content=body, headers=headers)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return f"{target.host}: {type(error).__name__}", True
    if answer.is_success:
        return None, False
    return f"{target.host} answered {answer.status_code}", (
        answer.status_code in _WORTH_ANOTHER_TRY or answer.status_code >= 500
    )
