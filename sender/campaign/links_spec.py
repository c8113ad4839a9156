"""The campaign's `links`: what `link("https://...")` in a text becomes."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from sender.campaign.values import Strict, Text, to_list

_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")


def _check_base(base: str) -> str:
    """Return the address with a slash at its end. Raises ValueError."""
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or " " in base:
        raise ValueError("write the address below which your links are: `https://go.example.com/`")
    if not base.isascii():
        raise ValueError("write it in ASCII: other letters make each text longer")
    return base if base.endswith("/") else f"{base}/"


def _check_domains(domains: tuple[str, ...]) -> tuple[str, ...]:
    named = tuple(domain.strip().lower().rstrip(".") for domain in domains)
    wrong = next((domain for domain in named if not _DOMAIN.fullmatch(domain)), None)
    if wrong is not None:
        raise ValueError(f"{wrong!r} is not a domain: write `example.com`")
    return named


class LinksSpec(Strict):
    """Links of a shortener of the user's own, one for each person and address."""

    base: Annotated[Text, AfterValidator(_check_base)] = Field(
        description="The address of your own link shortener, with which each link begins: `https://go.example.com/`."
    )
    domains: Annotated[tuple[Text, ...], BeforeValidator(to_list), AfterValidator(_check_domains)] = Field(
        min_length=1, description="Where links may lead: these domains and their subdomains."
    )
    length: int = Field(8, ge=6, le=22, description="Characters of a link's token: letters and digits.")
