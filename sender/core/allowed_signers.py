"""Who may sign: allowed-signers files and lists of revoked keys, as OpenSSH has them. Reads these files alone.

Facts: ssh-keygen(1), "ALLOWED SIGNERS" and "KEY REVOCATION LISTS", and PROTOCOL.krl of OpenSSH, read 2026-11-29. What
cannot be read is an error, where `ssh-keygen` passes over it: a line that is passed over may be the one that revokes.
"""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sender.core.errors import InputError
from sender.core.ssh_signatures import SignatureError, SshKey, SshReader, SshSignature
from sender.core.upwards import is_foreign

MAX_BYTES = 1024 * 1024
_EXAMPLE = "a line is a name, a key type and a key: `anna ssh-ed25519 AAAA...`"
_OPTION = re.compile(r'(?P<name>[A-Za-z-]+)(?:="(?P<value>[^"]*)")?(?:,|(?=\s))')
_KRL_MAGIC = b"SSHKRL\n\0"
_KRL_KEYS, _KRL_SHA1, _KRL_SHA256, _KRL_CERTIFICATES, _KRL_EXTENSION = 2, 3, 5, 1, 255


@dataclass(frozen=True, slots=True)
class AllowedSigner:
    """A line of an allowed-signers file: who may sign with which key, for what, and from when to when (seconds UTC)."""

    principals: str
    key: SshKey
    namespaces: str | None = None
    valid_after_s: float | None = None
    valid_before_s: float | None = None
    is_authority: bool = False
    text: str = ""

    def why_not(self, namespace: str, at_s: float) -> str | None:
        """Why the key may not sign for that purpose at that time; None where it may."""
        if self.namespaces is not None and not matches(namespace, self.namespaces):
            return f"its key may sign for {self.namespaces!r} alone"
        if self.valid_after_s is not None and at_s < self.valid_after_s:
            return f"its key is valid from {_day(self.valid_after_s)} on"
        if self.valid_before_s is not None and at_s > self.valid_before_s:
            return f"its key was valid until {_day(self.valid_before_s)}"
        return None


@dataclass(frozen=True, slots=True)
class RevokedKeys:
    """The keys of a revocation list: whole, or by their SHA-1 or SHA-256."""

    keys: frozenset[bytes] = frozenset()
    hashes: frozenset[bytes] = frozenset()

    def __contains__(self, key: SshKey) -> bool:
        digests = {hashlib.sha256(key.blob).digest(), hashlib.sha1(key.blob, usedforsecurity=False).digest()}
        return key.blob in self.keys or bool(digests & self.hashes)


@dataclass(frozen=True, slots=True)
class Signers:
    """Who may sign, read from `file`, and whose keys are revoked, read from `revoked_file` (None: nobody's)."""

    file: Path
    lines: tuple[AllowedSigner, ...]
    revoked: RevokedKeys = RevokedKeys()
    revoked_file: Path | None = None

    @classmethod
    def read(cls, file: Path, revoked: Path | None = None) -> Signers:
        """Return what the files say. Raises InputError for one that is missing, another user's, or cannot be read."""
        lines = tuple(parse_signers(_read(file, "the allowed signers").decode("utf-8-sig", "replace"), str(file)))
        keys = RevokedKeys() if revoked is None else parse_revoked(_read(revoked, "the revoked keys"), str(revoked))
        return cls(file, lines, keys, revoked)

    def find(self, name: str, signature: SshSignature, namespace: str, *, at_s: float) -> AllowedSigner:
        """Return the line by which `name` may sign with this key at that time. Raises SignatureError."""
        key = signature.key
        if key in self.revoked:
            raise SignatureError(f"its key {key.fingerprint} is revoked in {self.revoked_file}")
        own = [line for line in self.lines if line.key == key and not line.is_authority]
        named = [line for line in own if matches(name, line.principals)]
        if not named:
            whose = f"there it is {own[0].principals}'s" if own else f"its key {key.fingerprint} is not there"
            raise SignatureError(f"{self.file} does not allow it: {whose}")
        reasons = [line.why_not(namespace, at_s) for line in named]
        for line, reason in zip(named, reasons, strict=True):
            if reason is None:
                return line
        raise SignatureError(f"{reasons[0]} ({self.file})")

    def check(self, name: str, armored: str, message: bytes, namespace: str, *, at_s: float) -> AllowedSigner:
        """Return the line by which this is a signature of `message` by `name`. Raises SignatureError."""
        signature = SshSignature.parse(armored)
        line = self.find(name, signature, namespace, at_s=at_s)
        signature.check(message, namespace)
        return line


def matches(text: str, patterns: str) -> bool:
    """Whether `text` matches a list of patterns: `*`, `?`, commas between them, and `!` before one that must not."""
    found = False
    for pattern in patterns.split(","):
        expression = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern.lstrip("!"))
        if re.fullmatch(expression, text, re.DOTALL):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def parse_signers(text: str, where: str) -> Iterator[AllowedSigner]:
    """Yield the lines of an allowed-signers file. Raises InputError, with the line."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                yield _parse_signer(line.strip())
            except ValueError as error:
                what = str(error) or "cannot be read"
                raise InputError(what, where=f"{where}, line {number}", fix=_EXAMPLE) from None


def _parse_signer(line: str) -> AllowedSigner:
    quoted = re.match(r'"([^"]+)"\s+', line)
    principals, rest = (
        (quoted[1], line[quoted.end() :])
        if quoted
        else (line.split(maxsplit=1)[0], line[len(line.split(maxsplit=1)[0]) :])
    )
    rest = rest.strip()
    options: dict[str, str | None] = {}
    if not re.match(r"(?:sk-)?(?:ssh|ecdsa)-\S+\s", rest):
        while found := _OPTION.match(rest):
            options[found["name"].lower()] = found["value"]
            rest = rest[found.end() :]
    if unknown := options.keys() - {"cert-authority", "namespaces", "valid-after", "valid-before"}:
        raise ValueError(f"unknown option {min(unknown)!r}")
    words = rest.split()
    if len(words) < 2:
        raise ValueError("no key")
    after, before = (_read_time(options.get(name)) for name in ("valid-after", "valid-before"))
    if after is not None and before is not None and before <= after:
        raise ValueError("its key is never valid: `valid-before` is not after `valid-after`")
    return AllowedSigner(
        principals,
        SshKey.parse(words[0], words[1]),
        namespaces=options.get("namespaces"),
        valid_after_s=after,
        valid_before_s=before,
        is_authority="cert-authority" in options,
        text=line,
    )


def _read_time(text: str | None) -> float | None:
    """Return seconds UTC for a time as OpenSSH writes it, of this machine's zone unless it ends in Z."""
    if text is None:
        return None
    forms = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
    digits, utc = text.removesuffix("Z"), text.endswith("Z")
    try:
        moment = datetime.strptime(digits, forms[len(digits)])  # noqa: DTZ007 (of this machine's zone)
    except (KeyError, ValueError):
        raise ValueError(
            f"{text!r} is not a time: write 20270131, 202701311200 or 20270131120000, with Z for UTC"
        ) from None
    return (moment.replace(tzinfo=UTC) if utc else moment).timestamp()


def parse_revoked(data: bytes, where: str) -> RevokedKeys:
    """Return the keys of a key revocation list (`ssh-keygen -k`), or of public keys, one a line. Raises InputError."""
    try:
        if data.startswith(_KRL_MAGIC):
            return _parse_krl(data)
        return _parse_key_lines(data.decode("utf-8-sig"))
    except ValueError as error:
        fix = "one public key a line, or what `ssh-keygen -k` writes; with a damaged list nothing counts as approved"
        raise InputError(f"not a list of revoked keys: {error}", where=where, fix=fix) from None


def _parse_key_lines(text: str) -> RevokedKeys:
    keys = set()
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        places = [place for place, word in enumerate(words[:-1]) if re.match(r"(?:sk-)?(?:ssh|ecdsa)-", word)]
        if not places:
            raise ValueError(f"line {number} has no key")
        keys.add(SshKey.parse(words[places[0]], words[places[0] + 1]).blob)
    return RevokedKeys(frozenset(keys))


def _parse_krl(data: bytes) -> RevokedKeys:
    reader = SshReader(data)
    reader.take(len(_KRL_MAGIC))
    if (version := reader.number()) != 1:
        raise ValueError(f"its version is {version}")
    reader.take(24)  # its own version, date and flags
    reader.text()
    reader.text()
    keys: set[bytes] = set()
    hashes: set[bytes] = set()
    while not reader.is_at_end:
        kind, section = reader.number(1), SshReader(reader.text())
        if kind in (_KRL_KEYS, _KRL_SHA1, _KRL_SHA256):
            while not section.is_at_end:
                (keys if kind == _KRL_KEYS else hashes).add(section.text())
        elif kind not in (_KRL_CERTIFICATES, _KRL_EXTENSION):
            raise ValueError(f"it has a section of type {kind}")
    return RevokedKeys(frozenset(keys), frozenset(hashes))


def _read(file: Path, what: str) -> bytes:
    """Return the content of the file. Raises InputError for one that is missing, or another user's."""
    try:
        found = file.stat()
        if is_foreign(file):
            raise InputError(
                "the file belongs to another user", where=str(file), fix="make it yours (chown), or name another"
            )
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
            raise InputError(f"is not a file of at most {MAX_BYTES // 1024} KB", where=str(file), fix=_EXAMPLE)
        return file.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{what} are missing", where=str(file), fix=_EXAMPLE) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(file)) from None


def _day(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
