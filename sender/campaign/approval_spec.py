"""The campaign's `approval`: whether a plan is sent only after people have signed it, and who may sign."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from sender.campaign.values import File, Strict, is_none

SIGNERS_FILE = "allowed_signers"
REQUIRED = "required"


class ApprovalSpec(Strict):
    """Who has to approve a plan before it is sent."""

    approvals: int = Field(
        1,
        ge=1,
        le=9,
        description="How many people must sign, each with their own key. The author counts as one.",
    )
    signers: File = Field(
        Path(SIGNERS_FILE),
        description="Allowed-signers file of OpenSSH, relative to the campaign file: a name, a key type and a key a"
        " line.",
    )
    revoked: File | None = Field(
        None, description="Keys that no longer count: public keys, one a line, or a revocation list of `ssh-keygen -k`."
    )


def expand_approval(value: Any) -> Any:
    """Return the mapping that `required` is short for; None for `none`."""
    if is_none(value):
        return None
    return {} if isinstance(value, str) and value.strip().lower() == REQUIRED else value


def join_approvals(folder: Mapping[str, Any], own: Any) -> dict[str, Any]:
    """Return a campaign's `approval` under that of its folder, whose files are the ones that count.

    Raises ValueError where the campaign asks for less than its folder.
    """
    if is_none(own):
        raise ValueError("the folder requires an approval, but the campaign none: leave the key out")
    expanded = expand_approval(own)
    if not isinstance(expanded, Mapping):
        return dict(folder) | {"approvals": expanded}  # which the campaign's own check refuses
    if named := [name for name in ("signers", "revoked") if name in expanded]:
        raise ValueError(f"the folder says who may approve: leave out `approval.{named[0]}`")
    needed = folder.get("approvals", 1)
    given = str(expanded.get("approvals", needed))  # YAML's scalars are text
    if given.isdecimal() and int(given) < needed:
        raise ValueError(f"the folder asks for {needed} approvals, and the campaign for {given}: raise it")
    return {**folder, "approvals": needed, **expanded}
