"""`sender suppress …`: the list of numbers that get nothing."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from sender.cli import console, terminal
from sender.cli.number_arguments import parse_numbers
from sender.cli.outputs import force_option
from sender.cli.shared_options import env_file_option, environment, state_options
from sender.core.errors import InputError
from sender.core.outcomes import SkipReason
from sender.core.output_files import OutputKind, Protected
from sender.core.safe_tables import EXPORTED
from sender.state.open import folder_of
from sender.suppression.entries import EVERYWHERE, REASONS, SuppressionEntry
from sender.suppression.suppression_list import SuppressionList

_SHOWN = 20
SCOPE_HELP = "all, campaign:NAME, sender:NUMBER or account:PROVIDER."

_scope = click.option("--scope", default=EVERYWHERE, show_default=True, help=f"What it applies to: {SCOPE_HELP}")
_only_scope = click.option("--scope", help=f"Only in this scope: {SCOPE_HELP}")
_region = click.option("--default-region", metavar="US", help="Region of numbers without a country code.")
_reason = click.option(
    "--reason",
    type=click.Choice([reason.value for reason in REASONS if reason is not SkipReason.UNDER_REVIEW]),
    default=SkipReason.SUPPRESSED.value,
    show_default=True,
    help="Why they are on the list. landline and invalid_number count only with skip_dead.",
)


@click.group()
def suppress() -> None:
    """Manage the list of numbers that get nothing, whatever the campaign.

    Replies (STOP, START), providers' refusals and `import --from telnyx` add to it.
    """


@suppress.command(help="Add numbers to the list.")
@click.argument("numbers", nargs=-1, required=True)
@_scope
@_reason
@click.option("--note", help="Why, in your own words; `suppress why` shows it.")
@_region
@state_options
def add(
    numbers: tuple[str, ...],
    scope: str,
    reason: str,
    note: str | None,
    default_region: str | None,
    debug: bool,
    state_dir: Path | str,
) -> int:
    console.set_up_logs(debug=debug)
    to_add = parse_numbers(numbers, default_region)
    with SuppressionList.open(state_dir) as suppressions:
        new = suppressions.add(to_add, scope=scope, reason=SkipReason(reason), note=note)
    console.out.print(f"{console.many(new, 'number')} added, {len(to_add) - new:,} already on the list")
    return 0


@suppress.command(help="Remove numbers from the list. A later STOP, refusal or import counts again.")
@click.argument("numbers", nargs=-1, required=True)
@_only_scope
@_region
@state_options
def remove(
    numbers: tuple[str, ...], scope: str | None, default_region: str | None, debug: bool, state_dir: Path | str
) -> int:
    console.set_up_logs(debug=debug)
    to_remove = parse_numbers(numbers, default_region)
    with SuppressionList.open(state_dir) as suppressions:
        opted_out = [
            number
            for number in to_remove
            if any(entry.active and entry.reason == SkipReason.OPTED_OUT for entry in suppressions.why(number))
        ]
        removed = suppressions.remove(to_remove, scope=scope)
        left = [entry.sentence() for number in to_remove for entry in suppressions.why(number) if entry.active]
    console.out.print(f"{console.many(removed, 'number')} removed, {len(to_remove) - removed:,} not on the list")
    if opted_out:
        console.out.print(
            f"[yellow]note:[/] {console.many(len(opted_out), 'number')} had opted out: text them only if they have"
            " asked for it since. The provider may refuse them until they reply START."
        )
    for sentence in left:
        console.out.print(f"  still suppressed: {escape(sentence)}")
    return 0


@suppress.command(
    "import",
    help="Add the numbers of files to the list, in any recipients format or as `export` writes them, or the entries of"
    " another state directory. With --from telnyx, add the opt-outs that the provider keeps.",
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("--from", "provider", type=click.Choice(["telnyx"]), help="Read this provider's own list of opt-outs.")
@click.option("--profile", metavar="ID", help="With --from: opt-outs of this messaging profile only.")
@click.option("--since", type=click.DateTime(), help="With --from: opt-outs since then (UTC).")
@env_file_option("With --from: file of KEY=value lines with the credentials.")
@click.option(
    "--unreadable",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Rows of each file that may hold a number that cannot be read.",
)
@click.option("--column", multiple=True, metavar="HEADER", help="Column of numbers; may be repeated. Default: all.")
@_scope
@_reason
@_region
@state_options
def import_(
    files: tuple[Path, ...],
    provider: str | None,
    profile: str | None,
    since: datetime | None,
    env_file: Path | None,
    unreadable: int,
    column: tuple[str, ...],
    scope: str,
    reason: str,
    default_region: str | None,
    debug: bool,
    state_dir: Path | str,
) -> int:
    from sender.cli import suppress_import
    from sender.suppression.number_list import ListRules

    console.set_up_logs(debug=debug)
    if bool(files) == (provider is not None):
        raise InputError("name files or --from telnyx, and not both", fix="sender suppress import do-not-text.csv")
    if provider is None and (profile is not None or since is not None):
        raise InputError("--profile and --since go with --from", fix="add --from telnyx, or leave them out")
    with SuppressionList.open(state_dir) as suppressions:
        if provider is not None:
            since = since.replace(tzinfo=UTC) if since else None
            env = environment(env_file)
            suppress_import.import_opt_outs(suppressions, provider, env, scope=scope, profile=profile, since=since)
        for folder in (path for path in files if path.is_dir()):
            suppress_import.import_state(suppressions, folder, folder_of(state_dir))
        lists = [path for path in files if not path.is_dir()]
        rules = ListRules(_regions(default_region), columns=column, unreadable=unreadable)
        complete = [
            suppress_import.import_file(suppressions, file, rules, scope=scope, reason=SkipReason(reason))
            for file in lists
        ]
    return 0 if all(complete) else 1


@suppress.command(help="Write the list to FILE (.csv, .jsonl, .parquet, .xlsx), or as CSV to standard output.")
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@_only_scope
@force_option
@state_options
def export(file: Path | None, scope: str | None, force: bool, debug: bool, state_dir: Path | str) -> int:
    from sender.reports.table_files import dump_csv, has_headers, write_table
    from sender.suppression.export import entries_to_frame

    console.set_up_logs(debug=debug)
    with SuppressionList.open(state_dir, read_only=True) as suppressions:
        entries = list(suppressions.entries(scope))
    frame = entries_to_frame(entries)
    if len(entries) > frame.height:
        from sender.cli.suppress_import import not_carried

        console.err.print(f"[yellow]note:[/] {not_carried(len(entries) - frame.height)}")
    if file is None:
        buffer = io.BytesIO()
        dump_csv(frame, buffer)
        terminal.write_data(buffer.getvalue())
        return 0
    exported = OutputKind("an exported suppression list", lambda path: has_headers(path, EXPORTED))
    write_table(frame, file, exported, Protected(state_dir=folder_of(state_dir)), force=force)
    console.err.print(f"wrote {console.many(frame.height, 'entry', 'entries')} to {escape(str(file))}")
    return 0


@suppress.command("list", help="Show how many numbers are on the list and why, and the newest entries.")
@_only_scope
@click.option("--limit", type=click.IntRange(0), default=_SHOWN, show_default=True, help="Entries shown, newest first.")
@click.option("--json", "as_json", is_flag=True, help="Print all entries as JSON.")
@state_options
def list_(scope: str | None, limit: int, as_json: bool, debug: bool, state_dir: Path | str) -> int:
    console.set_up_logs(debug=debug)
    with SuppressionList.open(state_dir, read_only=True) as suppressions:
        entries = sorted(suppressions.entries(scope), key=lambda entry: entry.at, reverse=True)
    if as_json:
        console.print_json([_to_dict(entry) for entry in entries])
        return 0
    numbers = len({entry.number for entry in entries})
    console.out.print(f"[bold]{console.many(numbers, 'number')}[/] {escape(_by_reason(entries))}".rstrip())
    if entries and limit:
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for column in ("number", "reason", "because"):
            table.add_column(column, overflow="fold")
        for entry in entries[:limit]:
            table.add_row(entry.number, entry.reason.value, escape(entry.sentence()))
        console.out.print(table)
    if limit and len(entries) > limit:
        console.out.print(f"  [dim]and {len(entries) - limit:,} more: `sender suppress export` writes all of them[/]")
    return 0


@suppress.command(help="Show every entry of a number, and whether it still counts.")
@click.argument("number")
@_region
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@state_options
def why(number: str, default_region: str | None, as_json: bool, debug: bool, state_dir: Path | str) -> int:
    console.set_up_logs(debug=debug)
    from sender.phone.lenient import LenientReader

    meanings = LenientReader(frozenset(), short_codes=False).read(number, _regions(default_region)).numbers
    numbers = sorted(meanings) or parse_numbers((number,), default_region)
    with SuppressionList.open(state_dir, read_only=True) as suppressions:
        by_number = {e164: suppressions.why(e164) for e164 in numbers}
    entries = [entry for found in by_number.values() for entry in found]
    if as_json:
        listed = any(entry.active for entry in entries)
        several = {"numbers": numbers} if len(numbers) > 1 else {}
        first = entries[0].number if entries else numbers[0]
        console.print_json(
            {"number": first, **several, "listed": listed, "entries": [_to_dict(entry) for entry in entries]}
        )
        return 0
    for e164, found in by_number.items():
        if not found:
            console.out.print(f"{e164} is not on the list and never was")
        for entry in found:
            taken_back = "" if entry.active else ", removed since"
            style = "bold" if entry.active else "dim"
            console.out.print(f"{e164} [{style}]{entry.reason.value}{taken_back}[/]: {escape(entry.sentence())}")
    return 0


def _by_reason(entries: Iterable[SuppressionEntry]) -> str:
    counts = Counter(entry.reason.value for entry in entries)
    return f"({console.counted(counts)})" if counts else ""


def _to_dict(entry: SuppressionEntry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "reason": entry.reason.value,
        "scope": entry.scope,
        "source": entry.source.value,
        "via": entry.via,
        "at": entry.at.isoformat(timespec="milliseconds"),
        "note": entry.note,
        "active": entry.active,
    }


def _regions(default_region: str | None) -> tuple[str, ...]:
    """Return the region that --default-region names, or none. Raises InputError for a text that names no single one."""
    if default_region is None:
        return ()
    from sender.phone import countries

    regions = countries.regions_of(default_region)
    if len(regions) != 1:
        raise InputError(f"`{default_region}` {countries.fault(default_region)}", where="--default-region")
    return regions
