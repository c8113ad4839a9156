"""Addresses of a state in a database: which can be read, and what is said of the others without repeating them."""

from __future__ import annotations

import pytest

from sender.core.errors import InputError
from sender.state.database_url import read_database_url, scheme_of


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://sender@db/sender",
        "postgres://db/s",
        "postgresql://sender@db:5432/sender?sslmode=require",
        "postgresql://sender@one:5432,two:5433,three/sender",
        "postgresql://sender@[::1]:5432/sender",
        "postgresql://db?dbname=sender",
        "postgresql:///sender?host=/var/run/postgresql",
    ],
)
def test_one_that_can_be_read_stays_as_it_is(text: str) -> None:
    assert str(read_database_url(text)) == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "cannot be read"),
        ("sender", "cannot be read"),
        ("mysql://db/sender", "cannot be read"),
        ("postgresql:sender", "cannot be read"),
        ("postgresql://db:x/sender", "cannot be read"),
        ("postgresql://one:5432,two:x/sender", "cannot be read"),
        ("postgresql://one:x,two:5432/sender", "cannot be read"),
        ("postgresql://one:99999/sender", "cannot be read"),
        ("postgresql://[::1/sender", "cannot be read"),
        ("postgresql://db/sender#part", "cannot be read"),
        ("postgresql://db", "names no database"),
        ("postgresql://db/", "names no database"),
        ("postgresql://db?sslmode=require", "names no database"),
        ("postgresql://db?DBNAME=sender", "names no database"),
        ("postgresql://sender:hunter2@db/sender", "has a password in it"),
        ("postgresql://sender:@db/sender", "has a password in it"),
        ("postgresql://db/sender?password=hunter2", "has a password in it"),
        ("postgresql://db/sender?password=", "has a password in it"),
        ("postgresql://db/sender?sslpassword=hunter2", "has a password in it"),
    ],
)
def test_one_that_cannot_be_used_is_not_repeated(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as told:
        read_database_url(text)
    assert "hunter2" not in f"{told.value} {told.value.fix}"
    assert str(told.value.fix)


@pytest.mark.parametrize(
    ("where", "scheme"),
    [("postgresql://db/s", "postgresql"), ("PostgreSQL://db/s", "postgresql"), (".sender", None), ("a/b", None)],
)
def test_a_folder_has_no_scheme(where: str, scheme: str | None) -> None:
    assert scheme_of(where) == scheme
