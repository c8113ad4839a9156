"""Columns that look like consent: whether a person has agreed to messages, or has asked for none.

Warns, no more: what counts as consent is for `recipients.where`. Columns about e-mail, post and faxes are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from sender.core.errors import setting
from sender.core.safe_text import escape_controls
from sender.recipients.headers import words
from sender.recipients.readers.table import Table


def _phrases(text: str) -> frozenset[str]:
    return frozenset(text.split("|"))


# As `words` splits a header and joins it again.
_AGREED = _phrases(
    "opt in|optin|opted in|consent|consented|subscribed|subscriber|subscription|marketing|permission|accepts sms"
    "|accepts texts|may text|ok to text|text ok|gdpr|dsgvo|einwilligung|zustimmung|werbung|angemeldet|abonniert"
    "|consentement|inscrit|abonne|consentimiento|suscrito|consenso|iscritto|consentimento|inscrito|toestemming"
    "|aangemeld|ingeschreven"
)
_REFUSED = _phrases(
    "opt out|optout|opted out|unsubscribed|unsubscribe|do not contact|do not call|do not text|do not sms|do not disturb"
    "|dont contact|dont call|dont text|dnc|dnd|no sms|no texts|no marketing|stop|abgemeldet|widerruf|widerrufen"
    "|keine werbung|keine sms|nicht kontaktieren|desabonne|desinscrit|ne pas contacter|no contactar|baja"
    "|non contattare|disiscritto|cancellato|nao contatar|descadastrado|niet bellen|niet benaderen|afgemeld"
)
_CONSENT_WORDS = frozenset(" ".join(_AGREED | _REFUSED).split())
_OTHER_CHANNELS = _phrases("email|mail|post|postal|newsletter|fax|push")
_OUR_CHANNELS = _phrases("sms|text|texts|phone|mobile|whatsapp|contact|handy|telefon")
# What cells say, in lower case.
_YES = _phrases(
    "yes|y|true|t|1|x|ok|on|ja|j|oui|o|si|sí|s|sim|wahr|vrai|vero|verdadero|verdadeiro|waar|✓|✔|checked|accepted|agreed"
    "|granted|allowed|confirmed"
)
_NO = _phrases("|no|n|false|f|0|off|nein|non|não|nao|nee|falsch|faux|falso|onwaar|unchecked|never|none|null|n/a|-")
_IN = _phrases(
    "subscribed|consented|active|opted in|opt in|opt-in|opted-in|opted_in|marketing contact|single_opt_in"
    "|confirmed_opt_in"
)
_OUT = _phrases(
    "unsubscribed|not subscribed|not_subscribed|never subscribed|never_subscribed|opted out|opt out|opt-out|opted-out"
    "|opted_out|declined|denied|refused|revoked|inactive|non-marketing contact"
)
_ANSWERS = (_YES | _NO | _IN | _OUT) - {""}
_MOST_VALUES = 50  # a column with more different ones is no answer to a question
_MOST_SHOWN = 3
_DATE_DIGITS = 6  # `2026-01-05`: when somebody agreed, or asked for no more


def note_consent(
    table: Table, names: Mapping[str, str], used: Collection[str], placeholders: Collection[str] = ()
) -> Iterator[str]:
    """Yield a sentence for each column that looks like consent, is not in `used`, and would leave out some rows.

    `names` are those of templates, by which `recipients.where` could use it. `placeholders` are blank to it.
    """
    for header in table.headers:
        refusal = is_refusal(header)
        if refusal is None or header in used:
            continue
        counts = _count_values(table, header, placeholders)
        against = {value: n for value, n in counts.items() if not _allows(value, refusal=refusal)}
        answers = any(value.casefold() in _ANSWERS or _is_date(value) for value in counts)
        if not against or not answers or len(counts) > _MOST_VALUES:
            continue
        rows = sum(against.values())
        values = ", ".join(f"{_show(value)} {n:,}" for value, n in list(against.items())[:_MOST_SHOWN])
        condition = _condition(header, names, counts, refusal=refusal)
        yield (
            f"column `{header}` looks like consent and is not used; it speaks against"
            f" {rows:,} {'row' if rows == 1 else 'rows'} ({values}): leave such rows out with"
            f" {setting('recipients.where', condition)}"
        )


def is_refusal(header: str) -> bool | None:
    """Return whether `yes` under a header means no messages; None where the header is not about consent to texts."""
    said = words(header)
    if not _OTHER_CHANNELS.isdisjoint(said) and _OUR_CHANNELS.isdisjoint(said):
        return None
    if _CONSENT_WORDS.isdisjoint(said):
        return None
    text = f" {' '.join(said)} "
    if any(f" {phrase} " in text for phrase in _REFUSED):
        return True
    return False if any(f" {phrase} " in text for phrase in _AGREED) else None


def _allows(value: str, *, refusal: bool) -> bool:
    plain = value.casefold()
    return plain in _NO | _IN if refusal else plain in _YES | _IN or _is_date(value)


def _is_date(value: str) -> bool:
    return sum(map(str.isdigit, value)) >= _DATE_DIGITS


def _count_values(table: Table, header: str, placeholders: Collection[str]) -> dict[str, int]:
    """Return the rows of each value as a condition has it, most rows first; not all where there are too many."""
    counts: Counter[str] = Counter()
    for block in table.with_stored([header]).columns([header]):
        for value, n in block["0"].str.strip_chars().value_counts(name="n").iter_rows():
            counts["" if value in placeholders else value] += n
        if len(counts) > _MOST_VALUES:
            break
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _show(value: str) -> str:
    return f"`{escape_controls(value)}`" if value else "blank"


def _condition(header: str, names: Mapping[str, str], counts: Mapping[str, int], *, refusal: bool) -> str:
    """Return the condition that leaves out the rows that the column speaks against."""
    name = next((name for name, source in names.items() if source == header and name.islower()), f'row["{header}"]')
    allowed = [value for value in counts if _allows(value, refusal=refusal) and not _is_date(value)]
    allowed = allowed or ["" if refusal else "yes"]
    if not refusal and any(map(_is_date, counts)):
        return f"{name} != ''"
    return f"{name} == {_quote(allowed[:1])}" if len(allowed) == 1 else f"{name} in ({_quote(allowed)})"


def _quote(values: Sequence[str]) -> str:
    return ", ".join(f"'{value}'" for value in values)
