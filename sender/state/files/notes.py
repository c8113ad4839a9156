"""Small JSON files for this user alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_note(file: Path, values: Mapping[str, Any]) -> None:
    """Write `values` to `file` with mode 0600. Raises OSError."""
    file.write_text(json.dumps(values), encoding="utf-8")
    file.chmod(0o600)


def read_note(file: Path) -> Any:
    """The JSON in `file`. Raises OSError or ValueError."""
    return json.loads(file.read_text(encoding="utf-8"))
