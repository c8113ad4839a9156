"""Every text leaves the program through one function for its kind of border: terminals, pages, tables, JSON."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.syntax_trees import SENDER, TREES, nodes_of

TERMINAL = {Path("cli/terminal.py"), Path("cli/console.py")}
TABLES = {Path("reports/table_files.py"), Path("reports/spreadsheet.py")}

# What writes to a terminal without showing control characters, by the end of its dotted name.
WRITERS = {
    "print", "pprint", "echo", "secho", "echo_via_pager", "prompt", "confirm", "click.pause", "print_exc", "print_exception",
    "print_stack", "print_tb", "StreamHandler", "Console", "basicConfig", "input", "getpass",
}  # fmt: skip
HARMLESS = {"isatty", "fileno", "flush"}
TABLE_WRITERS = {"write_csv", "write_ndjson", "write_excel", "Workbook", "writer", "DictWriter"}


def dotted(node: ast.AST) -> str:
    """`a.b.c`, whatever the first of them is: `.b.c` of a call's result."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def terminal_writes(tree: ast.AST) -> list[str]:
    """Every write to a terminal that is not by `console.out.print`, `console.err.print` or a function of `terminal`."""
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    found = []
    for node in ast.walk(tree):
        name = dotted(node)
        if isinstance(node, ast.Call):
            called = dotted(node.func)
            is_console = called.removeprefix("console.") in ("out.print", "err.print")
            if WRITERS & {called, called.rpartition(".")[2]} and not is_console:
                found.append(f"line {node.lineno}: {called}")
        elif name in ("sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"):
            parent = parents[node]
            if not (isinstance(parent, ast.Attribute) and parent.attr in HARMLESS):
                found.append(f"line {node.lineno}: {name}")
        elif name.endswith((".out.file", ".err.file")) or (isinstance(node, ast.alias) and node.name == "rich.print"):
            found.append(f"line {node.lineno}: {name or 'rich.print'}")
        elif isinstance(node, ast.Attribute) and node.attr == "show" and dotted(node.value) == "error":
            found.append(f"line {node.lineno}: {name}")
    return found


@pytest.mark.parametrize("folder", sorted({path.parent for path in TREES}), ids=Path.as_posix)
def test_nothing_goes_round_the_terminal(folder: Path) -> None:
    here = [path for path in TREES if path.parent == folder and path not in TERMINAL]
    assert [f"{path.name}, {write}" for path in here for write in terminal_writes(TREES[path])] == []


@pytest.mark.parametrize(
    "line",
    [
        "print(cell)",
        "click.echo(cell, err=True)",
        "click.secho(cell)",
        "click.confirm(f'{name}?')",
        "sys.stdout.write(cell)",
        "sys.stderr.buffer.write(cell)",
        "stream = sys.stdout",
        "console.out.file.write(cell)",
        "traceback.print_exception(error)",
        "logging.StreamHandler()",
        "Console(stderr=True)",
        "rich.print(cell)",
        "error.show()",
    ],
)
def test_a_way_round_it_is_found(line: str) -> None:
    assert terminal_writes(ast.parse(line))


@pytest.mark.parametrize(
    "line", ["console.out.print(cell)", "err.print(cell)", "sys.stderr.isatty()", "terminal.write_line(cell)"]
)
def test_the_way_itself_is_not(line: str) -> None:
    assert not terminal_writes(ast.parse(line))


def test_tables_are_written_in_one_place() -> None:
    found = [
        f"{path.as_posix()}, line {node.lineno}"
        for path in TREES
        for node in nodes_of(path)
        if path.parts[0] in ("cli", "reports", "suppression", "sending")
        and path not in TABLES
        and isinstance(node, ast.Call)
        and dotted(node.func).rpartition(".")[2] in TABLE_WRITERS
    ]
    assert found == []


def test_pages_have_one_environment() -> None:
    """Its `finalize` shows control characters of every value; `drawn` is the only filter that marks values as safe."""
    places = [path.as_posix() for path in TREES if "Environment(" in (SENDER / path).read_text(encoding="utf-8")]
    assert sorted(places) == ["reports/pages/page.py", "templating/jinja_environment.py"]
    pages = [path.read_text(encoding="utf-8") for path in (SENDER / "reports/pages").glob("*.j2")]
    assert not any("| safe" in page or "|safe" in page or "autoescape" in page for page in pages)
