"""A state directory on a network file system is refused, whatever the system calls it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from sender.core.errors import StateError
from sender.core.filesystem import OVERRIDE, refuse_network


class Mount(NamedTuple):
    mountpoint: str
    fstype: str
    opts: str = "rw"


ROOT = Mount("/", "ext4")


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        pytest.param([ROOT], None, id="a local disk"),
        pytest.param([ROOT, Mount("/srv", "xfs")], None, id="another local disk"),
        pytest.param([ROOT, Mount("/srv", "tmpfs")], None, id="memory"),
        pytest.param([ROOT, Mount("/srv/texts", "overlay")], None, id="a container's own"),
        pytest.param([ROOT, Mount("/srv", "fuseblk")], None, id="a local disk through FUSE"),
        pytest.param([ROOT, Mount("/srv", "fuse.encfs")], None, id="an encrypted folder"),
        pytest.param([ROOT, Mount("/srv2", "nfs4")], None, id="beside a network one"),
        pytest.param([ROOT, Mount("/srv/texts/state/deep", "nfs4")], None, id="above a network one"),
        pytest.param(
            [ROOT, Mount("/srv", "nfs"), Mount("/srv/texts", "ext4")], None, id="a local disk in a network one"
        ),
        pytest.param([Mount("/srv", "nfs"), ROOT, Mount("/srv", "ext4")], None, id="a local disk over a network one"),
        pytest.param([ROOT, Mount("/srv", "nfs")], "nfs", id="NFS"),
        pytest.param([ROOT, Mount("/srv", "nfs4")], "nfs4", id="NFS 4"),
        pytest.param([ROOT, Mount("/srv", "cifs")], "cifs", id="Windows share on Linux"),
        pytest.param([ROOT, Mount("/srv", "smb3")], "smb3", id="SMB 3"),
        pytest.param([ROOT, Mount("/srv", "smbfs")], "smbfs", id="Windows share on macOS"),
        pytest.param([ROOT, Mount("/srv", "9p")], "9p", id="the host's folder in WSL"),
        pytest.param([ROOT, Mount("/srv", "fuse.sshfs")], "fuse.sshfs", id="sshfs"),
        pytest.param([ROOT, Mount("/srv", "fuse.rclone")], "fuse.rclone", id="rclone"),
        pytest.param([ROOT, Mount("/srv", "ext4"), Mount("/srv", "nfs4")], "nfs4", id="over a local disk"),
        pytest.param([ROOT, Mount("/srv", "NTFS", "rw,remote")], "NTFS", id="a mapped drive"),
        pytest.param([ROOT, Mount("/srv", "", "rw,remote")], "remote drive", id="a mapped drive that is away"),
    ],
)
def test_a_network_file_system_is_refused(
    mounts: list[Mount], kind: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path("/srv/texts/state")  # need not exist
    if kind is None:
        refuse_network(path, mounts)
        return
    with pytest.raises(StateError) as caught:
        refuse_network(path, mounts)
    assert f"({kind})" in caught.value.what
    assert "--state-dir" in str(caught.value.fix)
    monkeypatch.setenv(OVERRIDE, "1")
    refuse_network(path, mounts)


def test_a_path_on_another_machine_is_refused() -> None:
    with pytest.raises(StateError, match="UNC path"):
        refuse_network(UncPath("//server/share/state"), [ROOT])


class UncPath(type(Path())):  # type: ignore[misc]
    """A path that stays as it is, as on Windows."""

    def resolve(self, strict: bool = False) -> UncPath:
        return self


def test_this_machines_own_disk_is_taken(tmp_path: Path) -> None:
    refuse_network(tmp_path)


def test_a_link_is_followed_to_where_the_files_are(tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "remote")
    with pytest.raises(StateError):
        refuse_network(tmp_path / "state", [ROOT, Mount(str((tmp_path / "remote").resolve()), "nfs4")])
