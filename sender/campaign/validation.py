"""pydantic's errors as sentences about the file: line, key, what is wrong, what to write.

Knows nothing of campaigns; the caller says which keys are allowed where.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from pydantic import ValidationError

from sender.campaign import safe_yaml
from sender.core.errors import Problem
from sender.core.near_names import did_you_mean

_LONGEST = 400  # characters of a part of a sentence
_LONGEST_KEY = 100  # that is compared with others: comparing takes quadratic time
_MOST_LISTED = 12


class KnownKeys(Protocol):
    """The keys that a file may have."""

    def here(self, parents: safe_yaml.KeyPath) -> list[str]:
        """Return the keys allowed below a path."""

    def near(self, path: safe_yaml.KeyPath) -> list[str]:
        """Return the keys that the unknown one at `path` may stand for; those of another place with its name."""


def explain(
    error: ValidationError,
    data: dict[str, Any],
    lines: safe_yaml.Document,
    *,
    known_keys: KnownKeys,
    file: str = "campaign",
) -> tuple[Problem, ...]:
    """Return what is wrong with `data`, in file order, one problem a key.

    `known_keys` are those of the file; `file` names the kind of file in the sentences.
    """
    problems = _find_problems(error, data, lines, known_keys, file)
    return tuple(sorted(problems, key=lambda problem: problem.line or 0))


def describe_error(error: ValidationError) -> str:
    """Return what is wrong with a single value, such as `should be a whole number`."""
    what, fix = _explain(error.errors()[0], (), None, "")
    return f"{what}: {fix}" if fix and fix.startswith(("choose", "did you")) else what


def _find_problems(
    error: ValidationError, data: dict[str, Any], lines: safe_yaml.Document, known_keys: KnownKeys | None, file: str
) -> Iterator[Problem]:
    seen: set[str] = set()
    for detail in error.errors():
        path = _written_path(detail["loc"], data)
        key = ".".join(str(part) for part in path)
        if key in seen:
            continue
        seen.add(key)
        what, fix = _explain(detail, path, known_keys, file)
        given = lines.is_given(path)
        yield Problem(lines.line(path), _shorten(key) or None, _shorten(what), fix and _shorten(fix), given)


def _shorten(text: str) -> str:
    """Return `text`, or its beginning where a value or a key of the file makes a page of it."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}... ({len(text):,} characters)"


def _written_path(loc: tuple[int | str, ...], data: Any) -> safe_yaml.KeyPath:
    """Return pydantic's location without the parts that are not in the file (short forms, union branches)."""
    path: list[int | str] = []
    here = data
    for part in loc:
        missing_key = part == loc[-1] and isinstance(here, Mapping)
        if isinstance(here, Mapping) and (part in here or missing_key):
            here = here.get(part)
        elif isinstance(here, list | tuple) and isinstance(part, int) and part < len(here):
            here = here[part]
        else:
            continue
        path.append("from" if part == "from_" else part)
    return tuple(path)


_EXPECTED = {
    "bool": ("should be true or false", "write true or false"),
    "int": ("should be a whole number", "write a whole number"),
    "float": ("should be a number", "write a number"),
    "string": ("should be text", "write text"),
    "dict": ("should be a mapping", "write a mapping (`key: value`)"),
    "model": ("should be a mapping", "write a mapping (`key: value`)"),
    "tuple": ("should be a list", "write a list (`- item`)"),
    "list": ("should be a list", "write a list (`- item`)"),
}
_FORMS = {
    "name": "leave out / and \\, and keep it under 100 characters",
    "max_price": "write an amount with at most four decimals, such as 0.05",
}


def _explain(detail: Any, path: safe_yaml.KeyPath, known_keys: KnownKeys | None, file: str) -> tuple[str, str | None]:
    kind, key = str(detail["type"]), str(path[-1]) if path else ""
    if kind == "string_unicode":
        return "is not text (it has bytes that are not UTF-8)", f"write `{key}` as text"
    if kind == "extra_forbidden":
        known, near = ([], []) if known_keys is None else (known_keys.here(path[:-1]), known_keys.near(path))
        if near:
            return "unknown key", f"{did_you_mean(near)} docs/campaign.md lists all keys"
        few = f"known here: {', '.join(known)}; " if 0 < len(known) <= _MOST_LISTED else ""
        return "unknown key", f"{few}docs/campaign.md lists all keys"
    if kind == "missing":
        return "is missing", f"add `{key}:` to the {file}" + (
            f", or --{key} to the command" if key == "provider" else ""
        )
    if kind == "value_error":
        return str(detail["ctx"]["error"]), None
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", str(detail["ctx"]["expected"]))
        near = difflib.get_close_matches(str(detail["input"])[:_LONGEST_KEY], choices, n=1, cutoff=0.5)
        return _reword(detail), f"did you mean `{near[0]}`?" if near else f"choose one of {', '.join(choices)}"
    for prefix, (what, fix) in _EXPECTED.items():
        if kind.startswith(prefix) and kind.endswith(("_type", "_parsing")):
            return what, fix
    if kind in ("too_short", "string_too_short"):
        return "is empty", f"write a value for `{key}`, or leave the key out"
    if kind == "string_pattern_mismatch":
        return "has characters or a form that is not allowed", _FORMS.get(key)
    return _reword(detail), "write a number in that range" if kind.startswith(("greater", "less")) else None


def _reword(detail: Any) -> str:
    """Return pydantic's sentence without the program's own name for the value: `should be greater than 0`."""
    return re.sub(r"^(?:Input|String|List|Tuple|Dictionary|Set|Value|Data) (?=should)", "", str(detail["msg"]))
