"""What a state directory needs of its disk: folders that survive a power cut, and a local file system.

A synced file in a folder that was not synced can be lost, and then the list would be sent to everybody again. A run's
lock and the ledger's log depend on locks and shared memory of a single machine. On a network file system two machines
may both believe that they hold the lock, and each would send everything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from sender.core.errors import StateError
from sender.core.lazy_modules import psutil

OVERRIDE = "SENDER_ALLOW_NETWORK_STATE"  # environment: `1` for a cluster file system whose locks are known to hold

# As the system names them. 9p is how WSL and virtual machines show folders of their host; vboxsf and vmhgfs too.
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\d?|smbfs|ncpfs|afs|auristorfs|afpfs|coda|ceph|glusterfs|lustre|gpfs|beegfs|orangefs|ocfs2|gfs2?"
    r"|9p|webdav|davfs2?|ftp|vboxsf|vmhgfs|prl_fs"
)
_NETWORK_FUSE = re.compile(
    r"fuse(blk)?\.(sshfs|(mount\.)?rclone|s3fs|gcsfuse|goofys|blobfuse2?|glusterfs|ceph|curlftpfs|davfs2|juicefs|seaweedfs"
    r"|vmhgfs-fuse)"
)


class Mounted(Protocol):
    """A mounted file system, as psutil returns it."""

    @property
    def mountpoint(self) -> str: ...
    @property
    def fstype(self) -> str: ...
    @property
    def opts(self) -> str: ...


def refuse_network(path: Path, mounts: Iterable[Mounted] | None = None) -> None:
    """Raise StateError if `path` (or the nearest folder above it) is on a network file system.

    `mounts` are those of this machine by default. On Windows a mapped drive and a UNC path count too.
    """
    if os.environ.get(OVERRIDE) == "1":
        return
    mounted = psutil.disk_partitions(all=True) if mounts is None else mounts
    network_type = _network_type(path.expanduser().resolve(), mounted)
    if network_type is not None:
        raise StateError(
            f"the state directory is on a network file system ({network_type}),"
            " whose locks cannot keep two machines apart",
            where=str(path),
            fix=f"name a folder on a local disk with --state-dir, or set {OVERRIDE}=1 if you know that its locks hold",
        )


def make_folder(path: Path, mode: int = 0o700) -> None:
    """Make `path` and missing folders above it so that they survive a power cut. Raises OSError."""
    if path.is_dir():
        return
    make_folder(path.parent, 0o777)
    path.mkdir(mode, exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Write the folder's entries to disk. Windows has no such call. Raises OSError."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _network_type(path: Path, mounts: Iterable[Mounted]) -> str | None:
    """Return the file system's type if it is a network's, else None. Of mounts on the same folder the last counts."""
    if str(path).startswith(("\\\\", "//")):
        return "UNC path"
    deepest, parts = None, 0
    for mount in mounts:
        point = Path(mount.mountpoint)
        if path.is_relative_to(point) and len(point.parts) >= parts:
            deepest, parts = mount, len(point.parts)
    if deepest is None:
        return None
    kind = deepest.fstype.lower()
    network = _NETWORK.fullmatch(kind) or _NETWORK_FUSE.fullmatch(kind)
    remote = "remote" in deepest.opts.split(",")
    return deepest.fstype or "remote drive" if network or remote else None
