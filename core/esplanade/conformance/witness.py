"""A plugin that stands beside the one that is tried: what reaches it is what the hub made of what the other reported."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from esplanade import (
    AudienceTarget,
    Connector,
    ConsentEvent,
    ConsentTarget,
    Context,
    Endpoint,
    Manifest,
    Outcome,
    ProfileEvent,
    TriggerEvent,
    TriggerTarget,
    hookimpl,
)

WITNESS = "witness"
"""The name of its connector."""


class WitnessSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing has to be said of it."""


class Witness(Connector[WitnessSettings]):
    """Takes everything and calls nobody; the hub's deliveries tell what it was told."""

    manifest = Manifest(
        title="Witness", vendor_api="1", owner="The Esplanade authors", homepage="https://witness.invalid"
    )
    Settings = WitnessSettings
    Consent = ConsentTarget
    Audience = AudienceTarget
    Trigger = TriggerTarget
    all_fields = True
    trigger_repeat = "safe"

    def endpoint(self) -> Endpoint:
        return Endpoint(base_url="https://witness.invalid")

    @hookimpl
    async def on_profile(self, event: ProfileEvent[Any], ctx: Context) -> Outcome:
        """Taken."""
        return Outcome()

    @hookimpl
    async def on_consent(self, event: ConsentEvent[Any], ctx: Context) -> Outcome:
        """Taken."""
        return Outcome()

    @hookimpl
    async def on_trigger(self, event: TriggerEvent[Any], ctx: Context) -> Outcome:
        """Taken."""
        return Outcome()
