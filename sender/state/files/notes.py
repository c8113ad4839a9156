"""Small JSON files for this user alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sender.core.output_files import write_whole


def write_note(file: Path, values: Mapping[str, Any]) -> None:
    """Write `values` to `file` with mode 0600, whole or not at all. Raises OSError."""
    write_whole(file, lambda stream: stream.write(json.dumps(values).encode()))


def read_note(file: Path) -> Any:
    """The JSON in `file`. Raises OSError or ValueError."""
    return json.loads(file.read_text(encoding="utf-8"))
