"""Stops a run whose messages are refused for a reason that all of them share: its text, its sender, its account.

Counts what the provider says, at once or in later delivery reports. What is wrong with one person's number never stops
a run, however many such numbers a list has. Reads no clock and no ledger.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator

from sender.core.errors import ProviderRefused, setting
from sender.core.outcomes import Reason, Rejected
from sender.state.ledger import Refusals

FIRST = 200  # messages of a session whose share of refusals is looked at
LOOK_EVERY_S = 1.0
FEWEST = 20  # of them: a share of fewer says little

PER_PERSON = frozenset({Reason.INVALID_NUMBER, Reason.OPTED_OUT, Reason.LANDLINE, Reason.UNREACHABLE})
# What a share of the first messages may have without being about the person; carriers say the last three later.
SHARED = frozenset(
    {
        Reason.CONTENT,
        Reason.SENDER_NOT_ALLOWED,
        Reason.UNAUTHORIZED,
        Reason.INSUFFICIENT_FUNDS,
        Reason.UNREGISTERED,
        Reason.FILTERED,
        Reason.BLOCKED,
    }
)
_FIX = {
    Reason.CONTENT: "change the text or the media",
    Reason.FILTERED: "carriers take the text for spam: change it, or register the sender for such texts",
    Reason.BLOCKED: "carriers block the sender or the text: ask the provider why",
    Reason.SENDER_NOT_ALLOWED: "check `from`, and the countries that the account may send to",
    Reason.UNREGISTERED: "register the sender (10DLC campaign, toll-free verification)",
    Reason.QUIET_HOURS: "wait until the recipients' quiet hours are over; `sender retry` sends those refused so far",
}


class RejectionGuard:
    """Counts one session's refusals. Each method returns the error to stop with, or None to go on."""

    def __init__(self, *, in_a_row: int | None, share: float | None) -> None:
        """`in_a_row` is the most equal rejections without an acceptance between them; None never stops.

        `share` is the most of the first 200 messages, from 0 to 1, that may be refused or filtered; None never stops.
        """
        self._in_a_row = in_a_row
        self._share = share
        self._since_acceptance: Counter[Reason] = Counter()
        self._look_again_s = -math.inf
        self._first: set[int] | range = set()
        self.messages = 0  # of the session

    def begin(self, from_seq: int, fresh: int, waiting: int, *, is_shared: bool) -> None:
        """A session begins to send the `fresh` messages from `from_seq` on, and `waiting` ones that are before it.

        `is_shared`: others send the run as well. Then its first messages are those with the lowest `seq`, and otherwise
        those that `record_sent` is told of first: what waits for a window leaves later than what is behind it.
        """
        self.messages = max(0, fresh) + (0 if is_shared else waiting)
        if is_shared:
            self._first = range(from_seq, from_seq + min(FIRST, self.messages))

    def record_sent(self, seq: int) -> None:
        """A message leaves."""
        if isinstance(self._first, set) and len(self._first) < FIRST:
            self._first.add(seq)

    def first(self) -> Iterator[tuple[int, int]]:
        """The first messages, as ranges of `seq`: from, and below."""
        seqs = sorted(self._first)
        begins = [at for at, seq in enumerate(seqs) if not at or seqs[at - 1] + 1 < seq]
        for begin, end in zip(begins, [*begins[1:], len(seqs)], strict=False):  # none of either without messages
            yield seqs[begin], seqs[end - 1] + 1

    def is_due(self, now_s: float, *, has_rejected: bool) -> bool:
        """Whether it is time to look at the first messages again: each second, and at each rejection."""
        if now_s < self._look_again_s and not has_rejected:
            return False
        self._look_again_s = now_s + LOOK_EVERY_S
        return True

    def record_acceptance(self) -> None:
        """The provider took a message."""
        self._since_acceptance.clear()

    def record_rejection(self, rejected: Rejected) -> ProviderRefused | None:
        """The provider refused a message for good."""
        reason = rejected.reason
        if reason in PER_PERSON:
            return None
        self._since_acceptance[reason] += 1
        if self._in_a_row is None or self._since_acceptance[reason] < self._in_a_row:
            return None
        code = f" ({rejected.error_code})" if rejected.error_code else ""
        return ProviderRefused(
            f"{self._since_acceptance[reason]} messages in a row were refused as {reason.value}{code} and none was"
            f" accepted; the last: {rejected.error_message or reason.value}",
            fix=_fix(reason, setting("limits.max_rejected_in_a_row")),
        )

    def judge_first(self, refusals: Iterable[Refusals], messages: int) -> ProviderRefused | None:
        """Look at what became of the first 200 of `messages` that this session sends."""
        if self._share is None:
            return None
        counted = [refused for refused in refusals if refused.reason in SHARED]
        failed = sum(refused.messages for refused in counted)
        first = min(FIRST, messages)
        if failed < max(FEWEST, math.ceil(self._share * first)):
            return None
        by_reason: Counter[Reason] = Counter()
        for refused in counted:
            by_reason[refused.reason] += refused.messages
        worst = max(counted, key=lambda refused: refused.messages)
        listed = ", ".join(f"{count} {reason.value}" for reason, count in by_reason.most_common())
        code = f"; most often {worst.error_code}" if worst.error_code else ""
        return ProviderRefused(
            f"{failed} of the first {first} messages were refused or did not arrive: {listed}{code}",
            fix=_fix(worst.reason, setting("limits.max_failed")),
        )


def _fix(reason: Reason, key: str) -> str:
    what = _FIX.get(reason, "read the provider's reason, and fix what all messages share")
    return f"{what}; the rest is pending: the same command continues, and {key} sets the limit"
