"""The `sender` command: the only place that prints, asks or exits.

A thin skin over the library. Commands are imported when they are called, so that `sender --help` answers at once.
"""

from __future__ import annotations

import os
import sys

import click

from sender.cli import terminal
from sender.cli.invocation import Invocation
from sender.core.garbage import load_module

# name -> (module, one line for --help). ALIASES has other names.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "Write a campaign, a template and a list, ready to run."),
    "plan": ("plan", "Show who would get what, who would not, and why. Sends nothing."),
    "plan diff": ("plan_diff", "Show the differences between two plans."),
    "approve": ("approve", "Sign a written plan, so that it may be sent."),
    "preview": ("preview", "Show the messages, in the terminal or as a page."),
    "send": ("send", "Send a campaign; run it again to resume."),
    "retry": ("retry", "Send messages again that did not arrive."),
    "pause": ("pause", "Pause a run, from any terminal."),
    "resume": ("resume", "Lift the pause of a run, and send the rest."),
    "close": ("close", "End a run for good: pending messages are canceled."),
    "status": ("status", "List the runs, or show the status of one."),
    "web": ("web", "Show runs on a live page, and pause, resume or close them there."),
    "results": ("results", "Write the result of every row."),
    "report": ("report", "Show how a run went, in the terminal or as a page."),
    "evidence": ("evidence", "Write the evidence of a run to one archive."),
    "evidence verify": ("evidence_verify", "Check an archive of evidence, without the state."),
    "history": ("history", "Show what a person was sent, and whether it arrived."),
    "forget": ("forget", "Erase a person's data; opt-outs still count."),
    "prune": ("prune", "Remove plans, texts and results of old runs."),
    "listen": ("listen", "Receive delivery reports and replies."),
    "replies": ("replies", "Show what people have replied; decide about unclear replies."),
    "reconcile": ("reconcile", "Look up unknown messages in the provider's log."),
    "suppress": ("suppress", "Manage the list of numbers that get nothing."),
    "lookup": ("lookup", "Look up the type, carrier and zone of numbers."),
    "numbers": ("numbers", "Manage dead numbers, which cannot receive texts."),
    "schedule": ("schedule", "Send campaigns at regular times."),
    "links": ("links", "Write the links of a run, for your link shortener."),
    "outcomes": ("outcomes", "Import what people did after a message."),
    "experiment": ("experiment", "Plan a comparison of variants."),
    "cluster": ("cluster", "Manage a state in a PostgreSQL database."),
    "worker": ("worker", "Send runs of a shared database from this machine."),
    "workers": ("workers", "Show the machines with a worker, and what they send."),
    "rules": ("rules", "List the shipped rules about when texts may be sent."),
    "sandbox": ("sandbox", "Run the provider simulator."),
    "schema": ("schema", "Print the campaign file's JSON Schema."),
}
_SENDING = ("send", "retry", "resume")  # of which it matters, at Ctrl-C, that nothing was sent
ALIASES = {"check": "plan", "cancel": "close"}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(load_module(f"sender.cli.{COMMANDS[name][0]}"), name.replace(" ", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # A command of two words; a campaign in a file called `diff` is `./diff`.
        if len(args) > 1 and f"{ALIASES.get(args[0], args[0])} {args[1]}" in COMMANDS:
            args = [f"{ALIASES.get(args[0], args[0])} {args[1]}", *args[2:]]
        if args and args[0] not in COMMANDS and args[0] not in ALIASES and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"did you mean `sender {near[0]}`?" if near else "`sender --help` lists the commands"
            ctx.fail(f"no command {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="campaign-sender", prog_name="sender")
def cli() -> None:
    """Send bulk SMS and MMS campaigns: planned, rate-limited, resumable, with a result for every row.

    Start with `sender init`, or with a list: sender preview people.csv --body 'Hi {{ name }}'
    --from +12025550100 --provider sandbox --default-region US

    Exit codes: 0 all messages accepted; 1 some rejected, canceled or failed; 2 bad usage or input; 3 refused or
    stopped; 4 some are still unknown; 5 the state could not be read or written; 130 some are still pending
    (interrupted or paused), run again to resume.
    """


def main() -> None:
    """Run the command line of this process and exit with its code."""
    sys.exit(run_command())


def run_command() -> int:
    """Run the command line in `sys.argv` and return the exit code that --help lists.

    An error is printed as a sentence, and with --debug as a traceback too.
    """
    invocation = Invocation()
    try:
        code = cli.main(standalone_mode=False, obj=invocation)
        sys.stdout.flush()
    except click.exceptions.Abort:
        sends = any(name in sys.argv[1:2] for name in _SENDING)
        terminal.write_line("stopped; nothing was sent" if sends else "stopped", err=True)
        code = 130
    except click.ClickException as error:
        terminal.write_usage_error(error)
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # `sender preview --format jsonl | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:  # noqa: BLE001 (a person reads a sentence, not a traceback)
        code = _report_error(error, invocation)
    return code if isinstance(code, int) else 0


def _report_error(error: Exception, invocation: Invocation) -> int:
    """Print the error and return the exit code."""
    from sender.core.errors import SenderError

    debug = invocation.debug or bool(os.environ.get("SENDER_DEBUG"))
    if debug:  # the exit code is the same with and without: a job's next step depends on it
        terminal.write_traceback(error)
    if isinstance(error, SenderError):
        _print_error(error.sentence(), error.fix, invocation.log_format)
        return error.exit_code
    fix = "report what is printed above" if debug else "run the same command with --debug and report what it prints"
    sentence = f"a bug in campaign-sender: {type(error).__name__}: {error}\n  fix: {fix}; what was recorded is safe"
    _print_error(sentence, None, invocation.log_format)
    return 70


def _print_error(sentence: str, fix: str | None, log_format: str) -> None:
    """Print an error on standard error: as a sentence, or as an event where the log is JSON."""
    if log_format == "json":
        terminal.write_json({"level": "error", "event": "error", "message": sentence, "fix": fix}, err=True)
    else:
        terminal.write_line(f"error: {sentence}", err=True)
