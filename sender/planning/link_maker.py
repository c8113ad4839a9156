"""Makes the links of a campaign, and marks where they go in its texts before these are rendered."""

from __future__ import annotations

import hashlib
import re
import string
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

import polars as pl

from sender.campaign.model import Campaign
from sender.core.errors import TemplateError
from sender.core.outcomes import SkipReason
from sender.templating import link_calls
from sender.templating.link_calls import MARKED, MARKS

_BETWEEN = "\n"  # links of a row: no address has it
_LETTERS = string.ascii_letters + string.digits
NO_SECRET = bytes(32)  # of a test without a state: such links lead nowhere
_URL = re.compile(r"https?://[^\s\"<>\\^`{|}]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LinkMaker:
    """Makes the links of one campaign with the state's secret."""

    campaign: str
    base: str
    domains: tuple[str, ...]
    length: int
    secret: bytes = NO_SECRET

    def token(self, number: str, url: str) -> str:
        """Return the token of a person's link to an address."""
        text = f"{self.campaign}\0{number}\0{url}".encode()
        value = int.from_bytes(hashlib.blake2b(text, digest_size=32, key=self.secret).digest())
        letters = []
        for _ in range(self.length):
            value, place = divmod(value, len(_LETTERS))
            letters.append(_LETTERS[place])
        return "".join(letters)

    def why_not(self, url: str) -> str | None:
        """Why no link may lead there; None where one may."""
        return _why_not(url, self.domains)

    def fill(self, texts: pl.DataFrame, numbers: pl.Series) -> pl.DataFrame:
        """Return `text`, `reason` and `detail`, with the marks in the texts replaced by links, and `links`.

        `numbers` are the people's (String). `links` (List(String)) has a token, a blank and an address for each link.
        """
        columns = [texts[name].to_list() for name in ("text", "reason", "detail")]
        rows = [self._fill(*row) for row in zip(*columns, numbers.to_list(), strict=True)]
        names = ("text", "reason", "detail", "links")
        filled = zip(*rows, strict=True) if rows else ([] for _ in names)
        frame = pl.DataFrame([pl.Series(name, values, pl.String) for name, values in zip(names, filled, strict=True)])
        return frame.with_columns(
            pl.col("links").str.split(_BETWEEN)
        )  # a list for each row takes polars ten times as long

    def _fill(
        self, text: str | None, reason: str | None, detail: str | None, number: str | None
    ) -> tuple[str | None, str | None, str | None, str | None]:
        if text is None or number is None:
            return text, reason, detail, None
        urls = MARKED.findall(text)
        why = next((why for url in urls if (why := self.why_not(url))), None)
        links = [f"{self.token(number, url)} {url}" for url in urls]
        places = iter(links)
        filled = MARKED.sub(lambda _: self.base + next(places).partition(" ")[0], text)
        if why is None and re.search(MARKS, filled):
            why = "a filter has shortened a link: apply no such filter to link()"
        if why is not None:
            return None, SkipReason.RENDER_ERROR.value, why, None
        return filled, reason, detail, _BETWEEN.join(links) or None


@lru_cache(4096)  # most messages lead to the same few addresses
def _why_not(url: str, domains: tuple[str, ...]) -> str | None:
    if not _URL.fullmatch(url):
        return f"link() needs an address that begins with https://, and got {url!r}"
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".").lower()
    except ValueError:
        return f"link() got an address that is not one: {url!r}"
    if "@" in parts.netloc or not any(host == own or host.endswith(f".{own}") for own in domains):
        return f"link() leads to {host}, which is not below {', '.join(domains)} (links.domains)"
    return None


def compile_links(campaign: Campaign) -> LinkMaker | None:
    """Return what makes the campaign's links, without the secret; None where it says nothing of links."""
    spec = campaign.links
    return None if spec is None else LinkMaker(campaign.name, spec.base, spec.domains, spec.length)


def mark_links(source: str, campaign: Campaign, where: str) -> str:
    """Return the source of a text with marks in place of each call of `link`.

    Raises TemplateError for a call in a campaign without `links`, and for an address that no link may lead to.
    """
    if not link_calls.has_links(source):
        return source
    maker = compile_links(campaign)
    if maker is None:
        raise TemplateError(
            "link() is not set up",
            where=where,
            fix="add `links: {base: https://go.example.com/, domains: [example.com]}`",
        )
    for line, url in link_calls.find_addresses(source):
        if (why := maker.why_not(url)) is not None:
            raise TemplateError(
                why, where=f"{where}, line {line}", fix="correct the address, or add to `links.domains`"
            )
    return link_calls.mark_links(source, where=where)
