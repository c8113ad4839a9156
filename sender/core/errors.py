"""Every error this package raises on purpose. A person reads each one: what is wrong, where, what to do.

SenderError
├── InputError                 exit 2: fix the input and run again; nothing was sent
│   ├── CampaignError          the campaign file: file, line, key
│   │   └── PricesError        the price table it names: file, line, key
│   ├── RecipientsError        the recipients or a suppression file: file, line, column
│   │   └── HiddenRows         rows that a workbook hides would get a message, and nobody has said whether they should
│   ├── TemplateError          the template itself: file, line
│   ├── PlanError              a stored plan is missing, damaged or of another version
│   ├── Unsupported            the provider cannot carry what the campaign asks for
│   ├── CredentialsError       an environment variable is missing or cannot be used
│   └── UnknownRun             no run has that id or name
├── StateError                 exit 5: the state directory or the ledger cannot be used: full, failing, damaged, remote
│   └── StateLost              the database has lost what it had confirmed, or is another than before
└── GuardStop                  exit 3: stopped before harm; says what to do next
    ├── RunLocked              another process is sending this run
    ├── RunComplete            this plan has been sent already
    ├── RunUnfinished          the command needs a finished run
    ├── NotStarted             the time to begin is too long ago, or the wait for it was ended
    ├── RunPaused              somebody has paused this run
    ├── OtherCampaign          the name is that of another file's campaign, with other people
    ├── NewState               a live run would begin a state that knows of no earlier runs and no opt-outs
    ├── MissedWindows          some messages would miss their window and not be sent
    ├── ApprovalMissing         nobody, or too few people, have approved what would be sent
    ├── LimitReached           a limit of the campaign on the whole plan or on a day
    │   └── CostLimit          the plan or the day costs more than the campaign allows, or its cost is unknown
    ├── InputsChanged          an unfinished run began with other inputs
    ├── ClockWrong             this machine's clock and the provider's are too far apart to compare times
    ├── ProviderRefused        the account, the sender or the funds were refused
    ├── CanaryStop             too many of the messages that were sent have failed, or their receipts are missing
    ├── ProviderUnreachable    no connection to the provider
    └── WorkersLost            the worker processes could not be started, or failed

Row errors are not here: they stay with their row, as a code and a sentence, in the plan.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

# The command-line option of a campaign key.
_OPTIONS = {
    "canary.first": "--canary",
    "canary.wait": "--canary-wait",
    "from": "--from",
    "limits.max_cost": "--max-cost",
    "limits.max_cost_per_day": "--max-cost-per-day",
    "limits.max_failed": "--max-failed",
    "limits.max_messages": "--max-messages",
    "limits.max_messages_per_day": "--max-messages-per-day",
    "limits.max_rejected_in_a_row": "--max-rejected-in-a-row",
    "limits.max_segments_per_message": "--max-segments-per-message",
    "limits.max_skipped": "--max-skipped",
    "limits.per_person": "--per-person",
    "message.body": "--body",
    "message.media": "--media",
    "message.template": "--template",
    "prices": "--prices",
    "recipients.default_region": "--default-region",
    "recipients.hidden_rows": "--hidden-rows",
    "recipients.phone_column": "--phone-column",
    "recipients.sheet": "--sheet",
}


# What an option is called from Python, where a sentence of the library names it: an argument of `send`, `build_plan` or
# `retry_plan`. A test holds the names to theirs.
ARGUMENTS = {
    "--again": "again=True",
    "--allow-missed": "allow_missed=True",
    "--at": "at=...",
    "--include-delivered": "include_delivered=True",
    "--include-opted-out": "include_opted_out=True",
    "--include-unknown": "include_unknown=True",
    "--init-state": "init_state=True",
    "--limit": "limit=...",
    "--max-age": "max_age=...",
    "--new-run": "new_run=True",
    "--no-hold": "hold=False",
    "--on-unfinished": "on_unfinished=...",
    "--on-unknown hold": "settle_unknowns=False",
    "--only-new": "only_new=True",
    "--price": "price=...",
    "--reason": "reasons=[...]",
    "--reassigned-since": "reassigned_since=...",
    "--rehearse": "rehearse=True",
    "--resend-unknown": "resend_unknown=True",
    "--resume": "resume=True",
    "--same-campaign": "same_campaign=True",
    "--settle": "settle=True",
    "--state": "state_dir=...",
    "--state-dir": "state_dir=...",
    "--status": "statuses=[...]",
    "--test-to": "test_to=...",
    "--workers": "workers=...",
}
_ARGUMENT = re.compile("|".join(rf"{re.escape(name)}(?![\w-])" for name in ARGUMENTS))


def setting(key: str, value: str = "") -> str:
    """Return a campaign key as a sentence names it, with its command-line option as a shell takes it."""
    option = _OPTIONS.get(key)
    if option is None:
        given = f"{key}={value or '...'}"
        plain = re.fullmatch(r"[\w.:,=+-]*", given)
        typed = given if plain else f'"{given}"' if re.search(r'["\\$`!]', given) is None else shlex.quote(given)
        return f"`{key}{': ' if value else ''}{value}` (--set {typed})"
    return f"`{key}: {value}` ({option} {value})" if value else f"`{key}` ({option})"


class SenderError(Exception):
    """A failure with a sentence for a person.

    `what` says what is wrong; `where` names the file, line, column or key; `fix` says what to do.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str | None = None, fix: str | None = None) -> None:
        super().__init__(what, where, fix)
        self.what = what
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        """The sentences, and what the options among them are called from Python."""
        named = dict.fromkeys(ARGUMENTS[option] for option in _ARGUMENT.findall(f"{self.what} {self.fix or ''}"))
        arguments = [argument for argument in named if argument not in (self.fix or "")]
        return self.sentence() + (f" (in Python: {', '.join(arguments)})" if arguments else "")

    def sentence(self) -> str:
        """The sentences as the command prints them."""
        first = f"{self.where}: {self.what}" if self.where else self.what
        return f"{first}\n  fix: {self.fix}" if self.fix else first

    def to_dict(self) -> dict[str, str | None]:
        """The class's name and the three texts, for `from_dict` in another process."""
        return {"type": type(self).__name__, "what": self.what, "where": self.where, "fix": self.fix}

    @staticmethod
    def from_dict(values: Mapping[str, str | None]) -> SenderError:
        """The error of which `to_dict` made `values`, in its class. Raises KeyError for a class outside this module."""
        kind: type[SenderError] = {cls.__name__: cls for cls in _tree(SenderError)}[values["type"] or ""]
        return kind(values["what"] or "", where=values["where"], fix=values["fix"])


def _tree(root: type[SenderError]) -> Iterator[type[SenderError]]:
    yield root
    for cls in root.__subclasses__():
        yield from _tree(cls)


class InputError(SenderError):
    """Bad usage or input. Nothing was sent."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem in a file: `line` counts from 1, as an editor does; `key` is dotted.

    `given` says that the key is not from the file: an option or an argument has set it.
    """

    line: int | None
    key: str | None
    what: str
    fix: str | None = None
    given: bool = False

    def __str__(self) -> str:
        place = ", ".join(
            part for part in (f"line {self.line}" if self.line else "", f"key `{self.key}`" if self.key else "") if part
        )
        first = f"{place}: {self.what}" if place else self.what
        return f"{first}\n  fix: {self.fix}" if self.fix else first


class CampaignError(InputError):
    """The campaign is wrong. `problems` holds all of them, in file order."""

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        fix: str | None = None,
        problems: tuple[Problem, ...] = (),
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.problems = problems

    def sentence(self) -> str:
        """Every problem, each with its file, line and key."""
        if not self.problems:
            return super().sentence()
        prefix = f"{self.where}, " if self.where else ""
        return "\n".join(f"{'' if problem.given else prefix}{problem}" for problem in self.problems)


class PricesError(CampaignError):
    """The price table is wrong. `problems` holds all of them, in file order."""


class RecipientsError(InputError):
    """The recipients file or a suppression file cannot be read correctly, so it is not read at all."""


class HiddenRows(RecipientsError):  # noqa: N818
    """Rows that a workbook hides would get a message, and nobody has said whether they should."""


class TemplateError(InputError):
    """The template is broken for every row: a syntax error, a missing file, an unknown column."""


class PlanError(InputError):
    """A stored plan is missing, damaged, or was written by another version."""


class Unsupported(InputError):  # noqa: N818 (the name of the design)
    """The provider cannot carry the message unchanged, so the adapter refuses it."""


class CredentialsError(InputError):
    """A credential or base URL is missing from the environment, or cannot be used."""


class UnknownRun(InputError):  # noqa: N818
    """No run, campaign or recipients file of that name has been sent from this state directory."""


class StateError(SenderError):
    """The state directory or its ledger cannot be used. Nothing is sent that could not be recorded first."""

    exit_code = 5


class StateLost(StateError):  # noqa: N818
    """The database has lost what it had confirmed, or is another than before: nobody may send anything of it."""


class GuardStop(SenderError):  # noqa: N818 (a stop, not an accident)
    """Stopped before harm. What was pending is still pending."""

    exit_code = 3


class RunLocked(GuardStop):
    """Another process holds this run."""


class RunComplete(GuardStop):
    """This plan has been sent already."""


class RunUnfinished(GuardStop):
    """The command needs a finished run, and this run is not finished."""


class NotStarted(GuardStop):
    """The time at which the campaign begins is too long ago, or the wait for it was ended."""


class RunPaused(GuardStop):
    """Somebody has paused this run; the error says who, and when."""


class OtherCampaign(GuardStop):
    """The campaign has the name of another file's campaign in this state, which went to other people."""


class NewState(GuardStop):
    """A live run would begin a new state, which knows of no earlier runs and no opt-outs."""


class ApprovalMissing(GuardStop):
    """The campaign needs approvals, and what would be sent has too few that count."""


class LimitReached(GuardStop):
    """The start would pass one of the campaign's `limits` on a whole plan or on a day."""


class MissedWindows(GuardStop):
    """Some messages would miss their window, or the deadline, and not be sent."""


class CostLimit(LimitReached):
    """The plan or the day costs more than the campaign allows, or some of its messages have no price."""


class InputsChanged(GuardStop):
    """An unfinished run of this campaign began with other inputs."""


class ClockWrong(GuardStop):
    """This machine's clock differs from the provider's, so that times in its log cannot be compared with ours."""


class ProviderRefused(GuardStop):
    """The provider refuses the account or the sender, or the account has no funds: every message would fail."""


class CanaryStop(GuardStop):
    """A limit of the campaign's `canary` was passed, or too few of its messages have a receipt."""


class ProviderUnreachable(GuardStop):
    """No connection to the provider could be made."""


class WorkersLost(GuardStop):
    """The worker processes could not be started, or one of them failed."""
