"""Signs a text with a private SSH key: an Ed25519 key without a passphrase here, any other with `ssh-keygen`.

Keys in an agent, with a passphrase or on hardware are OpenSSH's business: it asks for what it needs. Facts:
ssh-keygen(1), `-Y sign`, read 2026-11-29.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from sender.core.errors import InputError
from sender.core.ssh_signatures import sign_with

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_NAMES = ("id_ed25519", "id_ed25519_sk", "id_ecdsa", "id_rsa")  # of a person's own keys, below `~/.ssh`


def find_own_key() -> Path:
    """Return the first of this user's keys. Raises InputError where there is none."""
    folder = Path("~/.ssh").expanduser()
    for name in _NAMES:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"there is no key in {folder}", fix="name one with --key, or make one: ssh-keygen -t ed25519")


def sign_text(text: bytes, key: Path, namespace: str) -> str:
    """Return the armored signature of `text` for that purpose by the key in the file `key`.

    Of a key in an agent or on hardware the file is the public one. Raises InputError.
    """
    try:
        data = key.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(key), fix="name your key with --key") from None
    private = _load_ed25519(data)
    if private is not None:
        return sign_with(private, text, namespace).armored()
    program = shutil.which("ssh-keygen")
    if program is None:
        raise InputError(
            "this key needs ssh-keygen, which is not installed: it has a passphrase, is not an Ed25519 key, or is in an"
            " agent or on hardware",
            where=str(key),
            fix="install OpenSSH, or sign where it is: see docs/approval.md",
        )
    command = [program, "-Y", "sign", "-f", str(key), "-n", namespace]
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, check=False)  # noqa: S603 (no shell, their own key)
    if done.returncode:
        raise InputError(
            f"ssh-keygen has not signed (exit {done.returncode})", where=str(key), fix="see its message above"
        )
    return done.stdout.decode("ascii", "replace")


def _load_ed25519(data: bytes) -> Ed25519PrivateKey | None:
    """Return the key in OpenSSH's format or PEM; None for any other, and for one with a passphrase."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 (only who signs needs it)
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key  # noqa: PLC0415

    for load in (load_ssh_private_key, load_pem_private_key):
        try:
            key = load(data, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            continue
        return key if isinstance(key, Ed25519PrivateKey) else None
    return None
