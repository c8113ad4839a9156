"""Whether this process runs in a container, whose files go when it ends."""

from __future__ import annotations

import os
import re
from pathlib import Path

# Docker and Podman leave a file; Kubernetes a variable; systemd-nspawn, LXC and Podman the variable `container`. Under
# cgroup v1 the group's name says so (seen 2026-11 with Docker 20 to 27, Podman 4 and 5, containerd 1.7).
_FILES = (".dockerenv", "run/.containerenv")
_GROUP = re.compile(r"/(docker|kubepods|containerd|lxc|libpod|podman|crio|machine\.slice/libpod)\b")


def in_container(root: Path = Path("/")) -> bool:
    """Whether this process runs in a container, as far as its system shows."""
    if any((root / name).exists() for name in _FILES):
        return True
    if os.environ.get("KUBERNETES_SERVICE_HOST") or os.environ.get("container"):  # noqa: SIM112 (its name)
        return True
    try:
        return _GROUP.search((root / "proc/1/cgroup").read_text(encoding="utf-8")) is not None
    except (OSError, UnicodeDecodeError):
        return False
