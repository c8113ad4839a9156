"""A database that cannot be used as it is: each command says so in one sentence, and nothing is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import LiteralString

import psycopg
import pytest

from sender.state.postgres.schema import SCHEMA_VERSION
from tests.cli.conftest import Sandbox, Shell
from tests.cli.test_database_state import env_of, offer
from tests.state.conftest import DATABASES, lent, new_database, servers, state_pools  # noqa: F401 (fixtures)

Start = Callable[..., Sandbox]
SEND = ("send", "offer.yaml", "--yes", "--rehearse", "--wait", "0")
WRITING = (SEND, ("worker",), ("suppress", "add", "+12025550101"))
READING = (
    ("status",),
    ("history", "+12025550101"),
    *(("suppress", *words) for words in (("list",), ("why", "+12025550101"), ("export",))),
    ("numbers", "list"),
    ("numbers", "remove", "+12025550101"),
    ("plan", "offer.yaml"),
)


@pytest.fixture
def url(new_database: Callable[[str], str]) -> Iterator[str]:  # noqa: F811
    url = new_database(DATABASES[0])
    yield url
    execute(url, f"UPDATE state SET version = {SCHEMA_VERSION}")  # the next test's, too


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as db:
        for statement in statements:
            text: LiteralString = statement  # type: ignore[assignment]
            db.execute(text)


def refuse(sender: Shell, server: Sandbox, url: str, commands: tuple[tuple[str, ...], ...], says: str) -> None:
    offer(sender, 3)
    for words in commands:
        done = sender(*words, "--state", url, **env_of(server))
        assert (done.code, done.err.count("error:")) == (5, 1), (words, done)
        assert re.search(says, done.err), (words, done)
        assert "fix:" in done.err
    assert server.counts() == {}


@pytest.mark.parametrize(
    ("version", "says"),
    [
        (SCHEMA_VERSION + 1, "the state was written by a newer campaign-sender"),
        (SCHEMA_VERSION - 1, "the state was written by an older campaign-sender"),
    ],
    ids=["newer", "older"],
)
def test_a_schema_of_another_version(sender: Shell, sandbox: Start, url: str, version: int, says: str) -> None:
    execute(url, f"UPDATE state SET version = {version}")
    refuse(sender, sandbox(), url, (*WRITING, *READING), says)


def test_a_database_that_can_only_be_read(sender: Shell, sandbox: Start, url: str) -> None:
    standby = f"{url}%20-cdefault_transaction_read_only%3Don"
    refuse(sender, sandbox(), standby, WRITING, "this server can only be read")
    assert sender("cluster", "init", standby).code == 5
    for words in READING:
        done = sender(*words, "--state", standby)
        assert done.code == 0, (words, done)


def test_a_user_without_rights(sender: Shell, sandbox: Start, url: str) -> None:
    schema = url.rpartition("%3D")[2]
    role = f"reader_{schema}"
    execute(
        url,
        f"CREATE ROLE {role} LOGIN",
        f"GRANT USAGE ON SCHEMA {schema} TO {role}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}",
    )
    reader = url.replace("sender@", f"{role}@")
    try:
        refuse(sender, sandbox(), reader, WRITING, "this user may not do that|this user may create tables")
        for words in READING:
            done = sender(*words, "--state", reader)
            assert done.code == 0, (words, done)
    finally:
        execute(url, f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_a_server_of_which_the_state_does_not_know(sender: Shell, sandbox: Start, url: str) -> None:
    execute(url, "UPDATE state SET timeline = timeline + 1")
    refuse(sender, sandbox(), url, WRITING, "it may lack confirmed commits")
    assert sender("status", "--state", url).code == 0
    assert sender("cluster", "init", "--accept-server", url).code == 0
    server = sandbox()
    done = sender(*SEND, "--state", url, **env_of(server))
    assert done.code == 0, done
    assert sorted(server.counts().values()) == [1, 1, 1]
