"""`sender.toml`: what the commands given in a folder, and in the folders below it, take where nothing else says so.

An option, the environment and the campaign come first. Reads one file; which value a key may have is for the campaign.
"""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sender.core.errors import InputError
from sender.core.near_names import did_you_mean, find_near_keys
from sender.core.upwards import folders_upwards, is_foreign

DEFAULTS_FILE = "sender.toml"
MAX_BYTES = 64 * 1024  # a pool of three thousand numbers
_MAX_DOTS = 500  # in a line: the parser takes quadratic time for the depth of a dotted key
_SIMPLER = "it holds a folder's defaults: see docs/operations.md for its keys"

# Each key, and for a table its keys. All but `state` and `results` are keys of a campaign; those of its `recipients`
# and its `message` stand alone here, as their options do.
RECIPIENT_KEYS = (
    "default_region",
    "phone_column",
    "region_column",
    "caution",
    "skip_types",
    "separator",
    "encoding",
)
MESSAGE_KEYS = ("smart_encoding", "max_segments")
PATH_KEYS = ("suppress", "prices", "state")
_LIMITS = (
    "max_messages",
    "max_skipped",
    "max_segments_per_message",
    "max_cost",
    "max_cost_per_day",
    "max_messages_per_day",
    "per_person",
    "queue",
    "max_rejected_in_a_row",
    "max_failed",
)
KEYS: Mapping[str, tuple[str, ...]] = {
    "state": (),
    "provider": (),
    "from": (),
    "dedupe": (),
    "skip_dead": (),
    "suppress": (),
    "prices": (),
    "rate": (),
    "concurrency": (),
    "transport": (),
    "retries": (),
    "timeout_s": (),
    "purpose": (),
    "on_unfinished": (),
    "late": (),
    "status_callback": (),
    **dict.fromkeys((*RECIPIENT_KEYS, *MESSAGE_KEYS), ()),
    "limits": _LIMITS,
    "window": ("hours", "days", "holidays", "zone", "outside", "rules"),
    "canary": ("first", "wait", "stop_if"),
    "approval": ("approvals", "signers", "revoked"),
    "sandbox": ("dialect", "latency_ms", "rate"),
    "listen": ("public_url", "port", "signatures", "opt_out_words", "keep_replies", "forward_to", "review_policy"),
    "results": ("format",),
}
SHORT_FORMS = ("window", "canary", "approval")  # tables for which a text or a number may stand, as in a campaign
_RESULT_FORMATS = ("csv", "jsonl")
# What is not here, and why.
_ALONE = "write its keys on lines of their own, as in `{}`, and not in a table"
_OWN = "it belongs in each campaign"
_ELSEWHERE: Mapping[str, str] = {
    "recipients": _ALONE.format('default_region = "US"'),
    "message": f"{_ALONE.format('max_segments = 2')}; the text belongs in each campaign",
    **dict.fromkeys(("body", "template", "media", "name", "edition", "start", "schedule", "columns", "sheet"), _OWN),
    "format": "write it below `[results]`",
    "api_key": "credentials are read from the environment, or from --env-file",
    "token": "credentials are read from the environment, or from --env-file",
}


@dataclass(frozen=True, slots=True)
class FolderDefaults:
    """The keys of a `sender.toml`, as TOML has them, and the line of each (from 1) by its dotted name."""

    file: Path
    keys: Mapping[str, Any]
    lines: Mapping[str, int]

    @property
    def state(self) -> Path | str | None:
        """The state directory of the folder, or the URL of a state as text; None where the file names none."""
        named = str(self.keys.get("state", ""))
        return named if "://" in named else self.path(named) if named else None

    @property
    def results_format(self) -> str | None:
        """The format of results on standard output."""
        value: str | None = self.keys.get("results", {}).get("format")
        return value

    def path(self, name: str) -> Path:
        """Return the path that `name` means: relative to the file's folder unless it is absolute."""
        return self.file.parent / Path(name).expanduser()


def find_folder_defaults(*starts: Path) -> FolderDefaults | None:
    """Return the nearest defaults, upwards from each of `starts` (absolute) in turn; None where there are none.

    Raises InputError for a file that cannot be used.
    """
    for start in starts:
        for folder in folders_upwards(start):
            defaults = read_folder_defaults(folder)
            if defaults is not None:
                return defaults
    return None


def read_folder_defaults(folder: Path) -> FolderDefaults | None:
    """Return the defaults in `folder`; None where there are none.

    Raises InputError, with file and line, for a file that is not TOML or has keys that are not known here, for one that
    is too large, too deep or no file (a pipe), and for one of another user: it says to whom messages go, and what they
    may cost.
    """
    file = folder / DEFAULTS_FILE
    try:
        _check_file(file)
        text = file.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError as error:
        raise InputError(f"not UTF-8 (byte {error.start})", where=str(file), fix="save the file as UTF-8") from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(file)) from None
    defaults = FolderDefaults(file, _parse(file, text), _find_lines(text))
    _check_keys(defaults)
    return defaults


def _check_file(file: Path) -> None:
    """Raise InputError for what is not a file of this user, or too large. Raises OSError if there is nothing."""
    found = file.stat()
    if is_foreign(file):
        raise InputError(
            "the file belongs to another user", where=str(file), fix="make it yours (chown), or move it away"
        )
    if not stat.S_ISREG(found.st_mode):
        raise InputError("is not a file", where=str(file), fix=_SIMPLER)
    if found.st_size > MAX_BYTES:
        raise InputError(f"is larger than {MAX_BYTES // 1024} KB", where=str(file), fix=_SIMPLER)


def _parse(file: Path, text: str) -> dict[str, Any]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.count(".") > _MAX_DOTS:
            raise InputError(f"more than {_MAX_DOTS} dots in a line", where=f"{file}, line {number}", fix=_SIMPLER)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise InputError("nested too deep", where=str(file), fix=_SIMPLER) from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            f"not valid TOML: {error}", where=str(file), fix="put text in quotes: `rate = '4/s'`"
        ) from None


def _check_keys(defaults: FolderDefaults) -> None:
    for key, value in defaults.keys.items():
        if key not in KEYS:
            raise _unknown(defaults, key, "")
        known = KEYS[key]
        if known and not isinstance(value, dict):
            if key in SHORT_FORMS:
                continue
            raise _wrong(
                defaults, key, "should be a table", f"write `[{key}]` on a line of its own, and its keys below"
            )
        for name in value if known else ():
            if name not in known:
                raise _unknown(defaults, name, key)
    for key in ("state", "prices"):
        if key in defaults.keys and not (isinstance(defaults.keys[key], str) and defaults.keys[key]):
            raise _wrong(defaults, key, "should be text", "write a path in quotes")
    if defaults.results_format not in (None, *_RESULT_FORMATS):
        raise _wrong(defaults, "results.format", "is not a format", f"choose one of {', '.join(_RESULT_FORMATS)}")


def _unknown(defaults: FolderDefaults, key: str, table: str) -> InputError:
    """The error for a key below `table` ("": the top) that a `sender.toml` does not have."""
    top = [name for name, inner in KEYS.items() if not inner or name in SHORT_FORMS]
    here = KEYS[table] if table else (*KEYS,)
    others = {name: inner for name, inner in KEYS.items() if inner and name != table}
    place = f"{table}.{key}".lstrip(".")
    if not table and key in _ELSEWHERE:
        return _wrong(defaults, place, "is not a key of a folder's defaults", _ELSEWHERE[key])
    near = find_near_keys(key, here, {**others, **({"": top} if table else {})})
    fix = did_you_mean(near) or (f"known here: {', '.join(here)}" if table else "docs/operations.md lists the keys")
    return _wrong(defaults, place, "unknown key", fix)


def _wrong(defaults: FolderDefaults, key: str, what: str, fix: str) -> InputError:
    line = defaults.lines.get(key)
    place = f"{defaults.file}, line {line}, key `{key}`" if line else f"{defaults.file}, key `{key}`"
    return InputError(what, where=place, fix=fix)


def _find_lines(text: str) -> dict[str, int]:
    """Return the line of each key, as far as it can be seen: of tables and of keys on a line of their own."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\[?\s*([\w.\"'-]+)\s*\]", line)
        key = re.match(r"\s*([\w.\"'-]+)\s*=", line)
        if header:
            table = header[1].strip("\"'") + "."
            lines.setdefault(table[:-1], number)
        elif key:
            name = key[1].strip("\"'")
            lines.setdefault(f"{table}{name}", number)
            lines.setdefault(f"{table}{name}".partition(".")[0], number)
            for inner in re.findall(r"[{,]\s*(\w+)\s*=", line):
                lines.setdefault(f"{table}{name}.{inner}", number)
    return lines
