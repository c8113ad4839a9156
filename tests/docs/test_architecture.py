"""docs/architecture.md against the tree: its module map, its import layers, its state machines."""

from __future__ import annotations

import re
import tomllib
from collections import Counter

from sender.core.outcomes import FINAL, RANK, SubmissionState
from tests.docs.pages import DOCS, ROOT, blocks, read

TEXT = read(DOCS / "architecture.md")


def mapped() -> list[str]:
    """The modules and packages of the map, dotted."""
    names = []
    for package, table in re.findall(r"^### `(sender[\w.]*)`\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL):
        names.append(package)
        names += [f"{package}.{module}" for module in re.findall(r"^\| `(\w+)` \| \S", table, re.MULTILINE)]
    return names


def test_the_map_is_the_tree() -> None:
    """Each package has a heading and each module a line; `__init__` holds re-exports only and has none."""
    tree = set()
    for path in (ROOT / "sender").rglob("*.py"):
        *parents, module = path.relative_to(ROOT).with_suffix("").parts
        tree.add(".".join(parents if module == "__init__" else [*parents, module]))
    page = set(mapped()) - {"sender.__init__"}
    assert sorted(tree - page) == [], "modules without a line in docs/architecture.md"
    assert sorted(page - tree) == [], "lines in docs/architecture.md without a module"
    assert [name for name, lines in Counter(mapped()).items() if lines > 1] == [], "more than one line for a module"


def test_the_layers_are_those_that_are_checked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [layers] = [
        contract["layers"] for contract in project["tool"]["importlinter"]["contracts"] if contract["type"] == "layers"
    ]
    shown = re.search(r"## Import layers.*?```text\n(.*?)```", TEXT, re.DOTALL)
    assert shown
    assert [re.split(" · ", line) for line in shown[1].splitlines()] == [
        [name.removeprefix("sender.") for name in re.split(r" [|:] ", layer)] for layer in layers
    ]


def transitions(diagram: str) -> set[tuple[str, str]]:
    return set(re.findall(r"^    (\S+) --> (\w+|\[\*\])", diagram, re.MULTILINE))


def test_the_submission_states() -> None:
    submission, _ = (block for block in blocks(TEXT, "mermaid") if block.startswith("stateDiagram"))
    assert {state for pair in transitions(submission) for state in pair} - {"[*]"} == {*SubmissionState}


def test_a_delivery_status_moves_forward_by_rank() -> None:
    """The diagram has every move that the ranks allow, and no other."""
    _, delivery = (block for block in blocks(TEXT, "mermaid") if block.startswith("stateDiagram"))
    moves = {(old.value, new.value) for old in RANK for new in RANK if RANK[new] > RANK[old]}
    drawn = {pair for pair in transitions(delivery) if "[*]" not in pair}
    assert drawn == moves
    ends = {old for old, new in transitions(delivery) if new == "[*]"}
    assert ends == {status.value for status in FINAL} - {"unconfirmed"}


def test_the_files_it_names_exist() -> None:
    names = re.findall(r"`((?:\w+/)+(?:\w+\.py)?)`", TEXT)
    assert len(names) > 10
    assert [name for name in names if not (ROOT / "sender" / name).exists()] == []
