"""What may be written where, and how: no file is lost that was not to be replaced, and none is left half written."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest

from sender.core import output_files
from sender.core.errors import InputError
from sender.core.output_files import (
    PRIVATE,
    PUBLIC,
    OutputKind,
    Protected,
    check_output,
    check_output_folder,
    folder_beside,
    write_beside,
    write_text_beside,
)

NOTE = OutputKind("a note", lambda path: path.read_text().startswith("note"))
BOX = OutputKind("a box", lambda path: {entry.name for entry in path.iterdir()} == {"lid"})

posix = pytest.mark.skipif(os.name != "posix", reason="links need a privilege there, and modes mean little")


class Place:
    """A folder with a list, a state directory and somebody's files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in {
            "people.csv": "phone\n",
            "note.txt": "note of last week",
            "letter.txt": "dear Ada",
            "empty.txt": "",
            ".sender/ledger.sqlite3": "ledger",
            ".sender/runs/r1/results.csv": "note of a run",
            "other/suppression.sqlite3": "opt-outs",
            "plan/manifest.json": "{}",
        }.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.protected = Protected(
            (folder / "people.csv", folder / "plan"),
            folder / ".sender",
            own=(folder / ".sender/runs/r1/results.csv",),
        )

    def files(self) -> dict[str, str]:
        return {
            path.relative_to(self.folder).as_posix(): path.read_text()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path)


FREE = [
    pytest.param("new.txt", id="new"),
    pytest.param("./other.txt", id="new, spelled with a dot"),
    pytest.param("note.txt", id="of its kind"),
    pytest.param("empty.txt", id="empty"),
    pytest.param(".sender/runs/r1/results.csv", id="its own place in the state"),
    pytest.param(".sender/runs/../runs/r1/results.csv", id="its own place, by another way"),
]

REFUSED = [
    pytest.param("people.csv", "an input", id="input"),
    pytest.param("plan/../people.csv", "an input", id="input by another way"),
    pytest.param("plan/manifest.json", "an input", id="file of an input folder"),
    pytest.param("plan/new.txt", "an input", id="new file in an input folder"),
    pytest.param(".sender/ledger.sqlite3", "in the state directory", id="ledger"),
    pytest.param(".sender/new.txt", "in the state directory", id="new file in the state"),
    pytest.param(".sender/runs/r1/other.csv", "in the state directory", id="beside its own place"),
    pytest.param("other/suppression.sqlite3", "in the state directory", id="another state"),
    pytest.param("other/new.txt", "in the state directory", id="new file in another state"),
    pytest.param("nowhere/new.txt", "there is no folder", id="no folder"),
    pytest.param("people.csv/new.txt", "there is no folder", id="folder is a file"),
    pytest.param("plan", "not a file", id="folder"),
]


class TestCheckOutput:
    @pytest.mark.parametrize("path", FREE)
    def test_may_be_written(self, place: Place, path: str) -> None:
        assert check_output(path, NOTE, place.protected) == (place.folder / path).resolve()

    @pytest.mark.parametrize("force", [False, True, None], ids=["", "force", "without the option"])
    @pytest.mark.parametrize(("path", "what"), REFUSED)
    def test_is_refused_even_with_force(self, place: Place, path: str, what: str, force: bool | None) -> None:
        before = place.files()
        with pytest.raises(InputError) as caught:
            check_output(path, NOTE, place.protected, force=force)
        assert what in caught.value.what
        assert caught.value.where == path
        assert caught.value.fix
        assert "\n" not in caught.value.what
        assert place.files() == before

    def test_another_kind_needs_force(self, place: Place) -> None:
        with pytest.raises(InputError, match="exists and is not a note") as caught:
            check_output("letter.txt", NOTE, place.protected)
        assert "--force" in (caught.value.fix or "")
        assert check_output("letter.txt", NOTE, place.protected, force=True).name == "letter.txt"

    def test_no_force_is_offered_where_there_is_none(self, place: Place) -> None:
        with pytest.raises(InputError, match="exists and is not a note") as caught:
            check_output("letter.txt", NOTE, place.protected, force=None)
        assert "--force" not in (caught.value.fix or "")

    def test_what_cannot_be_read_is_of_another_kind(self, place: Place) -> None:
        (place.folder / "raw.bin").write_bytes(b"\xff\xfe\x00note")
        with pytest.raises(InputError, match="exists and is not a note"):
            check_output("raw.bin", NOTE)

    @pytest.mark.parametrize(("path", "what"), [("people.csv", "an input"), (".sender/ledger.sqlite3", "in the state")])
    def test_a_hard_link_is_the_file(self, place: Place, path: str, what: str) -> None:
        os.link(place.folder / path, place.folder / "same.txt")
        with pytest.raises(InputError, match=what):
            check_output("same.txt", NOTE, place.protected, force=True)

    @posix
    @pytest.mark.parametrize(
        ("to", "what"),
        [
            pytest.param("people.csv", "an input", id="to an input"),
            pytest.param(".sender/ledger.sqlite3", "in the state directory", id="to the ledger"),
            pytest.param(".sender/new.txt", "in the state directory", id="to a new file in the state"),
            pytest.param("letter.txt", "is not a note", id="to another kind"),
            pytest.param("nowhere/new.txt", "there is no folder", id="to no folder"),
            pytest.param("plan", "not a file", id="to a folder"),
            pytest.param("link.txt", "Too many levels of symbolic links", id="to itself"),
        ],
    )
    def test_a_link_is_what_it_leads_to(self, place: Place, to: str, what: str) -> None:
        (place.folder / "link.txt").symlink_to(to)
        with pytest.raises(InputError, match=what):
            check_output("link.txt", NOTE, place.protected)

    @posix
    def test_a_link_in_an_own_folder_is_followed(self, place: Place) -> None:
        (place.folder / "link.txt").symlink_to("note.txt")
        (place.folder / "folder").symlink_to("plan", target_is_directory=True)
        assert check_output("link.txt", NOTE) == place.folder / "note.txt"
        assert check_output("folder/new.txt", NOTE) == place.folder / "plan" / "new.txt"

    @posix
    @pytest.mark.parametrize("mode", [0o777, 0o1777, 0o707], ids=["all", "sticky", "others"])
    @pytest.mark.parametrize("force", [False, True])
    @pytest.mark.parametrize("path", ["shared/link.txt", "shared/folder/new.txt"], ids=["file", "folder"])
    def test_a_link_in_a_folder_of_all_is_refused(self, place: Place, mode: int, force: bool, path: str) -> None:
        shared = place.folder / "shared"
        shared.mkdir()
        (shared / "link.txt").symlink_to(place.folder / "note.txt")
        (shared / "folder").symlink_to(place.folder, target_is_directory=True)
        shared.chmod(mode)
        with pytest.raises(InputError, match="symbolic link in a folder that others may write to"):
            check_output(path, NOTE, force=force)
        assert check_output("shared/new.txt", NOTE) == shared / "new.txt"

    @posix
    @pytest.mark.parametrize("chain", ["file", "folder"])
    def test_a_link_to_a_link_in_a_folder_of_all_is_refused(self, place: Place, chain: str) -> None:
        shared = place.folder / "shared"
        shared.mkdir()
        (shared / "link.txt").symlink_to("../note.txt")
        (place.folder / "first").symlink_to("shared/link.txt" if chain == "file" else "shared")
        shared.chmod(0o1777)
        with pytest.raises(InputError, match="symbolic link in a folder that others may write to"):
            check_output("first" if chain == "file" else "first/link.txt", NOTE)

    @posix
    def test_the_folder_above_a_link_is_that_of_where_it_leads(self, place: Place) -> None:
        """As the system has it, and not as the letters of the path read."""
        (place.folder / "deep" / "er").mkdir(parents=True)
        (place.folder / "link").symlink_to("deep/er", target_is_directory=True)
        assert check_output("link/../new.txt", NOTE) == place.folder / "deep" / "new.txt"
        assert check_output("link/../../note.txt", NOTE) == place.folder / "note.txt"

    @posix
    def test_a_group_with_others_in_it_counts_as_others(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        shared = place.folder / "shared"
        shared.mkdir()
        (shared / "link.txt").symlink_to(place.folder / "note.txt")
        shared.chmod(0o770)
        monkeypatch.setattr(output_files, "_is_own_group", lambda _: False)
        with pytest.raises(InputError, match="others may write to"):
            check_output("shared/link.txt", NOTE)
        monkeypatch.setattr(output_files, "_is_own_group", lambda _: True)
        assert check_output("shared/link.txt", NOTE).name == "note.txt"

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes there")
    def test_a_device_is_never_replaced(self, place: Place) -> None:
        os.mkfifo(place.folder / "pipe")
        for path in ("pipe", os.devnull):
            with pytest.raises(InputError, match="not a file"):
                check_output(path, NOTE, force=True)

    def test_names_that_differ_in_case_are_one_file_where_the_system_says_so(self, place: Place) -> None:
        shout = place.folder / "PEOPLE.CSV"
        if not shout.exists():
            pytest.skip("two files here")
        with pytest.raises(InputError, match="an input"):
            check_output(shout, NOTE, place.protected)


class TestCheckOutputFolder:
    @pytest.mark.parametrize("name", ["new", "deep/new", "empty", "box"])
    def test_may_be_written(self, place: Place, name: str) -> None:
        (place.folder / "empty").mkdir()
        (place.folder / "box").mkdir()
        (place.folder / "box" / "lid").touch()
        assert check_output_folder(name, BOX, place.protected) == place.folder / name

    @pytest.mark.parametrize(
        ("path", "what"),
        [
            pytest.param(".", "this folder is not a box: .sender, empty.txt, full and 6 more would be lost", id="here"),
            pytest.param(".sender", "in the state directory", id="state"),
            pytest.param(".sender/runs", "in the state directory", id="runs"),
            pytest.param(".sender/new", "in the state directory", id="new in the state"),
            pytest.param("other", "in the state directory", id="another state"),
            pytest.param("plan", "an input", id="input folder"),
            pytest.param("plan/deeper", "an input", id="inside an input folder"),
            pytest.param("people.csv", "an input", id="input"),
            pytest.param("letter.txt", "this is a file", id="file"),
            pytest.param("full", "this folder is not a box: a, b, c and 1 more would be lost", id="others' files"),
            pytest.param("more", "this folder is not a box: lid, mine would be lost", id="a box with more in it"),
        ],
    )
    def test_is_refused(self, place: Place, path: str, what: str) -> None:
        for name in ("full/a", "full/b", "full/c", "full/d", "more/lid", "more/mine"):
            (place.folder / name).parent.mkdir(exist_ok=True)
            (place.folder / name).touch()
        before = place.files()
        with pytest.raises(InputError, match=what):
            check_output_folder(path, BOX, place.protected)
        assert place.files() == before

    @pytest.mark.parametrize("path", [".", "../deeper", "./"])
    def test_the_current_folder_is_not_replaced(self, place: Place, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
        """Whoever stands in it would be left in a folder that is gone."""
        (place.folder / "new" / "deeper").mkdir(parents=True)
        monkeypatch.chdir(place.folder / "new" / "deeper")
        with pytest.raises(InputError, match="this is the current folder, or one above it"):
            check_output_folder(path, BOX)


class TestWriteBeside:
    def test_replaces_whole(self, tmp_path: Path) -> None:
        target = tmp_path / "out.txt"
        target.write_text("old and longer than the new")
        write_text_beside(target, "new\n")
        assert target.read_bytes() == b"new\n"
        assert list(tmp_path.iterdir()) == [target]

    @posix
    @pytest.mark.parametrize("before", [None, 0o644, 0o400], ids=["new", "readable by all", "read-only"])
    def test_private_is_for_its_owner_only(self, tmp_path: Path, before: int | None) -> None:
        target = tmp_path / "out.txt"
        if before is not None:
            target.touch(mode=before)
        write_text_beside(target, "x", mode=PRIVATE)
        assert stat.S_IMODE(target.stat().st_mode) == 0o600

    @posix
    def test_public_is_as_the_umask_has_it(self, tmp_path: Path) -> None:
        before = os.umask(0o027)
        try:
            write_text_beside(tmp_path / "out.txt", "x", mode=PUBLIC)
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "out.txt").stat().st_mode) == 0o640

    @pytest.mark.parametrize("replace", [True, False])
    @pytest.mark.parametrize(
        "error",
        [
            OSError(errno.ENOSPC, "No space left on device"),
            InputError("it does not fit"),
            KeyboardInterrupt(),
            ValueError("a fault"),
        ],
        ids=["full", "refused", "interrupted", "fault"],
    )
    def test_an_error_leaves_what_was_there(self, tmp_path: Path, error: BaseException, replace: bool) -> None:
        def fill(file: object) -> None:
            file.write(b"half")  # type: ignore[attr-defined]
            raise error

        if replace:
            (tmp_path / "out.txt").write_text("old")
        expected = InputError if isinstance(error, OSError) else type(error)
        with pytest.raises(expected):
            write_beside(tmp_path / "out.txt", fill, replace=replace)
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == ({"out.txt": "old"} if replace else {})

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_a_disk_that_fails_leaves_what_was_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(errno.EIO, "Input/output error")

        (tmp_path / "out.txt").write_text("old")
        monkeypatch.setattr(*((os, "fsync", fail) if step == "fsync" else (Path, "replace", fail)))
        if step == "replace" and hasattr(os, "link"):  # how a new file gets its name
            monkeypatch.setattr(os, "link", fail)
        with pytest.raises(InputError, match="cannot be written: Input/output error") as caught:
            write_text_beside(tmp_path / "out.txt", "new", where="as it was typed")
        assert caught.value.where == "as it was typed"
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"out.txt": "old"}
        with pytest.raises(InputError):
            write_text_beside(tmp_path / "new.txt", "new", replace=False)
        assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]

    def test_without_replace_an_existing_file_stays(self, tmp_path: Path) -> None:
        (tmp_path / "out.txt").write_text("old")
        with pytest.raises(InputError, match="File exists"):
            write_text_beside(tmp_path / "out.txt", "new", replace=False)
        write_text_beside(tmp_path / "new.txt", "new", replace=False)
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"out.txt": "old", "new.txt": "new"}

    @posix
    def test_a_link_put_there_meanwhile_is_replaced_and_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("mine")
        target = check_output(tmp_path / "out.txt", NOTE)
        target.symlink_to(tmp_path / "secret")
        write_text_beside(target, "new")
        assert (tmp_path / "secret").read_text() == "mine"
        assert not target.is_symlink()

    def test_a_long_name_has_room_for_the_file_beside_it(self, tmp_path: Path) -> None:
        write_text_beside(tmp_path / ("n" * 250 + ".txt"), "new")
        assert len(list(tmp_path.iterdir())) == 1


class TestFolderBeside:
    @staticmethod
    def fill(target: Path, text: str = "new") -> None:
        with folder_beside(target, ["lid"]) as folder:
            (folder / "lid").write_text(text)

    def test_appears_whole(self, tmp_path: Path) -> None:
        with folder_beside(tmp_path / "deep" / "box", ["lid"]) as folder:
            (folder / "lid").write_text("new")
            assert not (tmp_path / "deep" / "box").exists()
        assert (tmp_path / "deep" / "box" / "lid").read_text() == "new"
        assert [path.name for path in (tmp_path / "deep").iterdir()] == ["box"]
        if sys.platform != "win32":
            assert stat.S_IMODE((tmp_path / "deep" / "box").stat().st_mode) == 0o700
            assert stat.S_IMODE((tmp_path / "deep" / "box" / "lid").stat().st_mode) == 0o600

    def test_replaces_the_old_one(self, tmp_path: Path) -> None:
        self.fill(tmp_path / "box", "old")
        self.fill(tmp_path / "box", "new")
        assert (tmp_path / "box" / "lid").read_text() == "new"
        assert [path.name for path in tmp_path.iterdir()] == ["box"]

    def test_what_was_put_into_the_old_one_meanwhile_is_not_deleted(self, tmp_path: Path) -> None:
        self.fill(tmp_path / "box", "old")
        with folder_beside(tmp_path / "box", ["lid"]) as folder:
            (folder / "lid").write_text("new")
            (tmp_path / "box" / "mine").write_text("mine")
        assert (tmp_path / "box" / "lid").read_text() == "new"
        assert [path.read_text() for path in tmp_path.rglob("mine")] == ["mine"]

    @pytest.mark.parametrize("failing", range(1, 3), ids=["the old one aside", "the new one in its place"])
    def test_a_failing_step_leaves_the_old_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
    ) -> None:
        self.fill(tmp_path / "box", "old")
        calls, replace = 0, Path.replace

        def fail(self: Path, target: Path) -> Path:
            nonlocal calls
            calls += 1
            if calls == failing:
                raise OSError(errno.EIO, "Input/output error")
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises(OSError, match="Input/output error"):
            self.fill(tmp_path / "box", "new")
        assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} == {"box", "box/lid"}
        assert (tmp_path / "box" / "lid").read_text() == "old"

    @pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt()], ids=["full", "interrupted"])
    def test_an_error_while_filling_leaves_the_old_one(self, tmp_path: Path, error: BaseException) -> None:
        self.fill(tmp_path / "box", "old")
        with pytest.raises(type(error)), folder_beside(tmp_path / "box", ["lid"]) as folder:  # noqa: PT012
            (folder / "lid").write_text("half")
            raise error
        assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} == {"box", "box/lid"}
        assert (tmp_path / "box" / "lid").read_text() == "old"


@posix
@pytest.mark.parametrize(
    ("gid", "name", "members", "own"),
    [
        pytest.param(0, "root", [], True, id="root's"),
        pytest.param(1000, "ada", [], True, id="the user's"),
        pytest.param(1000, "ada", ["ada"], True, id="the user's, with the user in it"),
        pytest.param(1000, "ada", ["bob"], False, id="the user's, with another in it"),
        pytest.param(100, "staff", [], False, id="one of many"),
    ],
)
def test_whose_group_it_is(monkeypatch: pytest.MonkeyPatch, gid: int, name: str, members: list[str], own: bool) -> None:
    import grp
    import pwd
    from types import SimpleNamespace

    monkeypatch.setattr(grp, "getgrgid", lambda _: SimpleNamespace(gr_name=name, gr_mem=members))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_name="ada"))
    assert output_files._is_own_group(gid) is own
