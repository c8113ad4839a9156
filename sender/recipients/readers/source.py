"""A file read once from start to end: unpacked if it is compressed, decoded if it is text, and hashed on the way.

Compression is recognised by content, not by name. A file that unpacks to far more than any list is refused.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import re
import sys
import zlib
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, cast

from sender.core.errors import RecipientsError, setting
from sender.core.safe_text import escape_controls
from sender.recipients.readers.encodings import CONTEXT_BYTES, propose_encodings

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

HEAD_BYTES = 4096  # by which a format is recognised
READ_BYTES = 4 * 2**20
_MOST_LINE_CHARS = 64 * 2**20  # no row is that long
# A list of names and numbers compresses to a tenth of its size, one of almost equal rows to a fiftieth.
_MOST_TIMES = 200
_ALWAYS_ROOM_BYTES = 64 * 2**20

ZIP, OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # XLSX and ODS are zip files; XLS is OLE
PARQUET = b"PAR1"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")  # a frame of zstd without content; pzstd begins with one
_BOMS = (  # UTF-32 first: its little-endian mark begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8", "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32", "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16", "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16", "utf-16-be"),
)


_AS_LATIN_1 = "sender.latin-1"


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error(_AS_LATIN_1, _as_latin_1)


class FileSource:
    """The bytes of a file, unpacked. `path` is None for bytes without a file, `packed` is None if not compressed.

    `head` has the first bytes, to recognise the format; `read` starts with them too. Raises OSError when the file
    cannot be opened or read, RecipientsError when it cannot be unpacked.
    """

    def __init__(self, data: Path | bytes, *, where: str) -> None:
        self.where = where
        self.path = data if isinstance(data, Path) else None
        self._raw = _Hashed(data.open("rb") if isinstance(data, Path) else io.BytesIO(data))
        file = io.BufferedReader(self._raw, buffer_size=2**17)
        self._file = file
        self._content: BinaryIO = file
        self.packed: str | None = None
        self._unpacked = 0
        try:
            magic = file.peek(4)[:4]
            if magic.startswith(_GZIP):
                self.packed, self._content = "gzip", cast("BinaryIO", gzip.GzipFile(fileobj=file))
            elif magic.startswith(_ZSTD) or _SKIPPABLE.match(magic):
                self.packed, self._content = "zstd", cast("BinaryIO", zstd.ZstdFile(file))
            self.head = self._ahead = self._read(HEAD_BYTES)
        except BaseException:
            self._raw.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._raw.close()

    def read(self) -> bytes:
        """Return the next bytes, up to a few million; empty at the end."""
        ahead, self._ahead = self._ahead, b""
        return ahead + self._read(READ_BYTES)

    def read_all(self) -> bytes:
        """Return all remaining bytes."""
        return b"".join(iter(self.read, b""))

    def finish(self) -> tuple[int, str]:
        """Read the rest, and return size and SHA-256 in hex of the whole file as it is, compressed or not."""
        while self._file.read(READ_BYTES):
            pass
        return self._raw.size, self._raw.digest.hexdigest()

    def _read(self, size: int) -> bytes:
        if self.packed is None:
            return self._content.read(size)
        try:
            data = self._content.read(size)
        except (gzip.BadGzipFile, zlib.error, EOFError, zstd.ZstdError) as error:
            cut = isinstance(error, EOFError)
            raise RecipientsError(
                f"is a {self.packed} file that " + ("ends in the middle" if cut else f"cannot be unpacked: {error}"),
                where=self.where,
                fix="copy it again from where it came from, or unpack it and name the unpacked file",
            ) from None
        self._unpacked += len(data)
        if self._unpacked > max(_ALWAYS_ROOM_BYTES, _MOST_TIMES * self._raw.size):
            raise RecipientsError(
                f"unpacks to more than {_MOST_TIMES} times its size, which no list does"
                f" ({self._raw.size:,} bytes became {self._unpacked:,}, and there is more)",
                where=self.where,
                fix="if it really is a list, unpack it and name the unpacked file",
            )
        return data


class TextStream:
    """The text of a source, as much at a time as is asked for.

    The text that is read and not yet taken is `text[position:]`; code that takes some moves `position`. `ended` says
    that nothing follows. Raises RecipientsError with the line of what cannot be decoded; with `digits_matter`, bytes
    that are not UTF-8 are taken as Latin-1, since digits are the same in both.
    """

    def __init__(self, source: FileSource, encoding: str | None, *, digits_matter: bool = False) -> None:
        self.text = ""
        self.position = 0
        self.ended = False
        self._source = source
        self._shown_name, name, mark = _find_encoding(source, encoding)
        self._name = name
        lenient = digits_matter and name == "utf-8"
        self._decoder = codecs.getincrementaldecoder(name)(_AS_LATIN_1 if lenient else "strict")
        self._mark = mark
        self._lines = 0  # before what is decoded next
        self._unified = False
        self._held = ""
        self._taken = 0
        self._seen = b""  # the last bytes before what is decoded next

    @property
    def taken(self) -> int:
        """The number of characters taken."""
        return self._taken + self.position

    def fill(self, size: int) -> bool:
        """Read until `text` has at least `size` characters or the source ends; return whether anything is left."""
        if self.position:
            self._taken += self.position
            self.text, self.position = self.text[self.position :], 0
        if len(self.text) < size and not self.ended:
            pieces = [self.text]
            chars = len(self.text)
            while chars < size and not self.ended:
                pieces.append(self._next())
                chars += len(pieces[-1])
            self.text = "".join(pieces)
        return bool(self.text)

    def more(self) -> None:
        """Read more although nothing of `text` was taken: a row is longer than the text."""
        if len(self.text) - self.position > _MOST_LINE_CHARS:
            raise RecipientsError(
                f"a line has more than {_MOST_LINE_CHARS:,} characters",
                where=self._source.where,
                fix="check that it is a table with a line for each row",
            )
        self.fill(2 * (len(self.text) - self.position))

    def all(self) -> str:
        """Return all that is left."""
        while not self.ended:
            self.fill(len(self.text) + READ_BYTES)
        text, self.position = self.text[self.position :], len(self.text)
        return text

    def unify_line_ends(self) -> None:
        """From here on turn every kind of line end into `\n`, for files of old Macs."""
        self._unified = True
        self.text = self.text[: self.position] + self._with_one_line_end(self.text[self.position :])

    def _next(self) -> str:
        data = self._source.read()
        if self._mark:
            data, self._mark = data.removeprefix(self._mark), b""
        seen, self._seen = self._seen, (self._seen + data)[-CONTEXT_BYTES:]
        self.ended = not data
        try:
            text = self._decoder.decode(data, final=self.ended)
        except UnicodeDecodeError as error:
            start = error.start
            line = self._lines + error.object[:start].decode(self._name, "ignore").count("\n")
            if b"\0" in error.object[:HEAD_BYTES] and self._name == "utf-8":
                raise self._nul(line) from None  # UTF-16 read as UTF-8 may fail at a letter before it meets a NUL
            raise RecipientsError(
                f"is not {self._shown_name.upper()}: byte 0x{error.object[start]:02X} cannot be read",
                where=at_line(self._source.where, line),
                fix=self._propose_encoding(seen + data, len(error.object) - start),
            ) from None
        except UnicodeError as error:
            raise RecipientsError(
                f"is not {self._shown_name}: {error}",
                where=self._source.where,
                fix=f"correct {setting('recipients.encoding')}",
            ) from None
        nul = text.find("\0")
        if nul >= 0:
            raise self._nul(self._lines + text.count("\n", 0, nul))
        self._lines += text.count("\n")
        return self._with_one_line_end(text) if self._unified else text

    def _propose_encoding(self, data: bytes, left: int) -> str:
        """Return what to do about a byte that is not UTF-8, `left` bytes before the end of `data`, with its cell."""
        at = len(data) - left
        while len(data) - at < CONTEXT_BYTES and (more := self._source.read()):
            data += more
        proposed = propose_encodings(data, at)
        if not proposed:
            return f"save it as UTF-8, or set {setting('recipients.encoding', 'cp1252')} (Windows) or latin-1, ..."
        name, writer, cell = proposed[0]
        others = "".join(f"; as {other} ({who}) it is `{escape_controls(text)}`" for other, who, text in proposed[1:])
        return (
            f"as {name} ({writer}) the cell is `{escape_controls(cell)}`{others}:"
            f" set {setting('recipients.encoding', name)} if that is right, or save the file as UTF-8"
        )

    def _nul(self, line: int) -> RecipientsError:
        return RecipientsError(
            "has a NUL byte, which no text has",
            where=at_line(self._source.where, line),
            fix="save it as UTF-8 again; if it is UTF-16 without its mark, set "
            + setting("recipients.encoding", "utf-16-le"),
        )

    def _with_one_line_end(self, text: str) -> str:
        text, self._held = self._held + text, ""
        if text.endswith("\r") and not self.ended:  # it may be the first half of a line end
            text, self._held = text[:-1], "\r"
        return text.replace("\r\n", "\n").replace("\r", "\n")


def at_line(where: str, lines_before: int) -> str:
    return f"{where}, line {lines_before + 1}"


def _find_encoding(source: FileSource, chosen: str | None) -> tuple[str, str, bytes]:
    """Return the encoding's name for a person, the codec to decode by, and the byte order mark of the file."""
    bom = next((bom for bom in _BOMS if source.head.startswith(bom[0])), None)
    if chosen is None:
        return ("utf-8", "utf-8", b"") if bom is None else (bom[1], bom[2], bom[0])
    try:
        b"a".decode(chosen, "replace")
        codecs.getincrementaldecoder(chosen)
    except UnicodeError:
        pass  # an encoding with more than a byte a character
    except (LookupError, ValueError):  # of its name
        raise RecipientsError(
            f"there is no encoding `{chosen}`",
            where=source.where,
            fix=f"set {setting('recipients.encoding')} to utf-8, cp1252, utf-16-le, ...",
        ) from None
    if bom is not None and codecs.lookup(chosen).name in {codecs.lookup(name).name for name in bom[1:]}:
        return chosen, bom[2], bom[0]
    return chosen, chosen, b""


class _Hashed(io.RawIOBase):
    """A file that counts and hashes what is read from it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self.size += len(data)
        self.digest.update(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()
