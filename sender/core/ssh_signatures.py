"""Signatures of files as OpenSSH makes them (SSHSIG), read, checked and, with an Ed25519 key, made. Pure.

Facts: OpenSSH, PROTOCOL.sshsig (format), PROTOCOL.u2f (security keys) and RFC 8332 (RSA), read 2026-11-29. The tests
compare both directions with `ssh-keygen -Y`. A certificate is not accepted: the key itself has to be listed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_MAGIC = b"SSHSIG"
_VERSION = 1
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_LINE = 70  # characters of base64, as OpenSSH breaks them
_HASHES = ("sha256", "sha512")
_FEWEST_RSA_BITS = 2048
_TOUCHED = 0x01  # a flag of security keys: a person was there
_CURVES = {"nistp256": "SECP256R1", "nistp384": "SECP384R1", "nistp521": "SECP521R1"}


class SignatureError(ValueError):
    """What is wrong with a signature, as the end of a sentence: "... does not count: ERROR"."""


class SshReader:
    """Reads the fields of SSH's wire format. Raises SignatureError where the bytes end too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        if count > len(self._data) - self._at:
            raise SignatureError("it is cut short")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self, size: int = 4) -> int:
        """Return the next unsigned number of `size` bytes."""
        return int.from_bytes(self.take(size))

    def text(self) -> bytes:
        """Return the next string: four bytes of length, and its bytes."""
        return self.take(self.number())


@dataclass(frozen=True, slots=True)
class SshKey:
    """A public key as SSH writes it."""

    blob: bytes

    @property
    def kind(self) -> str:
        """Its type: `ssh-ed25519`."""
        return SshReader(self.blob).text().decode("ascii", "replace")

    @property
    def fingerprint(self) -> str:
        """`SHA256:...`, as `ssh-keygen -l` shows it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def line(self) -> str:
        """Type and base64, as in an allowed-signers file."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"

    @classmethod
    def parse(cls, kind: str, encoded: str) -> SshKey:
        """Return the key written as `kind` and base64. Raises SignatureError."""
        try:
            key = cls(base64.b64decode(encoded, validate=True))
            if key.kind == kind:
                return key
        except (binascii.Error, ValueError):
            pass
        raise SignatureError("it is not a public key")


@dataclass(frozen=True, slots=True)
class SshSignature:
    """A signature, not checked yet: whose key it names, for what purpose (`namespace`), and its value."""

    key: SshKey
    namespace: str
    hash_name: str
    value: bytes

    @classmethod
    def parse(cls, armored: str) -> SshSignature:
        """Return the signature in the text that `ssh-keygen -Y sign` writes. Raises SignatureError for any other."""
        text = armored.strip()
        if not (text.startswith(_BEGIN) and text.endswith(_END)):
            raise SignatureError("it is not an SSH signature")
        try:
            packed = base64.b64decode("".join(text[len(_BEGIN) : -len(_END)].split()), validate=True)
        except (binascii.Error, ValueError):
            raise SignatureError("it is not an SSH signature") from None
        reader = SshReader(packed)
        if reader.take(len(_MAGIC)) != _MAGIC or reader.number() != _VERSION:
            raise SignatureError("it is not an SSH signature")
        key, namespace, reserved, hash_name, value = (reader.text() for _ in range(5))
        if not reader.is_at_end or reserved:
            raise SignatureError("it has more than a signature has")
        return cls(SshKey(key), namespace.decode("utf-8", "replace"), hash_name.decode("ascii", "replace"), value)

    def armored(self) -> str:
        """Return the text that OpenSSH reads and writes, with a line feed at its end."""
        fields = (self.key.blob, self.namespace.encode(), b"", self.hash_name.encode(), self.value)
        packed = _MAGIC + _VERSION.to_bytes(4) + b"".join(map(_string, fields))
        encoded = base64.b64encode(packed).decode()
        lines = [encoded[start : start + _LINE] for start in range(0, len(encoded), _LINE)]
        return "\n".join([_BEGIN, *lines, _END]) + "\n"

    def check(self, message: bytes, namespace: str) -> None:
        """Raise SignatureError unless this signs `message` for that purpose."""
        if self.namespace != namespace:
            raise SignatureError(f"it was made for {self.namespace!r}, not for {namespace!r}")
        if self.hash_name not in _HASHES:
            raise SignatureError(f"its hash is {self.hash_name!r}")
        _check(self.key, self.value, _signed_data(message, namespace, self.hash_name))


def sign_with(key: Ed25519PrivateKey, message: bytes, namespace: str) -> SshSignature:
    """Return the signature of `message` for that purpose."""
    public = SshKey(_string(b"ssh-ed25519") + _string(key.public_key().public_bytes_raw()))
    value = _string(b"ssh-ed25519") + _string(key.sign(_signed_data(message, namespace, "sha512")))
    return SshSignature(public, namespace, "sha512", value)


def _signed_data(message: bytes, namespace: str, hash_name: str) -> bytes:
    digest = hashlib.new(hash_name, message).digest()
    return _MAGIC + b"".join(map(_string, (namespace.encode(), b"", hash_name.encode(), digest)))


def _string(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def _check(key: SshKey, value: bytes, data: bytes) -> None:
    """Raise SignatureError unless `value` is the key's signature of `data`."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 (only who checks signatures needs it)

    kind, public, signed = key.kind, SshReader(key.blob), SshReader(value)
    public.text()
    name, raw = signed.text().decode("ascii", "replace"), signed.text()
    if "-cert-" in kind:
        raise SignatureError("it was made with a certificate; list the key itself, and sign with the key")
    if kind.startswith("sk-"):
        data = _security_key_data(signed, public, kind, data)
    if not signed.is_at_end:
        raise SignatureError("it has more than a signature has")
    try:
        if kind in ("ssh-ed25519", "sk-ssh-ed25519@openssh.com") and name == kind:
            _check_ed25519(public.text() if kind == "ssh-ed25519" else _sk_point(key), raw, data)
        elif kind == "ssh-rsa" and name in ("rsa-sha2-256", "rsa-sha2-512"):
            _check_rsa(public, name, raw, data)
        elif kind.removeprefix("sk-").startswith("ecdsa-sha2-") and name == kind:
            _check_ecdsa(SshReader(key.blob), raw, data)
        else:
            raise SignatureError(f"keys of type {kind!r} with {name!r} are not accepted")
    except InvalidSignature:
        raise SignatureError("it was not made with this key, or the signed text was changed") from None
    except ValueError as error:
        raise error if isinstance(error, SignatureError) else SignatureError("its key cannot be read") from None


def _security_key_data(signed: SshReader, public: SshReader, kind: str, data: bytes) -> bytes:
    """Return what a security key signs of `data`. Raises SignatureError where nobody touched it."""
    if kind.startswith("sk-ecdsa"):
        public.text()  # the curve
    public.text()  # the point
    application, flags, counter = public.text(), signed.take(1), signed.take(4)
    if not flags[0] & _TOUCHED:
        raise SignatureError("its security key was not touched")
    return hashlib.sha256(application).digest() + flags + counter + hashlib.sha256(data).digest()


def _sk_point(key: SshKey) -> bytes:
    reader = SshReader(key.blob)
    reader.text()
    return reader.text()


def _check_ed25519(point: bytes, raw: bytes, data: bytes) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    Ed25519PublicKey.from_public_bytes(point).verify(raw, data)


def _check_rsa(public: SshReader, name: str, raw: bytes, data: bytes) -> None:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415

    exponent, modulus = int.from_bytes(public.text()), int.from_bytes(public.text())
    if modulus.bit_length() < _FEWEST_RSA_BITS:
        raise SignatureError(f"its RSA key has fewer than {_FEWEST_RSA_BITS} bits")
    algorithm = hashes.SHA256() if name == "rsa-sha2-256" else hashes.SHA512()
    rsa.RSAPublicNumbers(exponent, modulus).public_key().verify(raw, data, padding.PKCS1v15(), algorithm)


def _check_ecdsa(public: SshReader, raw: bytes, data: bytes) -> None:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature  # noqa: PLC0415

    public.text()
    curve, point, numbers = public.text().decode("ascii", "replace"), public.text(), SshReader(raw)
    if curve not in _CURVES:
        raise SignatureError(f"its curve is {curve!r}")
    key = ec.EllipticCurvePublicKey.from_encoded_point(getattr(ec, _CURVES[curve])(), point)
    bits = key.curve.key_size
    algorithm = hashes.SHA256() if bits <= 256 else hashes.SHA384() if bits <= 384 else hashes.SHA512()  # RFC 5656
    pair = encode_dss_signature(int.from_bytes(numbers.text()), int.from_bytes(numbers.text()))
    key.verify(pair, data, ec.ECDSA(algorithm))
