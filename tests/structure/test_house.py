"""How `sender/` is laid out: what is where, what has which name, how long things are. CONTRIBUTING.md has the rules."""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from sender.cli.entry import COMMANDS
from tests.syntax_trees import SENDER, TREES, nodes_of

ROOT = Path(__file__).resolve().parents[2]

# Folders whose files of the same name have the same role.
PARALLEL = (
    {Path("providers"), Path("sandbox")},  # an API as the adapter speaks it, and as the simulator does
    {Path("delivery/webhooks"), Path("sandbox")},  # an ASGI app and its server
    {Path("providers"), Path("transport")},  # base.py: the protocol of the package
    {Path("state"), *(Path("state") / name for name in ("sqlite", "postgres", "files"))},  # protocols, implementations
    {Path(), Path("core")},  # errors.py: the tree, and the library's door to it
)
VAGUE = {"one", "told", "found", "made", "given", "kept", "wanted"}

MOST_LAYERS = 14
MOST_PARAMETERS = 10
MOST_LINES_OF_FILE = 420
MOST_LINES_OF_FUNCTION = 55
MOST_VAGUE = 0.005

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[str, Function]]:
    for path in TREES:
        for node in nodes_of(path):
            if isinstance(node, Function):
                yield f"{path.as_posix()}: {node.name}", node


def is_command(function: Function) -> bool:
    """Whether click calls it, with a parameter for each option."""
    names = {ast.unparse(decorator).partition("(")[0].rpartition(".")[2] for decorator in function.decorator_list}
    return bool(names & {"command", "group"})


def test_the_top_holds_the_library_and_nothing_else() -> None:
    files = {path.name for path in SENDER.iterdir() if path.is_file()}
    assert files == {"__init__.py", "__main__.py", "py.typed", "api.py", "errors.py"}


@pytest.mark.parametrize("path", [path for path in TREES if path.name == "__init__.py"], ids=Path.as_posix)
def test_an_init_file_holds_a_docstring_and_what_it_exports(path: Path) -> None:
    tree = TREES[path]
    assert ast.get_docstring(tree)
    if path == Path("__init__.py"):  # the library's names are loaded when they are first used
        return
    for node in tree.body[1:]:
        exports = isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]
        assert exports or isinstance(node, ast.Import | ast.ImportFrom), f"line {node.lineno} is logic"


def test_file_names_are_unique_but_for_parallel_roles() -> None:
    folders: dict[str, list[Path]] = defaultdict(list)
    for path in TREES:
        is_command_file = path.parent == Path("cli") and path.stem in {module for module, _ in COMMANDS.values()}
        if path.name != "__init__.py" and not is_command_file:  # a command's file has the command's name
            folders[path.name].append(path.parent)
    repeated = {
        name: [folder.as_posix() for folder in places]
        for name, places in folders.items()
        if any(not any({a, b} <= rooms for rooms in PARALLEL) for a, b in combinations(places, 2))
    }
    assert repeated == {}


def test_a_class_name_means_one_thing() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path in TREES:
        for node in nodes_of(path):
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(f"{path.as_posix()}:{node.lineno}")
    assert {name: at for name, at in places.items() if len(at) > 1} == {}


def test_import_layers_are_few() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = [contract["layers"] for contract in project["tool"]["importlinter"]["contracts"] if "layers" in contract]
    assert len(layers) == 1
    assert len(layers[0]) <= MOST_LAYERS


def test_functions_have_few_parameters() -> None:
    many = []
    for name, function in functions():
        arguments = function.args
        count = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
        if count > MOST_PARAMETERS and not is_command(function):
            many.append(f"{name}: {count} parameters")
    assert many == []


def test_files_and_functions_are_short() -> None:
    sources = {path: (SENDER / path).read_text(encoding="utf-8").count("\n") for path in TREES}
    long = [f"{path.as_posix()}: {lines} lines" for path, lines in sources.items() if lines > MOST_LINES_OF_FILE]
    for name, function in functions():
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > MOST_LINES_OF_FUNCTION:
            long.append(f"{name}: {lines} lines")
    assert long == []


def test_names_are_nouns() -> None:
    """A local name says what it holds: `report`, `entry`, `number`, not that something was found."""
    names = [
        node.id if isinstance(node, ast.Name) else node.arg
        for path in TREES
        for node in nodes_of(path)
        if isinstance(node, ast.Name | ast.arg)
    ]
    vague = sum(name in VAGUE for name in names)
    assert vague / len(names) < MOST_VAGUE, f"{vague} of {len(names)}"
