"""Words that the language rule of CONTRIBUTING.md excludes, found where a user can read them.

`python -m tests.wording [PATH ...]` lists them by file and line and counts them for each package; without a path it reads
the README, the changelog, CONTRIBUTING, the documents, the templates and the strings of `sender/`. Docstrings and comments
are read with `--docstrings` and `--comments`.
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# What the language rule excludes, and what to write in its place.
RULES: dict[str, str] = {
    r"told": "shown, said, or the verb of what happened",
    r"so many": "a number, or `up to`",
    r"for so long": "for at most, or a duration",
    r"how manyth": "the number of",
    r"(?:comes?|came|coming) to(?! (?:an end|rest))": "is, or equals",
    r"stands? (?:beside|there|by|on|at|in(?! (?:the|its) way))": "is, or is listed",
    r"beside": "next to, with, compared with",
    r"mend(?:s|ed|ing)?": "fix",
    r"reckon(?:s|ed|ing)?": "estimate",
    r"words?": "status, reason, or text",
    r"(?<!there\s)(?:is|are|was|were) no (?!longer|more|such|less|later|earlier|older)[a-z]+": "is not a",
    r"who says it": "its source",
    r"laws?": "totals",
    r"as far as": "what, or where",
    r"come again": "retry",
    r"nobody can say": "is unknown",
    r"no \w+ answers to": "is called",
    r"as ever": "as usual",
    r"all the same": "anyway",
    r"but for": "except",
    r"go(?:es|ing)? on": "continue",
    r"what (?:became|becomes) of": "its status, or its result",
    r"dearest": "most expensive",
    r"under way": "in flight, or running",
    r"anew": "again",
}

# Where one of them is the right word: the sentence around it must match.
ALLOWED: tuple[str, ...] = (
    r"opt-?(?:out|in) words?",
    r"(?:stop|help|start|reserved|first|last|whole|single|each) words?",
    r"words? of (?:a|the) (?:text|message|name|reply)",
    r"own words",
    r"in other words",
    r"told apart",
    r"conservation law",
)

_PATTERN = re.compile(
    "|".join(rf"(?P<r{number}>\b(?:{rule})\b)" for number, rule in enumerate(RULES)).replace(" ", r"\s+"), re.IGNORECASE
)
_ALLOWED = re.compile("|".join(rule.replace(" ", r"\s+") for rule in ALLOWED), re.IGNORECASE)
_CODE_SPAN = re.compile(r"`[^`\s]+`")
_COUNTEREXAMPLES = re.compile(r"^\| do not write \|.*?(?=^[^|]|\Z)", re.DOTALL | re.MULTILINE)
_MARKUP = re.compile(r"\{%.*?%\}|\{#.*?#\}|<style>.*?</style>|<[^<>]*>", re.DOTALL)
_EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_SQL = re.compile(r"\s*(?:SELECT|WITH|INSERT|UPDATE|DELETE|CREATE|PRAGMA)\b")


@dataclass(frozen=True, slots=True)
class Finding:
    path: Path
    line: int
    phrase: str
    better: str
    excerpt: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.phrase!r} ({self.better}): {self.excerpt}"


@dataclass(frozen=True, slots=True)
class Passage:
    """A text and the line of its file on which it begins."""

    text: str
    line: int


def findings(path: Path, *, docstrings: bool = False, comments: bool = False) -> Iterator[Finding]:
    """The excluded words in a file: in the strings of Python, else in the whole text."""
    source = path.read_text(encoding="utf-8")
    shown = path.resolve()
    shown = shown.relative_to(ROOT) if shown.is_relative_to(ROOT) else path
    if path.suffix == ".py":
        passages = list(_strings(source, docstrings=docstrings))
        passages += _comments(source) if comments else []
    else:
        passages = [Passage(_prose_of_template(source) if path.suffix == ".j2" else _prose_of_page(source), 1)]
    for passage in sorted(passages, key=lambda passage: passage.line):
        for match, number in _matches(passage.text):
            line = passage.line + passage.text.count("\n", 0, match.start())
            excerpt = " ".join(passage.text[max(0, match.start() - 40) : match.end() + 40].split())
            yield Finding(shown, line, " ".join(match[0].split()), list(RULES.values())[number], excerpt)


def public_files() -> list[Path]:
    """The files whose text a user can read."""
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
    folders = [("docs", "*.md"), ("templates", "*.j2"), ("campaigns", "*.yaml"), ("sender", "*.j2"), ("sender", "*.py")]
    found = [page for page in pages if page.exists()]
    return found + [path for folder, pattern in folders for path in sorted((ROOT / folder).rglob(pattern))]


def package_of(path: Path) -> str:
    """The package of a module of `sender`, else the file."""
    parts = path.parts
    return f"{parts[0]}/{parts[1]}/" if parts[0] == "sender" and len(parts) > 2 else str(path)


def _matches(text: str) -> Iterator[tuple[re.Match[str], int]]:
    text = _CODE_SPAN.sub(lambda span: "`" * len(span[0]), text)  # names of code are not prose
    allowed = [match.span() for match in _ALLOWED.finditer(text)]
    for match in _PATTERN.finditer(text):
        if not any(start <= match.start() and match.end() <= end for start, end in allowed):
            yield match, int((match.lastgroup or "r0")[1:])


def _prose_of_page(source: str) -> str:
    """The text of a page at its place; the first column of a table of what not to write is blank."""
    return _COUNTEREXAMPLES.sub(lambda table: re.sub(r"^\|[^|\n]*\|", _blank, table[0], flags=re.MULTILINE), source)


def _prose_of_template(source: str) -> str:
    """The text of a template at its place, and the strings of its expressions; tags and code are blank."""
    text = _MARKUP.sub(_blank, source)
    return _EXPRESSION.sub(lambda match: re.sub(r'"[^"]*"|[^\n]', _blank_code, match[0]), text)


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _blank_code(match: re.Match[str]) -> str:
    return match[0] if len(match[0]) > 1 else " "


def _strings(source: str, *, docstrings: bool) -> Iterator[Passage]:
    tree = ast.parse(source)
    documented = {id(node.body[0].value) for node in ast.walk(tree) if _has_docstring(node)}  # type: ignore[attr-defined]
    pieces = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield from _prose("".join(_shown(part) for part in node.values), node)
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in pieces
            and (docstrings or id(node) not in documented)
        ):
            yield from _prose(node.value, node)


def _prose(text: str, node: ast.expr) -> Iterator[Passage]:
    # A key, a column or a name is an interface, not a sentence; SQL is code.
    if " " in text.strip() and not _SQL.match(text):
        yield Passage(text, node.lineno)


def _shown(part: ast.expr) -> str:
    return part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "…"


def _has_docstring(node: ast.AST) -> bool:
    if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or not node.body:
        return False
    first = node.body[0]
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)


def _comments(source: str) -> list[Passage]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [Passage(token.string, token.start[0]) for token in tokens if token.type == tokenize.COMMENT]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.wording", description="Find what the language rule excludes."
    )
    parser.add_argument("paths", nargs="*", type=Path, help="files or folders; default: everything a user can read")
    parser.add_argument("--docstrings", action="store_true", help="read docstrings, too")
    parser.add_argument("--comments", action="store_true", help="read comments, too")
    parser.add_argument("--counts", action="store_true", help="print the counts only")
    options = parser.parse_args()
    files = [
        file
        for path in options.paths
        for file in (sorted(path.rglob("*")) if path.is_dir() else [path])
        if file.suffix in {".py", ".md", ".j2", ".yaml"}
    ]
    counts: Counter[str] = Counter()
    for file in files or public_files():
        for finding in findings(file, docstrings=options.docstrings, comments=options.comments):
            counts[package_of(finding.path)] += 1
            if not options.counts:
                sys.stdout.write(f"{finding}\n")
    for package, count in counts.most_common():
        sys.stderr.write(f"{count:5}  {package}\n")
    return 1 if counts else 0


if __name__ == "__main__":
    sys.exit(main())
