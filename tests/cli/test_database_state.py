"""The commands over a state in a database: one machine at a time for each campaign, with the whole guarantee."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator

import polars as pl
import pytest

from sender.state.database_url import read_database_url
from sender.state.open import open_state
from sender.state.postgres.install import install
from tests.cli.conftest import Sandbox, Shell
from tests.state.conftest import DATABASES, give_back, lent, new_database, servers, state_pools  # noqa: F401 (fixtures)
from tests.state.postgres_server import BINARIES, Server, require

Start = Callable[..., Sandbox]
CAMPAIGN = """\
name: offer
provider: twilio
from: "+12025550100"
recipients: people.csv
message: "Hi {{ name }}"
rate: RATE
timeout_s: 5
"""
NO_STATE = "postgresql://sender@127.0.0.1:1/nowhere"


@pytest.fixture
def url(new_database: Callable[[str], str]) -> str:  # noqa: F811
    return new_database(DATABASES[0])


def offer(shell: Shell, people: int, rate: str = "none") -> str:
    shell.people(people)
    shell.write("offer.yaml", CAMPAIGN.replace("RATE", rate))
    return "offer.yaml"


def env_of(server: Sandbox) -> dict[str, str]:
    return {"SENDER_SANDBOX_URL": server.url, "SENDER_SANDBOX_SETTLE_S": "0.5"}


def totals(out: str) -> dict[str, int]:
    line = next(line for line in out.splitlines() if " rows = " in line)
    return {
        name: int(count) for count, name in re.findall(r"(\d+) (skipped|accepted|rejected|unknown|pending)\b", line)
    }


def results(shell: Shell, url: str) -> pl.DataFrame:
    done = shell("results", "offer", "--state", url, "--output", "out.csv", "--force")
    assert done.code == 0, done
    return pl.read_csv(shell.folder / "out.csv", infer_schema=False)


def test_a_campaign_from_start_to_end(sender: Shell, sandbox: Start, url: str) -> None:
    """No folder of a state is made, and a second start of what was sent is refused."""
    server, path = sandbox(), offer(sender, 40)
    send = ("send", path, "--yes", "--rehearse", "--state", url)
    done = sender(*send, **env_of(server))
    assert done.code == 0, done
    assert totals(done.out)["accepted"] == 40
    assert sender(*send, **env_of(server)).code == 3
    assert sender("status", "offer", "--state", url).code == 0
    assert results(sender, url)["status"].unique().to_list() == ["delivered"]
    assert sender("report", "offer", "--state", url).code == 0
    assert set(server.counts().values()) == {1}
    assert not (sender.folder / ".sender").exists()


def test_evidence_and_links(sender: Shell, sandbox: Start, url: str) -> None:
    """They need no folder."""
    server, path = sandbox(), offer(sender, 3)
    text = (
        (sender.folder / path).read_text(encoding="utf-8").replace("Hi {{ name }}", "{{ link('https://a.example/') }}")
    )
    sender.write(path, f"{text}links: {{base: 'https://go.example/', domains: [a.example]}}\n")
    assert sender("send", path, "--yes", "--rehearse", "--state", url, **env_of(server)).code == 0
    listed = sender("links", "offer", "--state", url)
    assert len(listed.out.splitlines()) == 4, listed
    assert sender("evidence", "offer", "--state", url, "--output", "offer.tar").code == 0
    checked = sender("evidence", "verify", "offer.tar")
    assert checked.code == 0, checked
    assert "3 rows = 0 skipped + 3 accepted" in checked.out


def test_an_address_in_the_environment(sender: Shell, url: str) -> None:
    assert sender("suppress", "add", "+12025550101", SENDER_STATE=url).code == 0
    why = sender("suppress", "why", "+12025550101", SENDER_STATE=url)
    assert "put on the suppression list by hand" in why.out
    path = offer(sender, 3)
    assert "1 suppressed" in sender("plan", path, SENDER_STATE=url).out


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_whoever_was_killed_or_stopped_goes_on_and_nobody_has_it_twice(
    sender: Shell, sandbox: Start, url: str, number: int
) -> None:
    server, path = sandbox("--latency", "50"), offer(sender, 90, "60/s")
    env = env_of(server)
    send = ("send", path, "--yes", "--rehearse", "--wait", "0", "--state", url)
    process = sender.start(*send, **env)
    server.wait_for(20)
    second = sender(*send, **env)
    assert (second.code, "offer is being sent by another process" in second.err) == (3, True), second
    process.send_signal(number)
    process.communicate(timeout=60)
    again = sender(*send, **env)
    assert again.code == 0, again
    assert totals(again.out)["accepted"] == 90
    assert sorted(server.counts().values()) == [1] * 90


def test_a_stop_counts_within_a_second(sender: Shell, sandbox: Start, url: str) -> None:
    """Taken by another process: the one that sends hears of it from the database."""
    server, path = sandbox(), offer(sender, 90, "20/s")
    process = sender.start("send", path, "--yes", "--rehearse", "--wait", "0", "--state", url, **env_of(server))
    server.wait_for(5)
    last = pl.read_csv(sender.folder / "people.csv", infer_schema=False)["phone"][-1]
    assert sender("suppress", "add", last, "--state", url).code == 0
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, out + err
    assert last not in server.counts()
    assert results(sender, url).filter(pl.col("to") == last)["reason"].to_list() == ["opted_out"]


def test_a_run_is_paused_resumed_and_closed(sender: Shell, sandbox: Start, url: str) -> None:
    server, path = sandbox(), offer(sender, 90, "30/s")
    process = sender.start("send", path, "--yes", "--rehearse", "--wait", "0", "--state", url, **env_of(server))
    server.wait_for(5)
    assert sender("pause", "offer", "--state", url).code == 0
    process.communicate(timeout=60)
    assert process.returncode == 130
    sent = len(server.counts())
    assert sender("close", "offer", "--yes", "--state", url).code in (0, 1)
    assert len(server.counts()) == sent
    with open_state(url) as state:
        counts = state.ledger.counts(state.ledger.runs()[0].run_id)
    assert (counts.accepted, counts.canceled) == (sent, 90 - sent)
    retried = sender("retry", "offer", "--status", "canceled", "--yes", "--wait", "0", "--state", url, **env_of(server))
    assert retried.code == 0, retried
    assert sorted(server.counts().values()) == [1] * 90


def test_a_person_is_erased_and_old_runs_are_pruned(sender: Shell, sandbox: Start, url: str) -> None:
    server, path = sandbox(), offer(sender, 5)
    assert sender("send", path, "--yes", "--rehearse", "--state", url, **env_of(server)).code == 0
    erased = pl.read_csv(sender.folder / "people.csv", infer_schema=False)["phone"][0]
    assert "1 message" in sender("history", erased, "--state", url).out
    forgotten = sender("forget", erased, "--yes", "--state", url)
    assert forgotten.code == 0, forgotten
    assert erased not in results(sender, url)["to"].to_list()
    pruned = sender("prune", "--older-than", "0s", "--yes", "--state", url)
    assert pruned.code == 0, pruned
    repeated = sender("send", path, "--yes", "--rehearse", "--state", url, **env_of(server))
    assert repeated.code == 3, "who has had it is known all the same"
    assert set(server.counts().values()) == {1}


@pytest.fixture
def own_server() -> Iterator[Server]:
    require(DATABASES[0])
    server = Server.start(BINARIES[DATABASES[0]])
    yield server
    server.remove()


def test_a_database_that_restarts_is_waited_for_and_one_that_stays_away_ends_the_run(
    sender: Shell, sandbox: Start, own_server: Server
) -> None:
    install(read_database_url(own_server.url))
    server, path = sandbox("--latency", "50"), offer(sender, 90, "12/s")
    env = env_of(server)
    send = ("send", path, "--yes", "--rehearse", "--wait", "0", "--state", own_server.url)
    process = sender.start(*send, **env)
    server.wait_for(10)
    own_server.halt("immediate")
    time.sleep(1.0)
    own_server.resume()
    out, err = process.communicate(timeout=120)
    again = sender(*send, **env)
    assert again.code in (0, 3), again
    assert process.returncode in (0, 5), out + err
    assert sorted(server.counts().values()) == [1] * 90
    own_server.halt("immediate")
    away = sender("status", "--state", own_server.url)
    assert (away.code, "the database of the state cannot be reached" in away.err) == (5, True), away


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("status", "--state", NO_STATE), 5, "the database of the state cannot be reached"),
        (("status", "--state", "postgresql://me:s3cret@db/x"), 2, "has a password in it"),
        (("status", "--state", "postgresql://db"), 2, "names no database"),
        (("status", "--state", "mysql://me:s3cret@db/x"), 2, "a state at mysql:// cannot be used here"),
        (("cluster", "init", "mysql://me:s3cret@db/x"), 2, "the address of the state cannot be read"),
        (("cluster", "init", "postgresql://me:s3cret@db/x"), 2, "has a password in it"),
        (("init", "--state-only", "--state", "postgresql://db/x"), 2, "`sender cluster init URL`"),
        (("schedule", "run", ".", "--state", NO_STATE), 5, "the database of the state cannot be reached"),
        (("lookup", "offer.yaml", "--price", "0.01", "--state", NO_STATE), 5, "the database of the state cannot be"),
        (("outcomes", "import", "people.csv", "--state", NO_STATE), 5, "the database of the state cannot be reached"),
        (("listen", "--keep-replies", "--state", NO_STATE), 5, "the database of the state cannot be reached"),
        (("send", "offer.yaml", "--yes", "--workers", "2", "--state", "postgresql://db/x"), 2, "leave out --workers"),
        (("status", "--state", "a", "--state-dir", "postgresql://me:s3cret@db/x"), 2, "postgresql://..."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_said_in_a_sentence(sender: Shell, words: tuple[str, ...], code: int, says: str) -> None:
    offer(sender, 2)
    done = sender(*words)
    assert (done.code, says in done.err, "s3cret" in done.err) == (code, True, False), done
    assert done.err.count("error:") == 1


def test_a_state_is_made_once(sender: Shell, servers: Callable[[str], Server]) -> None:  # noqa: F811
    url = servers(DATABASES[0]).new_schema()
    missing = sender("status", "--state", url)
    assert (missing.code, f"`sender cluster init {url}` makes one" in missing.err) == (2, True), missing
    assert "(new, PostgreSQL " in sender("cluster", "init", url).out
    assert "(already there" in sender("cluster", "init", url).out
    assert "no runs yet" in sender("status", "--state", url).out
