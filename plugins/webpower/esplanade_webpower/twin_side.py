"""The campaign as people at Webpower see it and work in it; what the conformance suite looks at and turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from esplanade.http import hmac_hex
from esplanade.testing import Call, Contact, Mail, Untidy, VendorSide

from .settings import WebpowerAudience, WebpowerConsent, WebpowerTrigger
from .twin import WebpowerTwin
from .twin_account import BOUNCED, COMPLAINED, OPT_IN

if TYPE_CHECKING:
    from esplanade import Held, ValueType

    from .twin_account import Account
    from .twin_account import Contact as Row

KINDS: dict[ValueType, str] = {
    "text": "varchar",
    "number": "float",
    "boolean": "boolean",
    "date": "date",
    "datetime": "datetime",
    "multi-select": "multiselect",
}
"""The types of fields, as the vendor may call them; only ``varchar`` is known."""

SUBSCRIBER = 9_999
"""Number of a contact that exists only in webhooks that are made up."""


class WebpowerSide(VendorSide[WebpowerTwin]):
    """One campaign."""

    @property
    def account(self) -> Account:
        """The campaign itself."""
        return self.twin.account

    # What is seen.

    def contacts(self) -> list[Contact]:
        rows = sorted(self.account.contacts.values(), key=lambda each: each.id)
        return [self._shown(each) for each in rows]

    def mails(self) -> list[Mail]:
        names = {
            target.mailing: name
            for name, target in self.furnishing.triggers.items()
            if isinstance(target, WebpowerTrigger)
        }
        return [
            Mail(
                email=each["email"],
                trigger=names[each["mailing"]],
                trigger_id=each["extraContactData"].get("DMD_trigger_id"),
                language=each["extraContactData"].get("DMD_language"),
                words=each["extraContactData"],
            )
            for each in self.account.mails
        ]

    def asked(self, email: str) -> int:
        return sum(each.lower() == email.lower() for each in self.account.asked)

    # What is done.

    def sign_up(self, email: str, fields: dict[str, str], granted: list[str]) -> None:
        row = self.account.create({"email": email, **_body(fields)})
        row.groups |= {self._group(purpose) for purpose in granted} | {OPT_IN}
        self.twin.announce(row)

    def edit(self, email: str, fields: dict[str, str]) -> None:
        self.account.update(self._row(email), _body(fields))

    def opt_out(self, email: str, purpose: str) -> None:
        self.account.unsubscribe(self._row(email), {self._group(purpose)})

    def opt_in(self, email: str, purpose: str) -> None:
        self._row(email).groups.add(self._group(purpose))

    def confirm(self, email: str) -> bool:
        return self.account.confirm(email)

    def readdress(self, email: str, new: str) -> None:
        self.account.update(self._row(email), {"email": new})

    def remove(self, email: str) -> None:
        self.account.remove(self._row(email))

    def join(self, email: str, audience: str) -> None:
        row = self.account.find(email) or self.account.create({"email": email})
        row.groups.add(self._audiences()[audience])

    def bounce(self, email: str) -> None:
        self._row(email).groups.add(BOUNCED)

    def complain(self, email: str) -> None:
        self._row(email).groups.add(COMPLAINED)

    # The account's set-up.

    def drop_field(self, name: str) -> None:
        del self.account.fields[name]
        for row in self.account.contacts.values():
            row.custom.pop(name, None)

    def add_field(self, name: str, type_: ValueType, options: list[str]) -> None:
        self.account.add_field(name, KINDS[type_]).options = options

    def retype_field(self, name: str) -> None:
        self.account.fields[name].type = "integer"

    def wipe(self, purpose: str) -> None:
        for row in self.account.contacts.values():
            row.groups.discard(self._group(purpose))

    def run_dry(self) -> None:
        self.account.credits = 0

    def unpublish(self, trigger: str) -> None:
        target = self.furnishing.triggers[trigger]
        assert isinstance(target, WebpowerTrigger)  # this twin's own kind of target
        self.account.mailings[target.mailing].published = False

    def wrong_account(self) -> dict[str, Any]:
        return {"campaign_id": self.twin.settings.campaign_id + 1}

    def untidy(self) -> list[Untidy]:
        return [Untidy(field="city", sent="x" * 300, held="x" * 255)]

    # Calls to the hub.

    def tell(self, email: str) -> None:
        self.twin.announce(self._row(email))

    def calls(self) -> dict[str, Call]:
        token = self.twin.settings.callback_token.reveal()
        return {
            "contact.created": self._signed(self._created("made.up@example.net")),
            "callback as a query": Call(method="GET", query=f"token={token}&topic=clicked&email=made.up%40example.net"),
            "callback as a form": Call(
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                body=f"token={token}&topic=clicked&email=made.up%40example.net".encode(),
            ),
        }

    def forgeries(self) -> dict[str, Call]:
        body = self._created("made.up@example.net")
        good = self._signed(body)
        elsewhere = body.replace(b'"campaign_id":', b'"campaign_id":1')
        wrong = hmac_hex("the secret before this one", body)
        said, form = "topic=clicked&email=made.up%40example.net", {"Content-Type": "application/x-www-form-urlencoded"}
        without = {name: value for name, value in good.headers.items() if name != "x-mailpro-signature"}
        return {
            "no signature": Call(headers=without, body=body),
            "bad signature: of another body": Call(headers=good.headers, body=body.replace(b"made.up", b"else")),
            "rotated key": Call(headers={**good.headers, "x-mailpro-signature": wrong}, body=body),
            "wrong account: another licence": Call(headers={**good.headers, "x-mailpro-license": "another"}, body=body),
            "wrong account: another campaign": self._signed(elsewhere),
            "re-serialised": Call(headers=good.headers, body=msgspec.json.format(body, indent=2)),
            "bad token: in a query": Call(method="GET", query=f"token=wrong&{said}"),
            "bad token: in a form": Call(headers=form, body=f"token=wrong&{said}".encode()),
            "no token: in a query": Call(method="GET", query=said),
            "no token: in a form": Call(headers=form, body=said.encode()),
        }

    def unheard_of(self) -> Call:
        body = self._created("made.up@example.net")
        return Call(headers=self.twin.signed("contact.polished", body), body=body)

    # Inside.

    def _created(self, email: str) -> bytes:
        row = {"contact_id": SUBSCRIBER, "campaign_id": self.twin.settings.campaign_id, "email": email}
        return msgspec.json.encode({**row, "mobile_nr": None, "lang": "nl", "fields": []})

    def _signed(self, body: bytes) -> Call:
        return Call(headers=self.twin.signed("contact.created", body), body=body)

    def _row(self, email: str) -> Row:
        row = self.account.find(email)
        if row is None:
            raise LookupError(f"there is no contact {email}")
        return row

    def _group(self, purpose: str) -> int:
        target = self.furnishing.consents[purpose]
        assert isinstance(target, WebpowerConsent)  # this twin's own kind of target
        return target.group

    def _audiences(self) -> dict[str, int]:
        """The groups of the audiences; those without a number are found by name, once they are made."""
        by_name = {each.name: number for number, each in self.account.groups.items()}
        targets = {
            name: target for name, target in self.furnishing.audiences.items() if isinstance(target, WebpowerAudience)
        }
        found = {name: target.group or by_name.get(name) for name, target in targets.items()}
        return {name: number for name, number in found.items() if number is not None}

    def _shown(self, row: Row) -> Contact:
        asked = any(each["contact"] == row.id for each in self.account.pending)
        consents: dict[str, Held] = {}
        for purpose in self.furnishing.consents:
            if COMPLAINED in row.groups:
                consents[purpose] = "denied"
            elif self._group(purpose) in row.groups:
                consents[purpose] = "granted"
            elif asked and self._group(purpose) in self.account.double:
                consents[purpose] = "pending"
        fields: dict[str, Any] = {**row.custom, "mobile_nr": row.mobile_nr, "lang": row.lang}
        return Contact(
            remote_id=str(row.id),
            email=row.email,
            fields={name: str(value) for name, value in fields.items() if value not in {None, ""}},
            consents=consents,
            audiences=frozenset(name for name, number in self._audiences().items() if number in row.groups),
        )


def _body(fields: dict[str, str]) -> dict[str, Any]:
    own: dict[str, Any] = {name: fields[name] for name in ("mobile_nr", "lang") if name in fields}
    return {**own, "custom": [{"field": name, "value": value} for name, value in fields.items() if name not in own]}
