"""Warnings about texts that look like mistakes: fields never filled in, doubled blanks, no way to opt out.

They stop nothing; each has a rule's name, by which the campaign's `lint` switches it off. Rules look at the texts as
they would be sent, since a cell may hold what a template does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import polars as pl

from sender.planning.compiled import CompiledCampaign

# `{name}` and `{{name}}`, `%NAME%`, `*|NAME|*`; `[First Name]` and `<name>` only with such words, because `[Acme]` in
# front of a text says who writes.
_FIELD_WORDS = (
    r"(?:first|last|full|given|family|middle|user|customer|client|company|recipient|contact|store|product|event)?"
    r"[ _-]?name|[fl]name|surname|insert[^\]>]{1,30}|your [^\]>]{1,30}|date|time|city|link|url|code|amount|address"
    r"|e-?mail|phone|number|price|title|salutation|discount|coupon|location|company"
)
_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]{0,30}"
_UNFILLED = (
    r"(\{\{?[ $]*[A-Za-z_][A-Za-z0-9_ .-]{0,40}\}\}?"
    rf"|%%?{_IDENTIFIER}%|\*\|{_IDENTIFIER}\|\*|\[\[?(?i:{_FIELD_WORDS})\]\]?|<<?(?i:{_FIELD_WORDS})>>?)"
)
_BLANKS = r"([^\s]+  +[^\s]+|[^\s]*[^\s\d] [,.])(?:\s|$)"  # `Hi  Ada`, and `Hi , welcome` where a name is missing
_OPT_OUT = (
    r"\bSTOP\b|(?i:(?:reply|text|txt|send|answer|with)\W+stop\b|unsubscribe|opt(?:ing)?[ -]?out|\bquit\b"
    r"|\barr[eê]t\b|d[eé]sinscri|d[eé]sabonn|abmeld|abbestell|\bbaja\b|afmeld|uitschrij|disiscri|\bsair\b|\bparar\b"
    r"|avregistrer|отпис)"
)
# Anybody can make their links, so carriers filter them (CTIA, Messaging Principles and Best Practices).
_SHORTENERS = (
    *("bit.ly", "tinyurl.com", "t.co", "goo.gl", "ow.ly", "is.gd", "v.gd", "buff.ly", "rebrand.ly", "cutt.ly", "t.ly"),
    *("shorturl.at", "rb.gy", "tiny.cc", "s.id", "lnkd.in", "bl.ink", "soo.gd", "clck.ru", "adf.ly", "shorte.st"),
)
_SHORT_LINK = rf"(?i)(?:^|[\s/.(])({'|'.join(map(re.escape, _SHORTENERS))})/[^\s]"
_SOME_CAPITALS = r"\p{Lu}[^\p{Lu}]*" * 12
_SUSPICIOUS = ["{", "[", "%", "*|", "<", "  ", " ,", " .", "/"]
_SAMPLE = 1_000  # messages; the rule is slow, and texts that lack it mostly lack it from the first on
_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)


class Lint:
    """The warnings about a plan's texts, block by block."""

    def __init__(self, compiled: CompiledCampaign) -> None:
        self._off = compiled.lint_off
        self._found: dict[str, dict[str, Any]] = {}
        written = [_JINJA.sub(" ", body.source) for body in compiled.bodies] or [""]
        self._sample_left = _SAMPLE
        self._asks_opt_out = compiled.is_marketing and not all(re.search(_OPT_OUT, text) for text in written)
        self._asks_capitals = not all(re.search(r"[a-zà-ÿ]", text) for text in written)

    def add(self, rows: pl.DataFrame) -> None:
        """Look at the messages of a block (`row_number`, `body`; String)."""
        body = pl.col("body")
        texts = rows.select("row_number", "body").filter(body.is_not_null() & (body != ""))
        odd = texts.filter(body.str.contains_any(_SUSPICIOUS))
        if odd.height:
            self._find("unfilled", odd.with_columns(found=body.str.extract(_UNFILLED)))
            self._find("blanks", odd.with_columns(found=body.str.extract(_BLANKS)))
            self._find("short_links", odd.with_columns(found=body.str.extract(_SHORT_LINK)))
        if self._asks_capitals:
            shouted = body.str.contains(_SOME_CAPITALS) & ~body.str.contains(r"\p{Ll}")
            self._find("capitals", texts.with_columns(found=pl.when(shouted).then(body)))
        if self._asks_opt_out and self._sample_left:
            some = texts.head(self._sample_left)
            self._sample_left -= some.height
            self._find("no_opt_out", some.with_columns(found=pl.when(~body.str.contains(_OPT_OUT)).then(pl.lit(""))))

    def _find(self, rule: str, texts: pl.DataFrame) -> None:
        if rule in self._off:
            return
        found = texts.filter(pl.col("found").is_not_null())
        if found.height:
            first = {"rule": rule, "row_number": found["row_number"][0], "found": found["found"][0], "messages": 0}
            self._found.setdefault(rule, first)["messages"] += found.height

    def warnings(self) -> tuple[dict[str, Any], ...]:
        """Return for each rule that found something: `rule`, `messages`, the first's `row_number`, and `warning`.

        `no_opt_out` looks at the first thousand messages only.
        """
        return tuple(self._described())

    def _described(self) -> Iterator[dict[str, Any]]:
        for rule, entry in sorted(self._found.items()):
            others = entry["messages"] - 1
            where = f"row {entry['row_number']}" + (f" and {others:,} more" if others else "")
            yield {
                "rule": rule,
                "messages": entry["messages"],
                "row_number": entry["row_number"],
                "warning": f"{where}: {_SENTENCES[rule].format(entry['found'])}",
            }


_SENTENCES = {
    "unfilled": "the text has `{0}`, as if a value were missing; a template writes {{{{ name }}}}",
    "blanks": "the text has a blank too many in `{0}`, as if a value were missing",
    "short_links": "`{0}` is a public link shortener, and carriers filter such links; use your own domain",
    "capitals": "the text is all capitals, which filters and people take for spam",
    "no_opt_out": "the text does not say how to opt out, as a first marketing text should: `Reply STOP to opt out`",
}
