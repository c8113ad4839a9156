"""The archive of a run's evidence: a tar file of which every byte follows from its list of members.

The first member, `MANIFEST.json`, names all others with their size and SHA-256, and has a hash of itself. Names, sizes
and contents fix the file: headers hold nothing else, and nothing follows. So a byte that was changed, added or taken
away is noticed wherever it is. Writes and reads files; knows nothing of runs.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sender.core.errors import InputError

MANIFEST_NAME = "MANIFEST.json"
SIGNATURE_NAME = "MANIFEST.json.sig"
KIND = "campaign-sender evidence, version 1"
_BLOCK = 512  # of a tar file
_END = bytes(2 * _BLOCK)
_AT_ONCE = 1024 * 1024
_LONGEST_MANIFEST = 16 * 1024 * 1024
_LONGEST_SIGNATURE = 64 * 1024
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


@dataclass(frozen=True, slots=True)
class Archive:
    """What was read of an archive: its manifest, the text of it, and its signature (None: not signed).

    `problems` are what is wrong with its bytes, as sentences.
    """

    manifest: Mapping[str, Any]
    text: str
    signature: str | None
    problems: tuple[str, ...]


def make_manifest(values: Mapping[str, Any], members: Mapping[str, Path]) -> str:
    """Return the manifest of `members`, files by their names in the archive, with `values` besides."""
    listed = [
        {"name": name, "size": file.stat().st_size, "sha256": _hash_file(file)}
        for name, file in sorted(members.items())
    ]
    return _dump({"evidence": KIND, **values, "members": listed})


def write_archive(stream: IO[bytes], manifest: str, members: Mapping[str, Path], signature: str | None) -> None:
    """Write an archive of the members that `manifest` names, and its signature where there is one. Raises OSError."""
    _write_text(stream, MANIFEST_NAME, manifest)
    for name, file in sorted(members.items()):
        stream.write(_header(name, file.stat().st_size))
        with file.open("rb") as source:
            while block := source.read(_AT_ONCE):
                stream.write(block)
        stream.write(_padding(file.stat().st_size))
    if signature is not None:
        _write_text(stream, SIGNATURE_NAME, signature)
    stream.write(_END)


def is_archive(file: Path) -> bool:
    """Whether the file begins as an archive of evidence. Raises OSError."""
    with file.open("rb") as stream:
        return stream.read(len(MANIFEST_NAME) + 1) == f"{MANIFEST_NAME}\0".encode()


def read_archive(file: Path, folder: Path) -> Archive:
    """Read the archive, put its members below `folder`, and return what it says and what is wrong with it.

    Raises InputError for a file that is no archive of evidence, or whose manifest cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return _ArchiveReader(stream, file, folder).read()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(file)) from None


class _ArchiveReader:
    def __init__(self, stream: IO[bytes], file: Path, folder: Path) -> None:
        self._stream = stream
        self._file = file
        self._folder = folder
        self._problems: list[str] = []

    def read(self) -> Archive:
        text = self._read_text(MANIFEST_NAME, _LONGEST_MANIFEST)
        manifest = None if text is None else self._parse(text)
        if text is None or manifest is None:
            raise InputError(
                "this is not a run's evidence, or its list of members was changed",
                where=str(self._file),
                fix="take a copy that was not changed: nothing in this one can be checked",
            )
        signature = None
        if all(self._read_member(member) for member in manifest["members"]):
            if manifest.get("signed_as") is not None:
                signature = self._read_text(SIGNATURE_NAME, _LONGEST_SIGNATURE)
                if signature is None:
                    self._problems.append(f"{SIGNATURE_NAME} is missing, or was changed")
            if not self._problems and self._stream.read(len(_END) + 1) != _END:
                self._problems.append("there is something behind its end, or its end is missing")
        return Archive(manifest, text, signature, tuple(self._problems))

    def _read_text(self, name: str, longest: int) -> str | None:
        """Return the next member, which should have that name; None where it has not, or its frame was changed."""
        header = self._stream.read(_BLOCK)
        try:
            size = tarfile.TarInfo.frombuf(header, "ascii", "strict").size
        except (tarfile.TarError, ValueError):
            return None
        if size > longest or header != _header(name, size):
            return None
        content, padding = self._stream.read(size), self._stream.read(len(_padding(size)))
        if len(content) != size or padding != _padding(size):
            return None
        try:
            return content.decode("ascii")
        except UnicodeDecodeError:
            return None

    @staticmethod
    def _parse(text: str) -> dict[str, Any] | None:
        try:
            values = json.loads(text)
            known = isinstance(values, dict) and values.get("evidence") == KIND
            return values if known and _dump({k: v for k, v in values.items() if k != "sha256"}) == text else None
        except ValueError:
            return None

    def _read_member(self, member: Mapping[str, Any]) -> bool:
        """Read the next member into its file; whether the one after it can be read."""
        name, size = str(member["name"]), int(member["size"])
        if not _SAFE_NAME.fullmatch(name) or self._stream.read(_BLOCK) != _header(name, size):
            self._problems.append(f"{name} is missing, or its place in the archive was changed")
            return False
        digest = hashlib.sha256()
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as copy:
            left = size
            while left and (block := self._stream.read(min(left, _AT_ONCE))):
                digest.update(block)
                copy.write(block)
                left -= len(block)
        if left or self._stream.read(len(_padding(size))) != _padding(size):
            self._problems.append(f"{name} is cut short, or what follows it was changed")
            return False
        if digest.hexdigest() != member["sha256"]:
            self._problems.append(f"{name} was changed: its SHA-256 is not the one in {MANIFEST_NAME}")
        return True


def _dump(values: Mapping[str, Any]) -> str:
    """Return the manifest with a hash of its other keys, in the one form that it may have."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return json.dumps({**values, "sha256": digest}, indent=2, sort_keys=True) + "\n"


def _write_text(stream: IO[bytes], name: str, text: str) -> None:
    data = text.encode("ascii")
    stream.writelines((_header(name, len(data)), data, _padding(len(data))))


def _header(name: str, size: int) -> bytes:
    """Return the header of a member: its name and size, and nothing else that could differ."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    return info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


def _hash_file(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
