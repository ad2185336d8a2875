"""The connector: one signed POST per event, which is safe to repeat because the receiver knows each by its id."""

from typing import TYPE_CHECKING

from esplanade import (
    AudienceTarget,
    CheckResult,
    Connector,
    ConsentEvent,
    ConsentTarget,
    Context,
    Endpoint,
    Manifest,
    Outcome,
    ProfileEvent,
    TemporaryError,
    TriggerEvent,
    TriggerTarget,
    hookimpl,
)
from esplanade.http import sign_standard_webhook

from .mapping import CONTENT_TYPES, Message, consent_message, envelope, profile_messages, trigger_message
from .settings import WebhookSettings

if TYPE_CHECKING:
    from .twin import WebhookTwin


class WebhookConnector(Connector[WebhookSettings]):
    """Anything that takes canonical events at one URL; above all a CDP that has no plugin of its own."""

    manifest = Manifest(
        title="Webhook",
        vendor_api="Standard Webhooks 1.0.0, CloudEvents 1.0.2",
        owner="The Esplanade authors",
        homepage="https://www.standardwebhooks.com",
    )
    Settings = WebhookSettings
    Consent = ConsentTarget
    Audience = AudienceTarget
    Trigger = TriggerTarget
    all_fields = True
    address_change = "merge"  # told an earlier address, a CDP knows that both are one person
    trigger_repeat = "safe"  # the receiver drops an id that it has seen

    def endpoint(self) -> Endpoint:
        headers = {name: value.reveal() for name, value in self.settings.headers.items()}
        return Endpoint(base_url=self.settings.origin, headers=headers)

    @classmethod
    def twin(cls) -> "type[WebhookTwin]":
        from .twin import WebhookTwin

        return WebhookTwin

    @hookimpl
    async def on_profile(self, event: ProfileEvent[AudienceTarget], ctx: Context) -> Outcome:
        for message in profile_messages(event):
            await self._post(message, ctx)
        return Outcome()

    @hookimpl
    async def on_consent(self, event: ConsentEvent[ConsentTarget], ctx: Context) -> Outcome:
        if event.state == "pending":  # counts as no consent, and is told once it is one
            return Outcome(status="unchanged", reason="no-consent")
        await self._post(consent_message(event), ctx)
        return Outcome()

    @hookimpl
    async def on_trigger(self, event: TriggerEvent[TriggerTarget], ctx: Context) -> Outcome:
        await self._post(trigger_message(event, ctx.language), ctx)
        return Outcome()

    async def check(self, ctx: Context) -> CheckResult:
        """Ask with a signed HEAD, which makes no data. A 405 is fine: it proves the way, though not the secret."""
        at = int(ctx.clock.time())
        headers = self._signed(f"check_{at}", at, b"")
        try:
            answer = await ctx.http.request("HEAD", self.settings.path, headers=headers, allow=tuple(range(300, 600)))
        except TemporaryError as error:
            return CheckResult(status="vendor-down", detail=str(error))
        detail = f"the endpoint answers {answer.status} to HEAD"
        match answer.status:
            case 401 | 403:
                return CheckResult(status="bad-credentials", detail=f"{detail}; see secret and headers")
            case 410:
                return CheckResult(status="wrong-account", detail=f"{detail}, gone for good; see url")
            case status if 300 <= status < 400:
                return CheckResult(status="wrong-account", detail=f"{detail}, a redirect; set url to its aim")
            case status if status >= 500 and status != 501:
                return CheckResult(status="vendor-down", detail=detail)
            case _:
                return CheckResult(detail=detail)

    async def _post(self, message: Message, ctx: Context) -> None:
        form = self.settings.format
        body = envelope(message, form, ctx.connector)
        headers = self._signed(message.id, int(ctx.clock.time()), body)
        headers["Content-Type"] = CONTENT_TYPES[form]
        await ctx.http.request("POST", self.settings.path, data=body, headers=headers, repeatable=True)

    def _signed(self, message_id: str, at: int, body: bytes) -> dict[str, str]:
        signed = [sign_standard_webhook(key.reveal(), message_id, at, body) for key in self.settings.keys]
        return signed[0] | {"webhook-signature": " ".join(each["webhook-signature"] for each in signed)}
