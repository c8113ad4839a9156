"""How a plan is sent: one value, passed whole by the library, the commands and the worker processes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypedDict

from sender.core.errors import InputError
from sender.state.find_state import find_state
from sender.state.open import address_of, folder_of
from sender.state.state_dir import DEFAULT_STATE_DIR

MAX_WORKERS_PER_CPU = 4
OnUnfinished = Literal["resume", "close", "refuse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOptions:
    """How a plan is sent. Raises InputError for a number of workers that this machine cannot use, and where
    two states may be meant.

    `state_dir` is the state directory; None finds it upwards from `source`, or from the current folder, as the command
    does. `init_state` lets a live run begin a new one, which knows of no earlier runs and no opt-outs.

    `env` holds the credentials (None: the process's environment), and `rehearse` speaks the provider's own dialect to
    the sandbox. `limit` sends only the first messages of the plan.

    Messages outside their window are held until it opens; without `hold` what may leave now is sent, and the run stays
    unfinished. `allow_missed` starts a run of which some messages would miss their window and not be sent.

    `again` sends a plan that has been sent, `new_run` starts over though an unfinished run began with other inputs,
    `resume` finishes that run with the plan it began with; at most one of the three. `source` is the file or folder by
    which the run can be found later. `same_campaign` sends it although the name is that of another file's campaign.

    `on_unfinished` is what a start does when an earlier run of the campaign is unfinished and has other inputs:
    `resume` finishes that run, `close` ends it and begins a new one, `refuse` raises InputsChanged (None: as the
    campaign says, and by default `refuse`).

    `settle_unknowns` looks up unknown messages in the provider's log, and `settle` stays until the log can decide all
    that time decides; `resend_unknown` sends again what the log does
    not settle, so that some people may get the message twice. `workers` is the number of processes that send.

    `shifts` is how many senders of other machines (`sender worker`) send the run where the state is in a database: None
    takes all that are there, 0 sends here alone.

    `public_url` is the address of a receiver of delivery reports; it is put into each message unless the campaign has a
    `status_callback` of its own. `listening` says that the receiver runs meanwhile, so that callbacks are given time
    before the log is read. `wait_s` is how long to wait for final statuses after the last message; None waits 5 seconds
    for the sandbox and two minutes for a provider. `results_path` is the results file (None: in the run's own folder);
    `with_body` puts each message's text into it.
    """

    state_dir: str | Path | None = None
    init_state: bool = False
    env: Mapping[str, str] | None = field(default=None, repr=False)
    rehearse: bool = False
    limit: int | None = None
    hold: bool = True
    allow_missed: bool = False
    again: bool = False
    new_run: bool = False
    resume: bool = False
    same_campaign: bool = False
    on_unfinished: OnUnfinished | None = None
    source: str | Path | None = None
    settle_unknowns: bool = True
    settle: bool = False
    resend_unknown: bool = False
    workers: int = 1
    shifts: int | None = None
    public_url: str | None = None
    listening: bool = False
    wait_s: float | None = 0.0
    results_path: str | Path | None = None
    with_body: bool = False

    def __post_init__(self) -> None:
        _check_workers(self.workers)
        if self.settle and not self.settle_unknowns:
            raise InputError(
                "--settle looks unknown messages up, but --on-unknown hold (settle_unknowns=False) leaves them",
                fix="leave out one of the two",
            )
        if self.state_dir is None:
            object.__setattr__(self, "state_dir", find_state(self.source).path)
        if self.workers > 1 and folder_of(self.state_path) is None:
            raise InputError(
                "--workers is for a state in a folder",
                fix="start `sender worker --workers N` on each machine; then leave out --workers, or use --shifts N",
            )
        if self.shifts and folder_of(self.state_path) is not None:
            raise InputError(
                "senders on several machines need a state in a database",
                fix="--state URL names one; --workers N sends with N processes on this machine",
            )

    @property
    def state_path(self) -> Path | str:
        """The state directory, or the address of the database, which is known once the options are made."""
        return address_of(self.state_dir or DEFAULT_STATE_DIR)

    @property
    def environment(self) -> Mapping[str, str]:
        """The credentials, and the sandbox's settings."""
        return os.environ if self.env is None else self.env

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for `SendOptions(**values)` in another process. They include the credentials."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return values | {
            "env": None if self.env is None else dict(self.env),
            **{name: str(value) for name, value in values.items() if isinstance(value, Path)},
        }


class SendKeywords(TypedDict, total=False):
    """The fields of `SendOptions` as keyword arguments; a test holds the two to one another."""

    state_dir: str | Path | None
    init_state: bool
    env: Mapping[str, str] | None
    rehearse: bool
    limit: int | None
    hold: bool
    allow_missed: bool
    again: bool
    new_run: bool
    resume: bool
    same_campaign: bool
    on_unfinished: OnUnfinished | None
    source: str | Path | None
    settle_unknowns: bool
    settle: bool
    resend_unknown: bool
    workers: int
    shifts: int | None
    public_url: str | None
    listening: bool
    wait_s: float | None
    results_path: str | Path | None
    with_body: bool


def _check_workers(workers: int) -> None:
    if workers < 1:
        raise InputError(f"a run cannot be sent by {workers} workers", fix="1 is this process alone; 2 may be faster")
    cpus = os.cpu_count() or 1
    if workers > MAX_WORKERS_PER_CPU * cpus:
        raise InputError(
            f"{workers} workers are more than this machine can use: it has {cpus} processors",
            fix=f"use at most {MAX_WORKERS_PER_CPU * cpus}; more than one for each processor does not help",
        )
