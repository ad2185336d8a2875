"""The account as people at SparkLoop see it and work in it; what the conformance suite looks at and turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from esplanade.testing import Call, Contact, Untidy, VendorSide

from .twin import SparkLoopTwin

if TYPE_CHECKING:
    from esplanade import Held

    from .twin_account import Account, Hook, Member

STRANGER = "made.up@example.net"


class SparkLoopSide(VendorSide[SparkLoopTwin]):
    """One account. It has one subscription, so every purpose that is mapped is that one; there are no audiences."""

    @property
    def account(self) -> Account:
        """The account itself."""
        return self.twin.account

    # What is seen.

    def contacts(self) -> list[Contact]:
        return [self._shown(each) for each in self.account.members.values()]

    # What is done.

    def sign_up(self, email: str, fields: dict[str, str], granted: list[str]) -> None:
        name = fields.get("name", "")
        status = "active" if granted else "unsubscribed"
        member = self.account.add(
            email, self.twin.clock.time(), name=name, first_name=name.partition(" ")[0], status=status
        )
        self.twin.tell(member)

    def edit(self, email: str, fields: dict[str, str]) -> None:
        member = self.account.get(email)
        member.name = fields["name"]
        member.first_name = member.name.partition(" ")[0]
        self.twin.tell(member)

    def opt_out(self, email: str, purpose: str) -> None:
        self.account.get(email).status = "unsubscribed"

    def opt_in(self, email: str, purpose: str) -> None:
        member = self.account.get(email)
        member.status = "active"
        self.twin.tell(member)

    def readdress(self, email: str, new: str) -> None:
        member = self.account.get(email)
        self.account.rename(member, new)
        self.twin.tell(member)

    def remove(self, email: str) -> None:
        self.account.remove(self.account.get(email))

    # The account's set-up.

    def wrong_account(self) -> dict[str, Any]:
        return {"campaign_uuid": "MFelsewhere01"}

    def untidy(self) -> list[Untidy]:
        return [Untidy(field="name", sent=" Noor  de Wit ", held="Noor  de Wit")]

    # Calls to the hub.

    def tell(self, email: str) -> None:
        self.twin.tell(self.account.get(email))

    def calls(self) -> dict[str, Call]:
        campaign = self.account.campaign
        reward = {"id": "reward_1", "name": "Sticker pack", "referrals": 3, "recurring": False}
        bodies: list[dict[str, Any]] = [
            {"type": "sync_subscriber", "subscriber": self._person(STRANGER)},
            {
                "type": "new_referral",
                "subscriber": self._person("friend@example.net"),
                "referrer": self._person(STRANGER),
            },
            {"type": "reward_unlocked", "subscriber": self._person(STRANGER), "reward": reward},
        ]
        return {body["type"]: self._call({**body, "campaign_id": campaign}) for body in bodies}

    def forgeries(self) -> dict[str, Call]:
        good = self.calls()["sync_subscriber"]
        without = {name: value for name, value in good.headers.items() if name != "SparkLoop-Token"}
        tokens = {
            "bad token: of another account": "tok_of_another_account",
            "bad token: empty": "",
            "bad token: half of it": self.twin.settings.webhook_token.reveal()[:-1],
        }
        return {
            "no token": Call(headers=without, body=good.body),
            **{
                what: Call(headers={**good.headers, "SparkLoop-Token": token}, body=good.body)
                for what, token in tokens.items()
            },
        }

    def unheard_of(self) -> Call:
        return self._call({"type": "subscriber_polished", "subscriber": self._person(STRANGER)})

    # Webhooks that are registered.

    def webhooks(self) -> list[str]:
        return [f"{each.url} {sorted(name for name, on in each.events.items() if on)}" for each in self.account.hooks]

    def add_webhook(self, url: str) -> None:
        self.account.add_hook(url, {"new_referral": True})

    def spoil_webhook(self, url: str) -> None:
        for each in self._calling(url):
            each.events = dict.fromkeys(each.events, False)

    def drop_webhook(self, url: str) -> None:
        for each in self._calling(url):
            self.account.hooks.remove(each)

    # Inside.

    def _calling(self, url: str) -> list[Hook]:
        return [each for each in self.account.hooks if each.url == url]

    def _person(self, email: str) -> dict[str, Any]:
        """Somebody as webhooks tell of them, whether or not they are a subscriber."""
        name = email.partition("@")[0]
        return {
            "id": f"sub_{name}",
            "first_name": name,
            "name": name,
            "email": email,
            "referral_code": name,
            "referral_link": f"https://mywebsite.com?rh_ref={name}",
            "referred": False,
            "tot_referrals": 3,
            "last_reward": None,
            "next_reward": 3,
            "created_at": int(self.twin.clock.time()),
        }

    def _call(self, body: dict[str, Any]) -> Call:
        token = self.twin.settings.webhook_token.reveal()
        return Call(
            headers={"Content-Type": "application/json", "SparkLoop-Token": token}, body=msgspec.json.encode(body)
        )

    def _shown(self, member: Member) -> Contact:
        held: Held = "granted" if member.status == "active" else "denied"
        fields = {"name": member.name, "first_name": member.first_name, "country_code": member.country_code}
        return Contact(
            remote_id=member.id,
            email=member.email,
            fields={name: value for name, value in fields.items() if value},
            consents=dict.fromkeys(self.furnishing.consents, held),
        )
