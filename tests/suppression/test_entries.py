"""What can be on the list, how far it goes, and how it reads."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sender.core.errors import InputError
from sender.core.outcomes import SkipReason
from sender.suppression.entries import EntrySource, SuppressionEntry, check_scope, is_number

OURS = "+12025550150"
AT = datetime(2026, 11, 21, 14, 3, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("+12025550101", True),
        ("+1234567", True),
        ("+123456", False),  # E.164 has no shorter ones
        ("+123456789012345", True),
        ("+1234567890123456", False),
        ("+02025550101", False),
        ("12025550101", False),
        ("12", False),
        ("123", True),  # a short code
        ("12345678", True),
        ("123456789", False),
        ("", False),
        (" +12025550101", False),
        ("+12025550101\n", False),
        ("whatsapp:+12025550101", False),
    ],
)
def test_a_number_is_e164_or_a_short_code(text: str, is_one: bool) -> None:
    assert is_number(text) is is_one


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        (" all ", "all"),
        ("sandbox", "sandbox"),
        (" campaign: spring ", "campaign:spring"),
        ("campaign:a:b", "campaign:a:b"),
        (f"sender:{OURS}", f"sender:{OURS}"),
        ("account:twilio", "account:twilio"),
    ],
)
def test_a_scope_is_read_without_blanks(text: str, scope: str) -> None:
    assert check_scope(text) == scope


@pytest.mark.parametrize("text", ["", "everywhere", "campaign:", "campaign", "sender: ", "account", "All", "x:y"])
def test_what_is_not_a_scope_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a scope"):
        check_scope(text)


@pytest.mark.parametrize(
    ("source", "via", "note", "sentence"),
    [
        (EntrySource.PERSON, "", None, "put on the suppression list by hand"),
        (EntrySource.PERSON, "", "by phone", "put on the suppression list by hand (by phone)"),
        (EntrySource.FILE, "old.csv", None, "on the suppression list from old.csv"),
        (EntrySource.FILE, "", None, "on the suppression list from a file"),
        (EntrySource.REPLY, OURS, "Stop!", f"replied Stop! to {OURS}"),
        (EntrySource.REPLY, "", None, "replied STOP to us"),
        (EntrySource.PROVIDER_ERROR, OURS, "twilio 21610", "refused by twilio, error 21610"),
        (
            EntrySource.PROVIDER_ERROR,
            OURS,
            "twilio 21610 Attempt to send to unsubscribed recipient",
            "refused by twilio, error 21610 (Attempt to send to unsubscribed recipient)",
        ),
        (
            EntrySource.PROVIDER_ERROR,
            OURS,
            "telnyx Blocked due to STOP message",
            "refused by telnyx (Blocked due to STOP message)",
        ),
        (
            EntrySource.PROVIDER_ERROR,
            "",
            "signalwire number_blacklisted",
            "refused by signalwire, error number_blacklisted",
        ),
        (EntrySource.PROVIDER_ERROR, "", None, "refused by the provider as opted_out"),
        (EntrySource.PROVIDER_LIST, OURS, None, f"on the provider's list of opt-outs for {OURS}"),
        (EntrySource.PROVIDER_LIST, "", None, "on the provider's list of opt-outs"),
    ],
)
@pytest.mark.parametrize(("scope", "where"), [("all", ""), ("campaign:spring", ", for campaign:spring")])
def test_how_an_entry_reads(
    source: EntrySource, via: str, note: str | None, sentence: str, scope: str, where: str
) -> None:
    entry = SuppressionEntry("+12025550101", SkipReason.OPTED_OUT, source, via, scope, AT, note)
    assert entry.sentence() == f"{sentence} on 2026-11-21 14:03 UTC{where}"
