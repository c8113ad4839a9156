"""What every page shares: a frame, a style sheet, a templating environment, and the formats of figures.

A page is one file without scripts or external resources, and its Content-Security-Policy forbids both.
Everything that comes from a recipients file is hostile until escaped: autoescaping is on for every template, and
no template marks anything safe but `drawn`, our own plots. The same values give the same bytes: no clock is read.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from sender.core.local_time import format_utc_and_local
from sender.core.safe_text import show_controls
from sender.reports.labels import per_second
from sender.reports.labels import seconds as seconds_of


def render(template: str, **values: Any) -> str:
    """Return the page that `template` (a file of this package) renders from `values`."""
    return make_environment("sender.reports.pages").get_template(template).render(values)


def noun(number: int, singular: str, plural: str | None = None) -> str:
    """`message` for one, `messages` for any other number."""
    return singular if number == 1 else plural or singular + "s"


def count(number: int, singular: str = "", plural: str | None = None) -> str:
    """`1,234`, or with a noun `1 message`, `1,234 messages`."""
    return f"{number:,} {noun(number, singular, plural)}" if singular else f"{number:,}"


def duration(seconds: float) -> str:
    """An approximate duration: `< 1 min`, `42 min`, `6 h 10 min`, `3 d 4 h`."""
    minutes = round(seconds / 60)
    if seconds < 60:
        return "< 1 min"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def words(code: str) -> str:
    """A code as a phrase: `invalid_number` → `Invalid number`."""
    return code.replace("_", " ").capitalize()


def percent(part: int, whole: int) -> str:
    """A share as a CSS width; a share above zero is never drawn as nothing."""
    return f"{max(100 * part / whole, 1) if part else 0:.1f}%"


def link(url: str) -> str | None:
    """`url` if it is safe to follow (http or https), else None; it is then shown as text."""
    try:
        return url if urlsplit(url).scheme in ("http", "https") else None
    except ValueError:
        return None


def visible(text: str) -> str:
    """`text`, or the names of its characters if it would be invisible: `U+00A0 no-break space`."""
    if any(unicodedata.category(character)[0] not in "CZM" for character in text):
        return text
    return names(text)


def names(text: str) -> str:
    """The distinct characters of `text`: `U+2019 right single quotation mark, U+1F389 party popper`."""
    return ", ".join(
        f"U+{ord(character):04X} {unicodedata.name(character, 'unnamed').lower()}" for character in dict.fromkeys(text)
    )


def _show(value: Any) -> Any:
    """What a page shows of a value: control and bidirectional characters as their codes, but in our own markup."""
    return show_controls(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def make_environment(package: str) -> Environment:
    """The templating environment of pages whose templates are in `package`."""
    environment = Environment(
        loader=PackageLoader(package, ""),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_show,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(seconds=seconds_of, per_second=per_second, drawn=Markup)
    environment.filters.update(noun=noun, count=count, duration=duration, words=words, link=link, visible=visible)
    environment.filters["both_clocks"] = format_utc_and_local
    environment.globals["percent"] = percent
    return environment
