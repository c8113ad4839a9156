"""What is around a campaign while it is sent: the receiver of delivery reports, and the sandbox."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sender.campaign.values import PaceText, Strict, Text, Url

Dialect = Literal["signalwire", "signalwire-compat", "telnyx", "twilio"]


class ListenSpec(Strict):
    """How delivery reports are received by `sender listen` and `send --listen`."""

    public_url: Url | None = Field(
        None,
        description="The https address that the provider calls: of a reverse proxy or a tunnel that leads to the"
        " receiver. `send` puts it into each message.",
    )
    port: int = Field(8026, ge=0, le=65535, description="Port that `send --listen` listens on.")
    signatures: Literal["require", "verify-if-present", "off"] = Field(
        "require", description="Whether a webhook must be signed; `off` works on loopback only."
    )
    opt_out_words: tuple[Text, ...] = Field(
        (),
        max_length=100,
        description="Your own opt-out words, each as a whole reply, in addition to those that always count.",
    )
    keep_replies: bool = Field(
        False, description="Keep people's replies with their texts in the state; `sender replies` shows them."
    )
    forward_to: Url | None = Field(
        None,
        description="An address of yours that each reply is posted to, signed with SENDER_WEBHOOK_SECRET: https, or"
        " http to this machine.",
    )
    review_policy: Literal["hold", "ignore"] = Field(
        "hold",
        description="Whether a number whose reply may be an opt-out in other words gets nothing until a person has"
        " decided (`sender replies --review`).",
    )


class SandboxSpec(Strict):
    """How the sandbox behaves when `provider: sandbox`, or with `--rehearse`."""

    dialect: Dialect = Field(
        "signalwire", description="The provider whose API the sandbox speaks for `provider: sandbox`."
    )
    latency_ms: int = Field(40, ge=0, le=60_000, description="How long it takes to answer.")
    rate: PaceText | None = Field(None, description="Answer 429 above this rate.")
