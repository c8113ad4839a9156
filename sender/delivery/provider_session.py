"""What a process needs to send messages of a run: the provider's adapter with its credentials, and the gate."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from sender import providers, sandbox
from sender.core.errors import InputError, InputsChanged
from sender.core.filesystem import make_folder
from sender.plan.manifest import Manifest
from sender.plan.plan import Plan
from sender.providers.base import Adapter
from sender.state.ledger import Run
from sender.suppression.live_check import LiveSuppression, SendContext
from sender.suppression.suppression_list import SuppressionList

SANDBOX_FILE = "sandbox.sqlite3"
SANDBOX_URL = "SENDER_SANDBOX_URL"  # a sandbox that runs already; means nothing to a live run
SANDBOX_SETTLE_S = 2.0  # the simulator's log lags only when told to; a request under way may still arrive
SANDBOX_SETTLE = "SENDER_SANDBOX_SETTLE_S"  # for a sandbox whose log lags; means nothing to a live run


@contextlib.contextmanager
def connected(run: Run, manifest: Manifest, env: Mapping[str, str], folder: Path) -> Iterator[Adapter]:
    """The provider's adapter with its credentials; for a simulated run, the sandbox's, which runs meanwhile.

    A sandbox without an address of its own is started here and keeps its state in `folder`. Raises CredentialsError,
    and InputsChanged for credentials of another account than the run's.
    """
    if not run.simulated:
        adapter = providers.adapter(manifest.provider, env)
        if run.account and adapter.account_id != run.account:
            raise InputsChanged(
                f"run {run.run_id} is sent by account {run.account}, and these credentials are of"
                f" {adapter.account_id}: its log cannot say what the other one sent",
                fix="use the credentials the run began with, or --new-run",
            )
        yield adapter
    elif url := env.get(SANDBOX_URL):
        yield providers.sandbox_adapter(manifest.dialect, url)
    else:
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


def sandbox_settle_s(env: Mapping[str, str]) -> float:
    """How long the log of a simulated run's sandbox may lag. Raises InputError."""
    text = (env.get(SANDBOX_SETTLE, "").strip() if env.get(SANDBOX_URL) else "") or str(SANDBOX_SETTLE_S)
    try:
        if 0 <= (seconds := float(text)) <= 3600:
            return seconds
    except ValueError:
        pass
    raise InputError(f"{text!r} is no number of seconds", where=SANDBOX_SETTLE, fix="write 2.5, say")


def gate(run: Run, plan: Plan, suppressions: SuppressionList) -> LiveSuppression:
    """The suppression list beside the loop: whoever comes onto it after the plan was made gets nothing either."""
    manifest = plan.manifest
    checked = manifest.suppression or {}
    sending = SendContext(
        campaign=manifest.campaign,
        provider=manifest.provider,
        service=manifest.service,
        simulated=run.simulated,
        skip_dead=bool(checked.get("skip_dead")),
    )
    return LiveSuppression(suppressions, sending, since=checked.get("mark"), numbers=plan.recipients)
