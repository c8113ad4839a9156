"""The routes of a plan: what each sends with, and how a message of the plan goes by one that is not the first.

A message has its text, media and recipient whatever its route is; its sender and provider fields are the route's. The
rows of a plan are those of the first route.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sender.plan.manifest import Manifest
from sender.plan.message_reader import MessageReader
from sender.plan.pace import Pace
from sender.plan.plan import Plan
from sender.plan.sender_pool import SenderPool
from sender.providers.base import FieldValue, Message


def route_manifest(manifest: Manifest, place: int) -> Manifest:
    """Return the manifest as if the route at `place` (from 0) were the only one; the same where there is only one."""
    if not manifest.routes:
        return manifest
    route = manifest.routes[place]
    pace = Pace.from_json(route["pace"])
    if not place:
        return replace(manifest, pace=manifest.pace)
    return replace(
        manifest,
        provider=route["provider"],
        dialect=route["dialect"],
        senders=tuple(route["senders"]),
        fields=route["fields"],
        pool=route["pool"],
        pace=pace,
        templates={},
    )


def route_plan(plan: Plan, place: int) -> Plan:
    """Return the plan with `route_manifest`; its rows stay those of the first route."""
    return plan.with_manifest(route_manifest(plan.manifest, place)) if plan.manifest.routes else plan


class RouteReader(MessageReader):
    """Reads a plan's messages as they go by a route that is not the first."""

    def __init__(self, plan: Plan, run_id: str, *, callback: str | None = None) -> None:
        """`plan` is from `route_plan`. `callback` is as for `MessageReader`."""
        super().__init__(plan, run_id, callback=callback)
        manifest = plan.manifest
        self._pool: SenderPool | None = manifest.sender_pool()
        self._sender = manifest.senders[0] if manifest.senders else None
        self._own: dict[str, FieldValue] = {**({"status_callback": callback} if callback else {}), **manifest.fields}

    def read(self, seqs: Sequence[int]) -> list[tuple[Message, int]]:
        """Return the messages of `seqs` with their segments, in that order."""
        return [
            (message._replace(from_number=self._choose(message.to), fields=self._own), segments)
            for message, segments in super().read(seqs)
        ]

    def units(
        self,
        unit: str,  # noqa: ARG002
        from_seq: int,  # noqa: ARG002
        also: Sequence[int] = (),  # noqa: ARG002
        *,
        below_seq: int | None = None,  # noqa: ARG002
    ) -> dict[str | None, int]:
        """Return nothing: how many messages come this way is not known before."""
        return {}

    def _choose(self, to: str) -> str | None:
        if self._pool is None:
            return self._sender
        return next(iter(self._pool.order(to)), None) if to else None
