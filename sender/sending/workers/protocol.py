"""What a supervisor and its workers send each other: a JSON object a line, with the kind of message in `message`.

To a worker, on standard input: first its WorkerConfig; then `go`, `stop`, and `disable_sender` (`number`, `why`).
To the supervisor, on standard output: `ready`, `counts` (what was sent and recorded since the last one), `halted` and
`failed` (with `error`), `disable_sender`, `log` and `done`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from sender.core.errors import SenderError, WorkersLost
from sender.plan.pace import Pace
from sender.sending.options import SendOptions

MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What worker `number` (from 0) of `count` is given. The limits of `pace` bind all of them together.

    `options` are those of the run; they hold the credentials, so a config goes through a pipe and is never shown.
    `callback` is the URL for delivery reports, `slots_file` holds the shared state of the rate limiter, and `suppress`
    has the suppression files as a manifest has them. `request_format` is the ledger's number of how requests are
    written.
    """

    options: SendOptions
    run_id: str
    number: int
    count: int
    pace: Pace
    callback: str | None
    slots_file: str
    log_level: int
    suppress: tuple[Mapping[str, Any], ...] = ()
    request_format: int | None = None

    def to_json(self) -> str:
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return json.dumps(values | {"options": self.options.to_dict(), "pace": asdict(self.pace)})

    @staticmethod
    def from_json(text: str) -> WorkerConfig:
        values = json.loads(text)
        options, pace = SendOptions(**values["options"]), Pace.from_json(values["pace"])
        return WorkerConfig(**values | {"options": options, "pace": pace, "suppress": tuple(values["suppress"])})

    @property
    def own_pace(self) -> Pace:
        """This worker's share, for the size of its batches and its requests in flight; the limits are the whole."""
        fixed = self.pace.concurrency
        return replace(
            self.pace,
            per_s=None if self.pace.per_s is None else self.pace.per_s / self.count,
            concurrency=None if fixed is None else fixed // self.count + (self.number < fixed % self.count),
        )


def encode_message(message: str, **values: Any) -> bytes:
    """One line of the protocol."""
    return json.dumps({"message": message, **values}, default=str).encode() + b"\n"


def encode_error(error: Exception) -> dict[str, str | None]:
    """An error as plain values; `type` is None for one that is not a SenderError."""
    if isinstance(error, SenderError):
        return error.to_dict()
    return {"type": None, "what": f"{type(error).__name__}: {error}", "where": None, "fix": None}


def decode_error(values: Mapping[str, str | None], number: int) -> SenderError:
    """The error that worker `number` raised."""
    if values["type"] is not None:
        return SenderError.from_dict(values)
    return WorkersLost(
        f"worker {number} failed: {values['what']}",
        fix="run the same command again: nothing is lost; if it fails again, --debug shows where",
    )
