"""What a plan does with single rows, for a terminal: messages as they will be read, and skipped rows by their cause.

Nothing is cut off. On a terminal lines break at its width; elsewhere a text's own lines stay whole, for `grep`.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.markup import escape
from rich.text import Text

from sender.cli import console
from sender.plan.message_fields import parse_fields
from sender.plan.plan import Plan
from sender.reports.skipped_rows import MASK, SkipCause, group_skipped, list_under_review

_BAR = "│ "
_INDENT = "  "
_MOST_HELD = 100


def print_messages(plan: Plan, *, most: int) -> None:
    """Print the first messages of the plan as they will be read, each with its row, segments and encoding."""
    from sender.reports.pages.preview_page import preview_frame

    for row in preview_frame(plan, most).iter_rows(named=True):
        parts = console.many(row["segments"], "segment")
        size = f"MMS, {len(row['media'])} media" if row["media"] else f"{row['encoding']}, {parts}"
        whom = f"to {row['to']} from {escape(str(row['from']))}"
        variant = f" [dim]variant[/] {escape(row['variant'])}:" if row.get("variant") else ""
        console.out.print(f"[bold]row {row['row_number']}[/] {whom}:{variant} {size}")
        for line in _wrap(row["body"] or "", _BAR):
            console.out.print(Text(_BAR, style="dim") + Text(line))
        own = [f"{key}: {value}" for key, value in parse_fields(row["fields"]).items()]
        for text in (*(row["media"] or ()), *own):
            for line in _wrap(text, _BAR):
                console.out.print(Text(_BAR + line, style="dim"))
    more = plan.manifest.messages - most
    if more > 0:
        console.out.print(f"  [dim]and {more:,} more (--limit N, --html FILE, --format jsonl)[/]")


def print_skipped(plan: Plan, *, most: int = 20) -> None:
    """Print the skipped rows by reason and cause, those with most rows first, with three examples of each."""
    found = group_skipped(plan, most=most)
    if not found.causes:
        return
    console.out.print("skipped, by cause:", style="bold")
    for cause in found.causes:
        _print_cause(cause)
    if found.more_causes:
        more = console.many(found.more_causes, "more cause")
        console.out.print(f"  [dim]and {more} with {console.many(found.more_rows, 'row')}[/]")
    _print_under_review(plan)
    if plan.manifest.rows - plan.manifest.messages > sum(len(cause.examples) for cause in found.causes):
        console.out.print("  [dim]`sender plan ... --skipped FILE` writes all of them with their columns[/]")


def _print_under_review(plan: Plan) -> None:
    """Print every row that waits for a decision about a reply."""
    rows = list_under_review(plan)
    if not rows:
        return
    console.out.print("held until a person decides (`sender replies --review`):", style="bold")
    for row in rows[:_MOST_HELD]:
        for line in _wrap(f"row {row.row_number:,} {row.to} {row.detail}", _INDENT):
            console.out.print(Text(_INDENT + line))
    if len(rows) > _MOST_HELD:
        console.out.print(f"  [dim]and {len(rows) - _MOST_HELD:,} more[/]")


def _print_cause(cause: SkipCause) -> None:
    alone = cause.rows == 1
    head = f"row {cause.examples[0].row_number:,} {cause.reason}" if alone else f"{cause.rows:,} {cause.reason}"
    for number, line in enumerate(_wrap(f"{head}: {cause.sentence}", _INDENT)):
        text = Text(_INDENT + line)
        if number == 0:
            text.stylize("bold", 0, len(_INDENT) + len(head))
        console.out.print(text)
    for line in () if alone else _wrap(_describe_examples(cause), 2 * _INDENT):
        console.out.print(Text(2 * _INDENT + line, style="dim"))


def _describe_examples(cause: SkipCause) -> str:
    """Return `row 4 (`555-01`), row 9 (`44`) and 148 more`."""
    rows = [f"row {example.row_number:,}" + _describe_own(cause, example.own) for example in cause.examples]
    more = cause.rows - len(rows)
    return ", ".join(rows) + (f" and {more:,} more" if more else "")


def _describe_own(cause: SkipCause, own: tuple[str, ...]) -> str:
    return f" ({', '.join(own)})" if own and MASK in cause.sentence else ""


def _wrap(text: str, lead: str) -> Iterator[str]:
    """Yield the lines of `text`, broken where a terminal ends. An empty text is one empty line."""
    width = console.wrap_width()
    for line in text.replace("\r\n", "\n").split("\n"):
        if width is None or cell_len(line) <= width - len(lead):
            yield line
        else:
            wrapped = Text(line).wrap(console.out, max(width - len(lead), 1), overflow="fold", no_wrap=False)
            yield from (part.plain.rstrip() for part in wrapped)
