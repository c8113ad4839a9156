"""A provider connected for one run, or the sandbox in its place: adapter, transport, and what its log proves."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sender import providers
from sender.core.errors import InputError, InputsChanged
from sender.core.filesystem import make_folder
from sender.plan.manifest import Manifest
from sender.providers.base import Adapter, LogFacts
from sender.state.ledger import Run
from sender.state.plans import SANDBOX_FILE
from sender.transport.base import Transport
from sender.transport.factory import open_transport

SANDBOX_URL = "SENDER_SANDBOX_URL"  # of a sandbox that is already running; live runs ignore it
SANDBOX_SETTLE = "SENDER_SANDBOX_SETTLE_S"  # for a sandbox whose log lags; live runs ignore it
SANDBOX_SETTLE_S = 2.0  # the sandbox's log does not lag by itself, but a request in flight may still arrive
SANDBOX_LOG_PER_S = 100.0


@dataclass(frozen=True, slots=True)
class ProviderSession:
    """A provider connected for one run. `facts` say what its log can prove about the run's messages."""

    adapter: Adapter
    transport: Transport
    facts: LogFacts
    shares_sandbox: bool = False  # a sandbox that runs by itself, and other runs may have used as well


@contextlib.asynccontextmanager
async def open_provider(
    run: Run,
    manifest: Manifest,
    env: Mapping[str, str],
    folder: Path,
    *,
    transport: str = "httpx",
    concurrency: int = 1,
) -> AsyncIterator[ProviderSession]:
    """Connect the run's provider, or the sandbox, as `open_adapter` does, with `concurrency` connections at most.

    Raises InputError, CredentialsError, InputsChanged. Asks the provider nothing yet.
    """
    with open_adapter(run, manifest, env, folder) as adapter:
        facts = log_facts(run, manifest, adapter, env)
        async with contextlib.aclosing(open_transport(transport, concurrency, adapter.base_url)) as opened:
            yield ProviderSession(adapter, opened, facts, shares_sandbox=run.simulated and bool(env.get(SANDBOX_URL)))


@contextlib.contextmanager
def open_adapter(run: Run, manifest: Manifest, env: Mapping[str, str], folder: Path) -> Iterator[Adapter]:
    """The provider's adapter with its credentials; for a simulated run, the adapter of a running sandbox.

    A sandbox without an address of its own is started here, and keeps its state in `folder`. Raises CredentialsError,
    and InputsChanged for credentials of another account than the run's.
    """
    if not run.simulated:
        adapter = providers.adapter(manifest.provider, env)
        _refuse_elsewhere(run, adapter)
        yield adapter
    elif url := env.get(SANDBOX_URL):
        yield providers.sandbox_adapter(manifest.dialect, url)
    else:
        from sender import sandbox  # noqa: PLC0415 (its web server takes 0.1 s, and live runs need none)

        make_folder(folder)
        options = sandbox.Options(
            latency_ms=manifest.sandbox["latency_ms"],
            rate_per_s=manifest.sandbox["rate_per_s"],
            state_file=folder / SANDBOX_FILE,
            sent_after_s=0.05,
            delivered_after_s=0.15,
        )
        with sandbox.embedded(options) as url:
            yield providers.sandbox_adapter(manifest.dialect, url)


def _refuse_elsewhere(run: Run, adapter: Adapter) -> None:
    """Raise InputsChanged for another account than the run's, or another address: each has a log of its own."""
    if run.account not in (None, "", adapter.account_id):
        what = f"is sent by account {run.account}, but these credentials belong to {adapter.account_id}"
        whose, fix = "the other account", "use the credentials that the run started with"
    elif run.base_url not in (None, adapter.base_url):
        what = f"is sent through {run.base_url}, but the environment names {adapter.base_url}"
        whose, fix = "the other address", "set the base URL or region that the run started with"
    else:
        return
    raise InputsChanged(
        f"run {run.run_id} {what}, whose log does not show what {whose} sent",
        fix=f"{fix}; --only-new ends this run, and sends to those who have not had the message",
    )


def log_facts(run: Run, manifest: Manifest, adapter: Adapter, env: Mapping[str, str]) -> LogFacts:
    """What the provider's log, or the sandbox's, can prove about the run's messages. Raises InputError."""
    facts = providers.log_facts(adapter, manifest.fields, manifest.templates)
    if not run.simulated:
        return facts
    return replace(facts, settle_s=_sandbox_settle_s(env), requests_per_s=SANDBOX_LOG_PER_S)


def _sandbox_settle_s(env: Mapping[str, str]) -> float:
    """The seconds by which the log of a simulated run's sandbox may lag. Raises InputError."""
    text = (env.get(SANDBOX_SETTLE, "").strip() if env.get(SANDBOX_URL) else "") or str(SANDBOX_SETTLE_S)
    try:
        if 0 <= (seconds := float(text)) <= 3600:
            return seconds
    except ValueError:
        pass
    raise InputError(
        f"{text!r} is not a number of seconds from 0 to 3600", where=SANDBOX_SETTLE, fix="write 2.5, for example"
    )
