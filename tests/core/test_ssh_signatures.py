"""Signatures and the files of who may sign, compared with OpenSSH itself in both directions."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sender.core.allowed_signers import Signers, matches, parse_revoked
from sender.core.errors import InputError
from sender.core.sign_text import sign_text
from sender.core.ssh_signatures import SignatureError, SshKey, SshSignature, sign_with

KEYGEN = str(shutil.which("ssh-keygen"))
pytestmark = pytest.mark.skipif(KEYGEN == "None", reason="needs ssh-keygen")
NAMESPACE = "approval@campaign-sender"
TEXT = b'{\n  "campaign": "spring"\n}\n'
KINDS = [
    ("ed25519", "256"),
    ("ecdsa", "256"),
    ("ecdsa", "384"),
    ("ecdsa", "521"),
    ("rsa", "2048"),
]


def keygen(*args: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([KEYGEN, *map(str, args)], input=stdin, capture_output=True, check=False)


def make(folder: Path, kind: str = "ed25519", bits: str = "256") -> Path:
    file = folder / f"{kind}{bits}"
    assert keygen("-q", "-t", kind, "-b", bits, "-N", "", "-C", "anna", "-f", file).returncode == 0
    return file


def public(file: Path) -> str:
    return " ".join(file.with_name(f"{file.name}.pub").read_text(encoding="ascii").split()[:2])


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4) + data


def openssh_accepts(
    folder: Path, line: str, signature: str, text: bytes = TEXT, *options: str, name: str = "anna"
) -> bool:
    (folder / "signers").write_text(line + "\n", encoding="ascii")
    (folder / "sig").write_text(signature, encoding="ascii")
    args = ("-Y", "verify", *options, "-f", folder / "signers", "-I", name, "-n", NAMESPACE, "-s", folder / "sig")
    return keygen(*args, stdin=text).returncode == 0


@pytest.mark.parametrize(("kind", "bits"), KINDS)
def test_what_openssh_signs_counts_and_nothing_else_does(tmp_path: Path, kind: str, bits: str) -> None:
    key = make(tmp_path, kind, bits)
    armored = keygen("-Y", "sign", "-f", key, "-n", NAMESPACE, stdin=TEXT).stdout.decode()
    signature = SshSignature.parse(armored)
    assert signature.armored() == armored
    assert signature.key.line == public(key)
    assert signature.key.fingerprint in keygen("-l", "-f", key).stdout.decode()
    signature.check(TEXT, NAMESPACE)
    for text, namespace in ((TEXT + b" ", NAMESPACE), (TEXT, "file"), (b"", NAMESPACE)):
        with pytest.raises(SignatureError):
            signature.check(text, namespace)
    packed = base64.b64decode("".join(armored.splitlines()[1:-1]))
    for place in range(len(packed)):
        changed = packed[:place] + bytes([packed[place] ^ 0x01]) + packed[place + 1 :]
        text = f"-----BEGIN SSH SIGNATURE-----\n{base64.b64encode(changed).decode()}\n-----END SSH SIGNATURE-----\n"
        assert not counts(text, signature.key)


def counts(armored: str, allowed: SshKey) -> bool:
    """Whether it is the allowed key's signature of the text."""
    try:
        signature = SshSignature.parse(armored)
        signature.check(TEXT, NAMESPACE)
    except SignatureError:
        return False
    return signature.key == allowed


@pytest.mark.parametrize(("kind", "bits"), KINDS)
def test_openssh_accepts_what_is_signed_here(tmp_path: Path, kind: str, bits: str) -> None:
    key = make(tmp_path, kind, bits)
    armored = sign_text(TEXT, key, NAMESPACE)
    assert openssh_accepts(tmp_path, f"anna {public(key)}", armored)
    assert not openssh_accepts(tmp_path, f"anna {public(key)}", armored, TEXT + b"\n")


def test_a_pem_key_signs_too(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    file = tmp_path / "key.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    armored = sign_text(TEXT, file, NAMESPACE)
    assert openssh_accepts(tmp_path, f"anna {SshSignature.parse(armored).key.line}", armored)


def test_a_key_with_a_passphrase_is_a_matter_of_openssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "locked"
    keygen("-q", "-t", "ed25519", "-N", "a long secret", "-f", file)
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    helper = tmp_path / "ask"
    helper.write_text("#!/bin/sh\necho a long secret\n", encoding="ascii")
    helper.chmod(0o700)
    monkeypatch.setenv("SSH_ASKPASS", str(helper))
    SshSignature.parse(sign_text(TEXT, file, NAMESPACE)).check(TEXT, NAMESPACE)
    helper.write_text("#!/bin/sh\necho wrong\n", encoding="ascii")
    with pytest.raises(InputError, match="ssh-keygen has not signed"):
        sign_text(TEXT, file, NAMESPACE)
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(InputError, match="needs ssh-keygen, which is not installed"):
        sign_text(TEXT, file, NAMESPACE)


@pytest.mark.parametrize("flags", [0x01, 0x05, 0x00])
def test_a_security_key_signs_when_it_is_touched(tmp_path: Path, flags: int) -> None:
    """Made as PROTOCOL.u2f says, since no security key is at hand; OpenSSH accepts the same bytes."""
    private, application = Ed25519PrivateKey.generate(), b"ssh:"
    kind = b"sk-ssh-ed25519@openssh.com"
    key = SshKey(string(kind) + string(private.public_key().public_bytes_raw()) + string(application))
    message = b"SSHSIG" + b"".join(map(string, (NAMESPACE.encode(), b"", b"sha512", hashlib.sha512(TEXT).digest())))
    tail = bytes([flags]) + (7).to_bytes(4)
    raw = private.sign(hashlib.sha256(application).digest() + tail + hashlib.sha256(message).digest())
    signature = SshSignature(key, NAMESPACE, "sha512", string(kind) + string(raw) + tail)
    accepted = openssh_accepts(tmp_path, f"anna {key.line}", signature.armored())
    if flags & 0x01:
        assert accepted
        signature.check(TEXT, NAMESPACE)
    else:
        with pytest.raises(SignatureError, match="was not touched"):
            signature.check(TEXT, NAMESPACE)


@pytest.mark.parametrize(
    ("options", "at"),
    [
        ("", "20260601120000"),
        ('valid-after="20260601"', "20260531235959"),
        ('valid-after="20260601"', "20260601000000"),
        ('valid-before="202606011200"', "20260601120000"),
        ('valid-before="202606011200"', "20260601120001"),
        ('valid-after="20260101",valid-before="20261231235959"', "20260601120000"),
        ('namespaces="git,file"', "20260601120000"),
        (f'namespaces="git,{NAMESPACE}"', "20260601120000"),
        ('namespaces="approval@*"', "20260601120000"),
        ('namespaces="!approval@*,*"', "20260601120000"),
        ('namespaces="*",valid-after="20260601"', "20260601000001"),
    ],
)
@pytest.mark.parametrize("principals", ["anna", "bob", "*", "an?a,bob", "!anna,*", '"bob,anna"'])
def test_a_line_allows_what_it_allows_in_openssh(tmp_path: Path, options: str, at: str, principals: str) -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    signature = sign_with(key, TEXT, NAMESPACE)
    line = " ".join(part for part in (principals, options, signature.key.line, "a comment") if part)
    theirs = openssh_accepts(tmp_path, line, signature.armored(), TEXT, f"-Overify-time={at}")
    at_s = time.mktime(time.strptime(at, "%Y%m%d%H%M%S"))
    signers = Signers.read(tmp_path / "signers")
    try:
        ours = signers.check("anna", signature.armored(), TEXT, NAMESPACE, at_s=at_s).key == signature.key
    except SignatureError:
        ours = False
    assert ours is theirs


@pytest.mark.parametrize("spec", ["{pub}", "key: {pub}", "sha1: {pub}", "sha256: {pub}", "hash: {fingerprint}"])
def test_a_revocation_list_of_openssh(tmp_path: Path, spec: str) -> None:
    gone, stays = make(tmp_path), make(tmp_path, "ecdsa")
    key, other = (SshKey.parse(*public(file).split()) for file in (gone, stays))
    (tmp_path / "spec").write_text(spec.format(pub=public(gone), fingerprint=key.fingerprint) + "\n", encoding="ascii")
    made = keygen("-k", "-f", tmp_path / "krl", tmp_path / "spec")
    assert made.returncode == 0, made
    assert keygen("-Q", "-f", tmp_path / "krl", f"{gone}.pub").returncode == 1
    data = (tmp_path / "krl").read_bytes()
    revoked = parse_revoked(data, "krl")
    assert key in revoked
    assert other not in revoked
    for cut in range(8, len(data)):  # a list that is cut short revokes nobody quietly
        if cut != 44:  # where the header ends, and no key follows
            with pytest.raises(InputError):
                assert key not in parse_revoked(data[:cut], "krl"), cut


def test_a_revocation_list_of_lines(tmp_path: Path) -> None:
    key = make(tmp_path)
    text = f"# gone\n\n{public(key)} anna@laptop\n"
    assert SshKey.parse(*public(key).split()) in parse_revoked(text.encode(), "gone")
    with pytest.raises(InputError, match="line 1 has no key"):
        parse_revoked(b"SHA256:abc\n", "gone")


def test_patterns() -> None:
    assert matches("anna@example.com", "*@example.com")
    assert not matches("anna@example.com", "*@example.com,!anna@*")
    assert not matches("anna[1]", "anna[0-9]")


@pytest.mark.parametrize("text", ["", "hello", "-----BEGIN SSH SIGNATURE-----\n!!\n-----END SSH SIGNATURE-----"])
def test_what_is_no_signature(text: str) -> None:
    with pytest.raises(SignatureError, match="it is not an SSH signature"):
        SshSignature.parse(text)
