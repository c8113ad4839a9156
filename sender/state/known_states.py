"""The states that this user has made on this machine, so that a new one can offer their opt-outs.

A file in the XDG state home of the user. It is only a help: no command fails where it cannot be read or written.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from sender.core.output_files import write_text_beside

REGISTRY_FILE = "states.json"
_MOST = 200  # the newest; others are forgotten


def registry_path() -> Path:
    """Return where the registry is. Raises RuntimeError for a user without a home."""
    home = os.environ.get("XDG_STATE_HOME", "")
    base = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state"
    return base / "campaign-sender" / REGISTRY_FILE


def read_known_states() -> tuple[Path, ...]:
    """Return the state directories of this user (absolute), newest last; none where the registry cannot be read."""
    try:
        paths = json.loads(registry_path().read_text(encoding="utf-8"))["states"]
        return tuple(Path(path) for path in paths if isinstance(path, str))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return ()


def register_state(path: Path) -> None:
    """Enter a state directory into the registry, if it can be written."""
    with contextlib.suppress(Exception):
        file = registry_path()
        path = path.resolve()
        states = [str(known) for known in read_known_states() if known != path]
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = json.dumps({"states": [*states, str(path)][-_MOST:]}, indent=2, ensure_ascii=False)
        write_text_beside(file, text + "\n", mode=0o600)
