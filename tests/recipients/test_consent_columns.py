"""Columns that look like consent: which they are, whom they speak against, and what the warning proposes."""

from __future__ import annotations

import pytest

from sender.recipients.columns import _template_names
from sender.recipients.consent_columns import is_refusal, note_consent
from sender.recipients.readers.cells import table_of_items

AGREED = (
    "Opt In?|Opt-In|optin|SMS Opt In|sms_opt_in|OptedIn|Subscribed|SMS consent|Consent|Consent to text|Marketing"
    "|Accepts SMS Marketing|SMS Marketing|Accepts Marketing|Marketing contact status|Marketing Permission|GDPR|DSGVO"
    "|Einwilligung|SMS-Einwilligung|Zustimmung|Werbung|Consentement|Abonné|Consentimiento|Suscrito|Consenso|Iscritto"
    "|Consentimento|Inscrito|Toestemming|Ok to text|SMS Subscription Status|Phone consent|Opt-in date"
)
REFUSED = (
    "Opt Out|Opt-Out|SMS Opt-Out|optout|Opted Out|Unsubscribed|Unsubscribed At|Do not contact|Do Not Call|DoNotCall"
    "|Do not text|DNC|DND|No SMS|Abgemeldet|Widerruf|Keine Werbung|Nicht kontaktieren|Désabonné|Ne pas contacter|Baja"
    "|No contactar|Non contattare|Não contatar|Afgemeld|STOP"
)
NEITHER = (
    "Name|Phone|Email Opt Out|HasOptedOutOfEmail|Newsletter|Accepts Email Marketing|Fax Opt Out|Options|Optician|Stopover"
    "|Market|Status|Active|City|Contact"
)


@pytest.mark.parametrize(
    ("header", "refusal"),
    [
        *[(header, False) for header in AGREED.split("|")],
        *[(header, True) for header in REFUSED.split("|")],
        *[(header, None) for header in NEITHER.split("|")],
    ],
)
def test_which_headers_are_about_consent(header, refusal):
    assert is_refusal(header) is refusal


def warnings(header: str, values: list[str], used: tuple[str, ...] = ()) -> list[str]:
    table = table_of_items([{"Phone": "+12025550101", header: value} for value in values])
    return list(note_consent(table, _template_names(list(table.headers), {}, "x"), used, ("NULL", "N/A")))


@pytest.mark.parametrize(
    ("header", "values", "against", "condition"),
    [
        ("Opt In?", ["Y", "N", "N", ""], "3 rows (`N` 2, blank 1)", "opt_in == 'Y'"),
        ("Opt In?", ["Y", "y", "N"], "1 row (`N` 1)", "opt_in in ('Y', 'y')"),
        ("SMS consent", ["SUBSCRIBED", "UNSUBSCRIBED", "NEVER_SUBSCRIBED"], "2 rows", "sms_consent == 'SUBSCRIBED'"),
        ("Subscribed", ["no", "no"], "2 rows (`no` 2)", "subscribed == 'yes'"),
        ("Opt-in date", ["2026-01-05", ""], "1 row (blank 1)", "opt_in_date != ''"),
        ("Opt-in date", ["2026-01-05", "NULL", ""], "2 rows (blank 2)", "opt_in_date != ''"),
        ("Do not text", ["Yes", "No", "NULL"], "1 row (`Yes` 1)", "do_not_text in ('', 'No')"),
        ("Do not contact", ["Yes", "", ""], "1 row (`Yes` 1)", "do_not_contact == ''"),
        ("Do Not Call", ["1", "0", ""], "1 row (`1` 1)", "do_not_call in ('', '0')"),
        ("Unsubscribed", ["Unsubscribed", ""], "1 row (`Unsubscribed` 1)", "unsubscribed == ''"),
        ("Unsubscribed At", ["2026-01-05", ""], "1 row (`2026-01-05` 1)", "unsubscribed_at == ''"),
        ("Einwilligung", ["ja", "nein"], "1 row (`nein` 1)", "einwilligung == 'ja'"),
        ("!Opt-In!", ["x", ""], "1 row (blank 1)", "opt_in == 'x'"),
    ],
)
def test_a_column_that_speaks_against_rows_is_named(header, values, against, condition):
    (warning,) = warnings(header, values)
    assert f"column `{header}` looks like consent and is not used" in warning
    assert against in warning
    assert f"`recipients.where: {condition}`" in warning


@pytest.mark.parametrize(
    ("header", "values"),
    [
        ("Opt In?", ["Y", "yes", "TRUE", "1"]),
        ("Do not contact", ["", "no", "0", "FALSE"]),
        ("Unsubscribed", ["", ""]),
        ("Marketing", ["spring sale", "summer"]),
        ("Consent", [f"text {n}" for n in range(60)]),
    ],
)
def test_a_column_that_speaks_against_nobody_is_not_named(header, values):
    assert warnings(header, values) == []


def test_a_column_that_is_used_is_not_named():
    assert warnings("Opt In?", ["Y", "N"], used=("Opt In?",)) == []
