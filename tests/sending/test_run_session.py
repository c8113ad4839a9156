"""A run that is held for this process: what it lifts, and where it may write the results."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import sender
from sender.core.canary import Canary, CanaryState
from sender.core.errors import CanaryStop, ClockWrong, CredentialsError, InputError, InputsChanged, StateError
from sender.sandbox import Options, embedded
from sender.sending.open_run import open_run
from sender.sending.options import SendOptions
from sender.sending.run import RunSession
from sender.sending.run_control import name_person
from sender.sending.run_result import RunResult
from sender.state.heartbeat import Progress
from sender.state.ledger import Counts, Run, RunKind
from sender.state.ledger_values import RunRoute
from tests.delivery.test_runs import plan_of
from tests.sending.test_canary_gate import ARRIVED, FAILED, Sweep, begin, gate_of, wait
from tests.state.run_history import ACCEPTED, ADA, GRACE, INTENT, JEAN, PENDING, RunHistory, plan_for, run_history


@pytest.fixture
def history(tmp_path: Path) -> Iterator[RunHistory]:
    with run_history(tmp_path / "state") as runs:
        yield runs


def session_of(history: RunHistory, canary: Canary | None = None, *, knowingly: bool = False) -> RunSession:
    run = history.add({ADA: ACCEPTED, GRACE: PENDING})
    if canary is not None:
        history.state.ledger.note_canary(run.run_id, canary)
    run = history.state.ledger.run(run.run_id)
    return RunSession(history.state, history.state.plan(run), run, resumed=True, knowingly=knowingly)


STOPPED = Canary(1, CanaryState.STOPPED)


@pytest.mark.parametrize(
    ("canary", "knowingly", "state"),
    [
        pytest.param(STOPPED, True, CanaryState.PASSED, id="a person goes on in spite of it"),
        pytest.param(STOPPED, False, CanaryState.STOPPED, id="a stop that nobody has seen"),
        pytest.param(Canary(1), True, CanaryState.SENDING, id="nothing was stopped"),
        pytest.param(None, True, None, id="without a canary"),
    ],
)
def test_only_a_person_overrides_the_stop_of_a_canary(
    history: RunHistory, canary: Canary | None, knowingly: bool, state: CanaryState | None
) -> None:
    session = session_of(history, canary, knowingly=knowingly)
    session.lift_holds()
    kept = history.state.ledger.run(session.run.run_id).canary
    assert kept == session.run.canary
    assert (None if kept is None else kept.state) == state
    if kept is not None:
        assert kept.overridden_by == (name_person() if state is CanaryState.PASSED else None)


def test_files_that_the_run_is_made_of_are_not_replaced_by_results(history: RunHistory, tmp_path: Path) -> None:
    session = session_of(history)
    own, free = tmp_path / "template.csv", tmp_path / "results.csv"
    own.touch()  # as a file of results: an empty one may be replaced

    def check(path: Path | None, *inputs: Path) -> None:
        session.check_results_path(SendOptions(state_dir=history.folder, results_path=path), inputs)

    check(None, own)
    check(free, own)
    with pytest.raises(InputError):
        check(own, own)
    with pytest.raises(InputError):
        check(tmp_path / "no such folder" / "results.csv")


TWILIO, SPACE = "AC" + "0" * 32, "https://ours.signalwire.com"
CREDENTIALS = {"TWILIO_ACCOUNT_SID": TWILIO, "TWILIO_AUTH_TOKEN": "t" * 32}
SIGNALWIRE = {"SIGNALWIRE_PROJECT_ID": "project", "SIGNALWIRE_API_TOKEN": "PT1", "SIGNALWIRE_SPACE_URL": SPACE}
NONE_SENT = Counts(pending=3, intent=0, accepted=0, rejected=0, canceled=0, unknown=0)


def send(plan: sender.Plan, options: SendOptions, **ways: Any) -> RunResult:
    async def go() -> RunResult:
        with open_run(plan, options) as session:
            async with asyncio.timeout(60):
                return await session.send(options, **ways)

    return asyncio.run(go())


def rehearsal(folder: Path, url: str = "", **ways: Any) -> SendOptions:
    return SendOptions(state_dir=folder, rehearse=True, env={"SENDER_SANDBOX_URL": url}, **ways)


class Provider(ThreadingHTTPServer):
    """A server that knows of nothing, with a clock of its own: what it was asked, and with which credentials."""

    daemon_threads = True

    def __init__(self, ahead_s: float) -> None:
        asked = self.asked = list[tuple[str, str, str | None]]()

        class Handler(BaseHTTPRequestHandler):
            def date_time_string(self, timestamp: float | None = None) -> str:
                return super().date_time_string(time.time() + ahead_s)

            def answer(self) -> None:
                asked.append((self.command, self.path, self.headers.get("authorization")))
                self.send_response(404)
                self.send_header("content-length", "0")
                self.end_headers()

            do_GET = do_POST = answer  # noqa: N815 (as http.server calls them)

            def log_message(self, *_: object) -> None: ...

        super().__init__(("127.0.0.1", 0), Handler)


@contextmanager
def provider(ahead_s: float) -> Iterator[Provider]:
    with Provider(ahead_s) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("ahead_s", "is_wrong"), [(0.0, False), (3600.0, True), (-3600.0, True)])
def test_a_provider_is_asked_for_its_time_before_the_first_message(
    tmp_path: Path, ahead_s: float, is_wrong: bool
) -> None:
    """With a request that needs no credentials and has none."""
    with provider(ahead_s) as server:
        env = CREDENTIALS | {"TWILIO_API_BASE": f"http://127.0.0.1:{server.server_port}"}
        options = SendOptions(state_dir=tmp_path, init_state=True, env=env, settle_unknowns=False)
        result = send(plan_for(ADA), options)
    assert server.asked[0] == ("GET", "/", None)
    assert (result.summary.accepted, result.summary.pending + result.summary.unknown) == (0, 1)
    if is_wrong:
        assert len(server.asked) == 1
        assert isinstance(result.stopped, ClockWrong)
        assert "the provider's clock and this machine's are 3" in result.stopped.what
        assert str(result.stopped.fix).startswith("set this machine's clock")
    else:
        assert {method for method, *_ in server.asked[1:]} == {"POST"}
        assert not isinstance(result.stopped, ClockWrong)


@pytest.mark.parametrize(("first", "size"), [(1, 1), (2, 2), (3, None), (9, None)])
def test_a_run_has_a_canary_where_others_come_after_it(tmp_path: Path, first: int, size: int | None) -> None:
    plan = plan_of("twilio", [ADA, GRACE, JEAN], canary={"first": first, "wait": "30s"})
    with embedded(Options(sent_after_s=0, delivered_after_s=0)) as url:
        canary = send(plan, rehearsal(tmp_path, url, limit=0)).run.canary
    assert canary == (None if size is None else Canary(size))


def test_a_run_that_has_not_begun_is_all_pending_and_holds_nothing(tmp_path: Path) -> None:
    with open_run(plan_of("twilio", [ADA, GRACE, JEAN]), rehearsal(tmp_path)) as session:
        assert (session.counts(), session.held(), session.stopped_by) == (NONE_SENT, (), None)
        assert session.state.ledger.runs() == []


@pytest.mark.parametrize("knowingly", [True, False])
def test_only_who_goes_on_knowingly_is_told_what_had_stopped_the_run(history: RunHistory, knowingly: bool) -> None:
    """Whoever does not is stopped by it once more."""
    run = begin(history, (ARRIVED, 30), (FAILED, 10))
    with pytest.raises(CanaryStop) as stop:
        wait(gate_of(history, run), Sweep(history))
    stopped = history.state.ledger.run(run.run_id)
    session = RunSession(history.state, history.state.plan(run), stopped, resumed=True, knowingly=knowingly)
    told = session.stopped_by
    assert (None if told is None else told.to_dict()) == (stop.value.to_dict() if knowingly else None)


def test_the_log_says_how_a_run_begins_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan = plan_of("twilio", [ADA, GRACE, JEAN])
    caplog.set_level("INFO", "sender")
    with embedded(Options()) as url:
        run_id = send(plan, rehearsal(tmp_path, url, limit=1)).run.run_id
        send(plan, rehearsal(tmp_path, url))
    begun = [record for record in caplog.records if vars(record).get("event") in ("run_started", "run_resumed")]
    assert [(vars(one)["event"], vars(one)["run_id"], vars(one)["campaign"]) for one in begun] == [
        ("run_started", run_id, "to-twilio"),
        ("run_resumed", run_id, "to-twilio"),
    ]
    assert [record.getMessage() for record in begun] == [
        f"run {run_id} starts: 3 of 3 messages pending",
        f"run {run_id} resumed: 2 of 3 messages pending",
    ]


@pytest.mark.parametrize(
    ("fates", "says"),
    [
        pytest.param({ADA: INTENT, GRACE: PENDING}, "1 message was in flight", id="one"),
        pytest.param({ADA: INTENT, GRACE: INTENT}, "2 messages were in flight", id="two"),
        pytest.param({ADA: ACCEPTED, GRACE: PENDING}, None, id="none"),
    ],
)
def test_what_was_in_flight_when_a_process_died_is_logged(
    history: RunHistory, caplog: pytest.LogCaptureFixture, fates: dict[str, Any], says: str | None
) -> None:
    run = history.add(fates)
    session = RunSession(history.state, history.state.plan(run), run, resumed=True)
    assert session.orphans == session.counts().unknown == list(fates.values()).count(INTENT)
    session._log_start()
    said = [record.getMessage() for record in caplog.records if vars(record).get("event") == "orphans"]
    assert [text.partition(" when")[0] for text in said] == ([] if says is None else [says])


def test_missing_credentials_are_noticed_before_anybody_is_asked(tmp_path: Path) -> None:
    plan, none = plan_for(ADA), SendOptions(state_dir=tmp_path, init_state=True, env={})
    with open_run(plan, none) as session:
        with pytest.raises(CredentialsError):
            session.check_credentials(none)
        session.check_credentials(SendOptions(state_dir=tmp_path, env=CREDENTIALS))
    with open_run(plan, rehearsal(tmp_path)) as session:
        session.check_credentials(rehearsal(tmp_path))


def by_two_routes() -> sender.Plan:
    routes = [{"provider": "twilio", "from": "+12025550150"}, {"provider": "signalwire", "from": "+12025550151"}]
    campaign = sender.load_campaign(recipients=[{"phone": ADA}], routes=routes, message="Hi", name="offer")
    return sender.build_plan(campaign)


@pytest.mark.parametrize(
    ("ours", "refused"),
    [
        pytest.param({}, None, id="the accounts that it began with"),
        pytest.param({"TWILIO_ACCOUNT_SID": "AC" + "1" * 32}, f"is sent by account {TWILIO}", id="first route"),
        pytest.param({"SIGNALWIRE_PROJECT_ID": "another"}, "is sent by account project", id="second route"),
        pytest.param({"SIGNALWIRE_SPACE_URL": "other.signalwire.com"}, f"is sent through {SPACE}", id="address"),
    ],
)
def test_a_run_goes_on_with_the_account_of_each_route_before_anybody_is_asked(
    history: RunHistory, ours: dict[str, str], refused: str | None
) -> None:
    """The log of another account does not show what the run has sent."""
    plan = by_two_routes()
    run = Run("begun", "offer", RunKind.LIVE, "twilio", plan.hash, None, 1, 1, 0, created_at_ms=1)
    history.state.plans.save(run, plan)
    kept = [RunRoute("twilio", TWILIO, "https://api.twilio.com"), RunRoute("signalwire", "project", SPACE)]
    history.state.ledger.create_run(run, routes=kept)
    session = RunSession(history.state, plan, run, resumed=True)
    options = SendOptions(state_dir=history.folder, env=CREDENTIALS | SIGNALWIRE | ours)
    if refused is None:
        session.check_credentials(options)
    else:
        with pytest.raises(InputsChanged, match=refused):
            session.check_credentials(options)


def test_a_provider_is_not_given_the_address_of_this_machine_for_its_reports(tmp_path: Path) -> None:
    ways: dict[str, Any] = {"state_dir": tmp_path, "public_url": "http://127.0.0.1:9"}
    with pytest.raises(InputError, match="twilio cannot call this machine's own loopback address"):
        send(plan_for(ADA), SendOptions(init_state=True, env=CREDENTIALS, **ways))
    with embedded(Options()) as url:
        env = {"SENDER_SANDBOX_URL": url}
        assert send(plan_for(ADA), SendOptions(rehearse=True, env=env, **ways)).summary.accepted == 1


def test_a_folder_is_not_handed_over_to_other_machines(tmp_path: Path) -> None:
    options = SendOptions(state_dir=tmp_path, init_state=True, env=CREDENTIALS)
    with open_run(plan_for(ADA), options) as session:
        with pytest.raises(InputError, match="only a state in a database can be sent by other machines"):
            session.hand_over(options)
        assert session.state.ledger.runs() == [], "and nothing has begun"


def test_results_that_cannot_be_written_any_more_are_said_and_the_run_is_sent(tmp_path: Path) -> None:
    file = tmp_path / "results.csv"

    def take_the_name(_: Progress) -> None:
        file.write_text("somebody's own", encoding="utf-8")

    with embedded(Options()) as url:
        options = rehearsal(tmp_path / "state", url, results_path=file)
        result = send(plan_for(ADA, GRACE), options, on_progress=take_the_name)
    assert result.summary.accepted == 2
    assert isinstance(result.stopped, StateError)
    assert result.stopped.what.startswith("the results were not written: ")
    assert f"`sender results {result.run.run_id} --output FILE`" in str(result.stopped.fix)
    assert file.read_text(encoding="utf-8") == "somebody's own"


def test_the_result_says_what_was_sent_where_and_up_to_which_limit(tmp_path: Path) -> None:
    with embedded(Options()) as url:
        result = send(plan_for(ADA, GRACE), rehearsal(tmp_path / "state", url, limit=1))
    assert (result.limit, result.state_dir, result.interrupted) == (1, tmp_path / "state", False)
    assert (result.run.messages, result.summary.accepted, result.summary.pending) == (2, 1, 1)
    assert result.results_path.is_relative_to(tmp_path / "state" / "runs")
    assert result.results_path.exists()
    assert (result.taken_out, result.resent, result.held, result.is_handed_over) == ({}, 0, (), False)
