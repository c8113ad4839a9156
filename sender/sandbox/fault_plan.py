"""Injected faults: which create and log requests get one, by probability and seed or by recipient.

Each kind is a row of a table. The pick depends on the seed, the recipient and the number of the recipient's request,
and not on the order in which requests arrive. So the same seed gives the same faults, however many requests are under
way at once.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from sender.campaign.safe_yaml import YamlError, load
from sender.core.errors import InputError
from sender.sandbox.dialect import Trouble
from sender.sandbox.distortions import Distortion
from sender.sandbox.magic_numbers import AnswerDelivery, Behavior, RetryAfter


def _page(about: str, status: int, *, accepts: bool = False) -> Behavior:
    return Behavior(about, delivery=AnswerDelivery.PAGE, accepts=accepts, page_status=status)


# Faults of create requests. "Before" and "after" refer to acceptance: after it, the message is in the log.
FAULTS: Mapping[str, Behavior] = {
    "429": Behavior("429, `Retry-After` in seconds", Trouble.RATE_LIMITED, retry_after=RetryAfter.SECONDS),
    "429-date": Behavior("429, `Retry-After` as a date", Trouble.RATE_LIMITED, retry_after=RetryAfter.DATE),
    "429-garbage": Behavior("429, `Retry-After: soon`", Trouble.RATE_LIMITED, retry_after=RetryAfter.GARBAGE),
    "no-funds": Behavior("a plain no: the account has no funds", Trouble.NO_FUNDS),
    "no-region": Behavior(
        "a plain no: the account may not send to that country (SignalWire: not from that number)",
        Trouble.REGION_NOT_ALLOWED,
    ),
    "500-before": Behavior("the provider's own 500; nothing was accepted", Trouble.SERVER_ERROR),
    "502-before": Behavior("a gateway's 502; nothing was accepted", delivery=AnswerDelivery.BAD_GATEWAY, accepts=False),
    "503-before": Behavior("a gateway's 503; nothing was accepted", delivery=AnswerDelivery.UNAVAILABLE, accepts=False),
    "timeout-before": Behavior("no answer; nothing was accepted", delivery=AnswerDelivery.SILENCE, accepts=False),
    "reset-before": Behavior(
        "the connection is reset; nothing was accepted", delivery=AnswerDelivery.RESET, accepts=False
    ),
    "outage": Behavior(
        "every connection is reset, and new ones are refused for a while; nothing was accepted",
        delivery=AnswerDelivery.OUTAGE,
        accepts=False,
    ),
    "500-after": Behavior("the provider's own 500, though accepted", delivery=AnswerDelivery.SERVER_ERROR),
    "502-after": Behavior("a gateway's 502, though accepted", delivery=AnswerDelivery.BAD_GATEWAY),
    "503-after": Behavior("a gateway's 503, though accepted", delivery=AnswerDelivery.UNAVAILABLE),
    "timeout-after": Behavior("accepted, and no answer", delivery=AnswerDelivery.SILENCE),
    "reset-after": Behavior("accepted, and the connection is reset", delivery=AnswerDelivery.RESET),
    "half-after": Behavior("accepted; half of the answer, then the connection is closed", delivery=AnswerDelivery.HALF),
    "truncated-json": Behavior("accepted; a whole answer whose JSON is cut", delivery=AnswerDelivery.TRUNCATED),
    "html": Behavior("accepted; 200 with a page of HTML", delivery=AnswerDelivery.HTML),
    "drip": Behavior("accepted; the answer comes byte by byte", delivery=AnswerDelivery.DRIP),
    "huge": Behavior("accepted; an answer of 100 MB", delivery=AnswerDelivery.HUGE),
    "403-page": _page("a firewall's page with 403; nothing was accepted", 403),
    "404-page": _page("a balancer's page with 404; nothing was accepted", 404),
    "407-page": _page("a proxy's page with 407; nothing was accepted", 407),
    "409-page": _page("a gateway's page with 409; nothing was accepted", 409),
    "403-page-after": _page("a firewall's page with 403, though accepted", 403, accepts=True),
    "409-page-after": _page("a gateway's page with 409, though accepted", 409, accepts=True),
    "answer-twice": Behavior("accepted; the answer comes twice at once", delivery=AnswerDelivery.TWICE),
    "answer-twice-late": Behavior(
        "accepted; the answer comes again after a moment", delivery=AnswerDelivery.TWICE_LATE
    ),
    "other-answer": Behavior("accepted; the answer to the message before", distortion=Distortion.OTHER_ANSWER),
    "other-id": Behavior("accepted; the answer has the id of the message before", distortion=Distortion.OTHER_ID),
    "wrong-to": Behavior("accepted; the answer names another recipient", distortion=Distortion.OTHER_RECIPIENT),
    "wrong-from": Behavior("accepted; the answer names another sender", distortion=Distortion.OTHER_SENDER),
}
# Faults of requests for a page of the log.
LOG_FAULTS: Mapping[str, AnswerDelivery | Distortion] = {
    "log-500": AnswerDelivery.SERVER_ERROR,
    "log-reset": AnswerDelivery.RESET,
    "log-truncated-json": AnswerDelivery.TRUNCATED,
    "log-no-date": AnswerDelivery.UNDATED,
    "log-redacted": Distortion.REDACTED,
    "log-national": Distortion.NATIONAL,
    "log-no-numbers": Distortion.NO_NUMBERS,
    "log-local-time": Distortion.LOCAL_TIME,
    "log-two-pages": Distortion.TWO_PAGES,
}


@dataclass(frozen=True, slots=True)
class Faults:
    """What to inject: `probabilities` by kind (at most 1 in all for each table), `recipients` by number.

    A recipient's kinds apply to its first, second, ... request, and later ones are ordinary; a single kind applies to
    every request.
    """

    probabilities: Mapping[str, float] = field(default_factory=dict)
    recipients: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        for kind in (*self.probabilities, *(kind for kinds in self.recipients.values() for kind in kinds)):
            if kind not in FAULTS and (kind not in LOG_FAULTS or kind not in self.probabilities):
                raise ValueError(f"{kind!r} is not a fault: {', '.join([*FAULTS, *LOG_FAULTS])}")
        for table in (FAULTS, LOG_FAULTS):
            if sum(self.probabilities.get(kind, 0.0) for kind in table) > 1 + 1e-9:
                raise ValueError("the probabilities add up to more than 1")
        if any(not 0 <= chance <= 1 for chance in self.probabilities.values()):
            raise ValueError("a probability must be between 0 and 1")


NO_FAULTS = Faults()


class FaultPicker:
    """Picks from `Faults`. Remembers how many requests each recipient and the log have had."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._requests: Counter[str] = Counter()

    def pick_for_message(self, to: str) -> Behavior | None:
        """Return the fault of this request to create a message; None: no fault."""
        if not self._faults.recipients and not self._faults.probabilities:
            return None
        self._requests[to] += 1
        nth = self._requests[to]
        if kinds := self._faults.recipients.get(to):
            kind = kinds[0] if len(kinds) == 1 else kinds[nth - 1] if nth <= len(kinds) else None
        else:
            kind = self._pick(FAULTS, to, nth)
        return None if kind is None else replace(FAULTS[kind], fault=kind)

    def pick_for_page(self) -> tuple[str, AnswerDelivery | Distortion] | None:
        """Return kind and effect of the fault of this request for a page of the log; None: no fault."""
        self._requests["log"] += 1
        kind = self._pick(LOG_FAULTS, "log", self._requests["log"])
        return None if kind is None else (kind, LOG_FAULTS[kind])

    def reset(self) -> None:
        self._requests.clear()

    def _pick(self, table: Iterable[str], what: str, nth: int) -> str | None:
        chance = random.Random(f"{self._faults.seed} {what} {nth}").random()
        for kind in table:
            chance -= self._faults.probabilities.get(kind, 0.0)
            if chance < 0:
                return kind
        return None


def parse(text: str, *, seed: int = 0) -> Faults:
    """Return `text` as Faults: the path of a YAML file, or `kind=probability` and `number=kind` separated by commas.

    The file is a mapping of a kind to its probability, or of a number to a kind or a list of kinds. Raises InputError.
    """
    if "=" in text:
        items: dict[str, object] = {}
        for part in text.split(","):
            name, sign, value = (piece.strip() for piece in part.partition("="))
            if not sign or name in items:
                raise _error("--faults", f"{part.strip()!r} is not `kind=probability`, or occurs twice")
            items[name] = value
        return _faults(items, "--faults", seed)
    path = Path(text)
    try:
        document = load(path.read_text(encoding="utf-8")).value
    except (OSError, UnicodeDecodeError, YamlError) as error:
        raise _error(text, f"cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise _error(text, "is not a mapping of kinds to probabilities")
    return _faults(document, text, seed)


def _faults(items: Mapping[str, object], where: str, seed: int) -> Faults:
    probabilities: dict[str, float] = {}
    recipients: dict[str, tuple[str, ...]] = {}
    try:
        for name, value in items.items():
            if name.startswith("+"):
                kinds = value if isinstance(value, list) else [value]
                recipients[name] = tuple(str(kind) for kind in kinds)
            else:
                probabilities[name] = float(str(value))
        return Faults(MappingProxyType(probabilities), MappingProxyType(recipients), seed)
    except ValueError as error:
        raise _error(where, str(error)) from None


def _error(where: str, what: str) -> InputError:
    fix = "write `500-after=0.02,reset-after=0.01`, or name a YAML file; docs/sandbox.md lists the kinds"
    return InputError(what, where=where, fix=fix)
