"""A provider connected for one run: whose credentials, which sandbox, and what its log proves."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sender
from sender import providers
from sender.core.errors import CredentialsError, InputError, InputsChanged
from sender.delivery.provider_session import (
    SANDBOX_FILE,
    SANDBOX_LOG_PER_S,
    SANDBOX_SETTLE_S,
    ProviderSession,
    open_adapter,
    open_provider,
)
from sender.state.ledger import Run, RunKind

TWILIO = {"TWILIO_ACCOUNT_SID": "AC" + "5a" * 16, "TWILIO_AUTH_TOKEN": "5a" * 16}
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def plan() -> sender.Plan:
    people = pl.DataFrame({"phone": ["+12025550101"]})
    return sender.build_plan(
        sender.load_campaign(recipients=people, provider="twilio", from_="+12025550100", message="Hi", name="offer")
    )


def run_of(plan: sender.Plan, kind: RunKind, account: str | None = None) -> Run:
    run = Run("run-1", "offer", kind, "twilio", plan.hash, None, 1, 1, 0, 0)
    return replace(run, simulated=kind is not RunKind.LIVE, account=account)


def connect(plan: sender.Plan, run: Run, env: dict[str, str], folder: Path, **options: Any) -> ProviderSession:
    async def go() -> ProviderSession:
        async with open_provider(run, plan.manifest, env, folder, **options) as provider:
            return provider

    return asyncio.run(go())


def test_a_live_run_has_its_providers_adapter_and_the_providers_log(plan: sender.Plan, tmp_path: Path) -> None:
    provider = connect(plan, run_of(plan, RunKind.LIVE), {**TWILIO, "SENDER_SANDBOX_URL": NOWHERE}, tmp_path)
    assert provider.adapter.base_url == "https://api.twilio.com"
    assert provider.adapter.account_id == TWILIO["TWILIO_ACCOUNT_SID"]
    assert provider.facts == providers.log_facts(provider.adapter, plan.manifest.fields)
    assert not (tmp_path / SANDBOX_FILE).exists()


def test_without_credentials_nothing_is_connected(plan: sender.Plan, tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match="TWILIO_ACCOUNT_SID"):
        connect(plan, run_of(plan, RunKind.LIVE), {}, tmp_path)


def test_a_run_goes_on_with_its_own_account_only(plan: sender.Plan, tmp_path: Path) -> None:
    other = run_of(plan, RunKind.LIVE, account="AC" + "1" * 32)
    with (
        pytest.raises(InputsChanged, match="is sent by account AC1"),
        open_adapter(other, plan.manifest, TWILIO, tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    ("account", "base_url"),
    [
        pytest.param(TWILIO["TWILIO_ACCOUNT_SID"], "https://api.twilio.com", id="both are the same"),
        pytest.param(None, None, id="of a run that has not kept them"),
        pytest.param("", None, id="of credentials without an account"),
    ],
)
def test_a_run_goes_on_with_its_own_account_or_one_that_is_not_known(
    plan: sender.Plan, tmp_path: Path, account: str | None, base_url: str | None
) -> None:
    run = replace(run_of(plan, RunKind.LIVE, account=account), base_url=base_url)
    with open_adapter(run, plan.manifest, TWILIO, tmp_path) as adapter:
        assert adapter.account_id == TWILIO["TWILIO_ACCOUNT_SID"]


def test_a_run_goes_on_at_its_own_address_only(plan: sender.Plan, tmp_path: Path) -> None:
    run = replace(run_of(plan, RunKind.LIVE), base_url="https://api.example.com")
    with (
        pytest.raises(InputsChanged, match=r"is sent through https://api\.example\.com"),
        open_adapter(run, plan.manifest, TWILIO, tmp_path),
    ):
        pass


@pytest.mark.parametrize("in_each_row", [False, True])
def test_a_log_without_the_recipients_proves_no_absence(plan: sender.Plan, tmp_path: Path, in_each_row: bool) -> None:
    """Twilio hides numbers where the campaign asks for it, for all messages or for those of some rows."""
    hidden = {"address_retention": "{{ keep }}" if in_each_row else "obfuscate"}
    asked = {"templates": {**plan.manifest.templates, **hidden}} if in_each_row else {"fields": hidden}
    made = plan.with_manifest(replace(plan.manifest, **asked))
    assert connect(plan, run_of(plan, RunKind.LIVE), TWILIO, tmp_path).facts.settle_s is not None
    assert connect(made, run_of(made, RunKind.LIVE), TWILIO, tmp_path).facts.settle_s is None


@pytest.mark.parametrize(
    ("text", "settle_s"),
    [("", SANDBOX_SETTLE_S), ("0", 0), (" 0.5 ", 0.5), ("3600", 3600)],
)
def test_a_simulated_run_asks_the_sandbox_that_is_named(
    plan: sender.Plan, tmp_path: Path, text: str, settle_s: float
) -> None:
    env = {**TWILIO, "SENDER_SANDBOX_URL": NOWHERE, "SENDER_SANDBOX_SETTLE_S": text}
    provider = connect(plan, run_of(plan, RunKind.REHEARSAL), env, tmp_path)
    assert provider.adapter.base_url == NOWHERE
    assert provider.facts.settle_s == settle_s
    assert provider.facts.requests_per_s == SANDBOX_LOG_PER_S
    assert not (tmp_path / SANDBOX_FILE).exists()


@pytest.mark.parametrize("text", ["-1", "3601", "soon", "nan"])
def test_a_lag_that_is_not_a_number_of_seconds_is_refused(plan: sender.Plan, tmp_path: Path, text: str) -> None:
    env = {"SENDER_SANDBOX_URL": NOWHERE, "SENDER_SANDBOX_SETTLE_S": text}
    with pytest.raises(InputError, match="not a number of seconds"):
        connect(plan, run_of(plan, RunKind.REHEARSAL), env, tmp_path)


def test_a_sandbox_of_the_runs_own_keeps_its_state_in_the_runs_folder(plan: sender.Plan, tmp_path: Path) -> None:
    folder = tmp_path / "run-1"
    provider = connect(plan, run_of(plan, RunKind.REHEARSAL), {"SENDER_SANDBOX_SETTLE_S": "60"}, folder)
    assert provider.adapter.base_url.startswith("http://127.0.0.1:")
    assert provider.facts.settle_s == SANDBOX_SETTLE_S, "the variable is for a sandbox that is named"
    assert (folder / SANDBOX_FILE).exists()
