"""The program's own code as syntax trees, each parsed when a test first looks at it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

SENDER = Path(__file__).resolve().parents[1] / "sender"


class SyntaxTrees(Mapping[Path, ast.Module]):
    """Keys are the paths of the modules below `sender/`, sorted."""

    def __init__(self) -> None:
        self._paths = sorted(path.relative_to(SENDER) for path in SENDER.rglob("*.py"))

    def __getitem__(self, path: Path) -> ast.Module:
        return _parse(path)

    def __iter__(self) -> Iterator[Path]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse((SENDER / path).read_text(encoding="utf-8"))


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """All nodes of a module, as `ast.walk` yields them."""
    return tuple(ast.walk(_parse(path)))


TREES = SyntaxTrees()
