"""The address of a state in a database: read and checked without its driver. Never holds a password."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from sender.core.errors import InputError

DATABASES = ("postgresql", "postgres")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):[/\\]")  # one letter is a drive; a Path has folded `//` into `/`
_SECRETS = ("password", "passfile", "sslpassword")
_FORM = "postgresql://USER@HOST:PORT/DATABASE"


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """A checked address. `text` is as it was given, and may be shown."""

    text: str

    def __str__(self) -> str:
        return self.text


def scheme_of(where: object) -> str | None:
    """The scheme of a URL, in small letters; None for a folder."""
    match = _SCHEME.match(str(where))
    return None if match is None else match[1].lower()


def read_database_url(text: str) -> DatabaseUrl:
    """The address that `text` is. Raises InputError, whose sentence repeats nothing of it, for anything else.

    A password in it is refused: command lines and environments are shown in many places, and `.pgpass` in none.
    """
    try:
        parts = urlsplit(text)
        for host in parts.netloc.rpartition("@")[2].split(","):  # several: of them, libpq takes the one that answers
            _ = urlsplit(f"//{host}").port  # raises ValueError where it is not a number
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        raise _unreadable() from None
    if parts.scheme not in DATABASES or not text.startswith(f"{parts.scheme}://") or parts.fragment:
        raise _unreadable()
    if parts.password is not None or any(name in query for name in _SECRETS):
        raise InputError(
            "the address of the state has a password in it",
            fix="leave it out, and put it into PGPASSWORD or ~/.pgpass, where nobody else can read it",
        )
    if len(parts.path) <= 1 and "dbname" not in query:
        raise InputError("the address of the state names no database", fix=f"write {_FORM}")
    return DatabaseUrl(text)


def _unreadable() -> InputError:
    return InputError("the address of the state cannot be read", fix=f"write {_FORM}")
