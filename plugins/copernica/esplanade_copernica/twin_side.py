"""The database as people at Copernica see it and work in it; what the conformance suite looks at and turns."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from esplanade.testing import Call, Contact, Mail, Untidy, VendorSide

from .audiences import FIELD, key, written
from .layout import AUDIENCES
from .settings import CopernicaAudience, CopernicaConsent, CopernicaTrigger
from .twin import CopernicaTwin
from .twin_account import Event, Record
from .twin_calls import FORM, callback_body, foreign_key, webhook_body
from .twin_fields import RefusedError, http_date
from .twin_hooks import Shape
from .values import state_of

if TYPE_CHECKING:
    from esplanade import Held, ValueType

    from .twin_account import Account, Table

KINDS: dict[ValueType, str] = {
    "text": "text",
    "number": "float",
    "boolean": "text",
    "date": "empty_date",
    "datetime": "empty_datetime",
    "multi-select": "text",
}
"""The types of fields; Copernica has none for a boolean, nor for several choices."""
SHAPES: tuple[Shape, ...] = ("A", "B", "C")
MADE_UP = 99_999
"""Number of a profile that exists only in calls that are made up."""


class CopernicaSide(VendorSide[CopernicaTwin]):
    """One database."""

    @property
    def account(self) -> Account:
        """The account itself."""
        return self.twin.account

    # What is seen.

    def contacts(self) -> list[Contact]:
        return [self._shown(each) for each in self.account.records(self._table())]

    def mails(self) -> list[Mail]:
        """Rows in the triggers collection, each mailed by a follow-up upon its creation, and what was sent to such a row."""
        rows = {each.id: each for each in self._below("triggers")}
        by_row = [each for each in rows.values() if self._trigger(each.fields["trigger"]).route == "subprofile"]
        sent = [rows[each["target"]] for each in self.account.mails if each["targettype"] == "subprofile"]
        return [self._mail(each) for each in sorted([*by_row, *sent], key=lambda row: row.created)]

    def asked(self, email: str) -> int:
        return sum(each.lower() == email.lower() for each in self.twin.questions)

    # What is done.

    def sign_up(self, email: str, fields: dict[str, str], granted: list[str]) -> None:
        consents = {self._consent(purpose).field: self._consent(purpose).granted for purpose in granted}
        self.twin.sign_up(email, {**fields, **consents})

    def edit(self, email: str, fields: dict[str, str]) -> None:
        self.twin.edit_profile(self._row(email).id, fields)

    def opt_out(self, email: str, purpose: str) -> None:
        target = self._consent(purpose)
        self.edit(email, {target.field: target.denied})

    def opt_in(self, email: str, purpose: str) -> None:
        target = self._consent(purpose)
        self.edit(email, {target.field: target.granted})

    def confirm(self, email: str) -> bool:
        """The link in the question leads to a form of Publisher's that writes the granted value."""
        row = self.twin.find(email)
        targets = [self._consent(purpose) for purpose in self.furnishing.consents]
        asking = {each.field: each.granted for each in targets if row and row.fields.get(each.field) == each.pending}
        if row is not None and asking:
            self.twin.edit_profile(row.id, asking, caller="publisher")
        return bool(asking)

    def bounce(self, email: str) -> None:
        self.twin.mail_event("bounce", self._row(email).id)

    def readdress(self, email: str, new: str) -> None:
        self.edit(email, {self.account.email_field: new})

    def remove(self, email: str) -> None:
        self.twin.remove_profile(self._row(email).id)

    def join(self, email: str, audience: str) -> None:
        row = self.twin.find(email)
        profile = row.id if row is not None else self.twin.sign_up(email)
        target = self.furnishing.audiences[audience]
        assert isinstance(target, CopernicaAudience)  # this twin's own kind of target
        if target.interest is not None:
            self.twin.edit_profile(profile, {}, interests={target.interest: True})
            return
        table = self._audience_table()
        below = self.account.records(table, profile)
        listed = [*self._listed(profile), key(audience, target)]
        if below:
            self.twin.edit_subprofile(below[0].id, {FIELD: written(listed)})
        else:
            self.twin.add_subprofile(profile, table.name, {FIELD: written(listed)})

    # The database's set-up.

    def wrong_account(self) -> dict[str, Any]:
        return {"database_id": 4711}

    def drop_field(self, name: str) -> None:
        table = self._table()
        table.fields = [each for each in table.fields if each.name != name]
        for each in self.account.profiles.values():
            each.fields.pop(name, None)

    def add_field(self, name: str, type_: ValueType, options: list[str]) -> None:
        self.account.add_field(self._table(), name, KINDS[type_])

    def retype_field(self, name: str) -> None:
        next(each for each in self._table().fields if each.name == name).type = "integer"

    def wipe(self, purpose: str) -> None:
        field = self._consent(purpose).field
        for each in self.account.records(self._table()):
            self.twin.edit_profile(each.id, {field: ""})

    def refused_address(self) -> str:
        self.account.blocked.add("blocked.example")
        return "noor@blocked.example"

    def can_unpublish(self, trigger: str) -> bool:
        return self._trigger(trigger).template is not None

    def unpublish(self, trigger: str) -> None:
        template = self._trigger(trigger).template
        if template is None:
            raise LookupError(f"the trigger {trigger} sends no template")
        self.account.templates[template].archived = True

    def untidy(self) -> list[Untidy]:
        return [Untidy(field="City", sent="x" * 300, held="x" * 255)]

    # Calls to the hub.

    def tell(self, email: str) -> None:
        event = Event(type="update", record=self._row(email), caller="ms", at=self.twin.clock.time())
        self.twin.deliver(webhook_body(event, MADE_UP))

    def calls(self) -> dict[str, Call]:
        said = {kind: self._signed(webhook_body(self._event(kind), MADE_UP)) for kind in ("create", "update", "delete")}
        shapes = {f"callback of shape {each}": self._callback(each) for each in SHAPES}
        mail = {"type": "click", "id": "70001", "recipient": "made.up@example.net", "profile": str(MADE_UP)}
        when = {"timestamp": "2026-01-15 11:00:00", "time": str(int(self.twin.clock.time())), "mailing": "901"}
        return {**said, **shapes, "click": self._signed(urlencode({**mail, **when}).encode())}

    def forgeries(self) -> dict[str, Call]:
        body = webhook_body(self._event("update"), MADE_UP)
        good = self._signed(body)
        unsigned = {name: value for name, value in good.headers.items() if name != "Signature"}
        pairs = parse_qsl(body.decode(), keep_blank_values=True)
        old = http_date(self.twin.clock.time() - 3_600)
        return {
            "no signature": Call(headers=unsigned, body=body),
            "bad signature: of another body": Call(headers=good.headers, body=body.replace(b"made.up", b"else")),
            "bad signature: of another method": Call(method="PUT", headers=good.headers, body=body),
            "old timestamp": self._signed(body, date=old),
            "rotated key": self._signed(body, key=foreign_key()),
            "rotated key: of a host that is not Copernica's": self._signed(body, key_id="one._domainkey.example.net"),
            "wrong account": self._signed(body, x_copernica_id="account_4711"),
            "re-serialised": Call(headers=good.headers, body=urlencode(pairs[::-1]).encode()),
        }

    def unheard_of(self) -> Call:
        return self._signed(b"type=polished&profile=99999&database=31&time=1768471200")

    # Webhooks that are registered.

    def webhooks(self) -> list[str]:
        return [f"{each.handler} {each.trigger} {each.callers} {each.database}" for each in self.twin.webhooks]

    def add_webhook(self, url: str) -> None:
        self.twin.hooks.add(url, "update", database=self.twin.settings.database_id)

    def spoil_webhook(self, url: str) -> None:
        for each in self.twin.webhooks:
            if each.handler == url:
                each.handler = "https://else.example.net/"

    def drop_webhook(self, url: str) -> None:
        for each in self.twin.webhooks:
            if each.handler == url:
                del self.twin.hooks.webhooks[each.id]

    # Inside.

    def _event(self, kind: Any) -> Event:
        """Something that happened to a profile that is nobody's."""
        now = self.twin.clock.time()
        fields = {self.account.email_field: "made.up@example.net", "City": "Breda"}
        record = Record(
            id=MADE_UP,
            database=self.twin.settings.database_id,
            fields=fields,
            secret=secrets.token_hex(16),
            created=now,
            modified=now,
        )
        return Event(type=kind, record=record, caller="ms", at=now, parameters={"City": "Breda"}, before=fields)

    def _callback(self, shape: Shape) -> Call:
        return self._signed(*callback_body(self._event("update"), shape))

    def _signed(self, body: bytes, content_type: str = FORM, **forged: Any) -> Call:
        return Call(headers=self.twin.signed(body, content_type, **forged), body=body)

    def _table(self) -> Table:
        return self.account.database(self.twin.settings.database_id)

    def _row(self, email: str) -> Record:
        row = self.twin.find(email)
        if row is None:
            raise LookupError(f"there is no profile with the address {email}")
        return row

    def _below(self, name: str, profile: int | None = None) -> list[Record]:
        """The subprofiles in one of the hub's collections; none where it was never made."""
        try:
            table = self.account.collection(self.twin.settings.collection(name), self.twin.settings.database_id)
        except RefusedError:
            return []
        return self.account.records(table, profile)

    def _audience_table(self) -> Table:
        settings = self.twin.settings
        name = settings.collection("audiences")
        try:
            return self.account.collection(name, settings.database_id)
        except RefusedError:
            table = self.account.add_collection(settings.database_id, name, "made by hand")
            for field, kind in AUDIENCES.items():
                self.account.add_field(table, field, str(kind["type"]))
            return table

    def _listed(self, profile: int) -> list[str]:
        rows = self._below("audiences", profile)
        return [each for each in (rows[0].fields.get(FIELD, "") if rows else "").split(",") if each]

    def _consent(self, purpose: str) -> CopernicaConsent:
        target = self.furnishing.consents[purpose]
        assert isinstance(target, CopernicaConsent)  # this twin's own kind of target
        return target

    def _trigger(self, name: str) -> CopernicaTrigger:
        target = self.furnishing.triggers[name]
        assert isinstance(target, CopernicaTrigger)  # this twin's own kind of target
        return target

    def _mail(self, row: Record) -> Mail:
        words = {name: value for name, value in row.fields.items() if value}
        return Mail(
            email=self.account.email_of(row),
            trigger=row.fields["trigger"],
            trigger_id=row.fields["trigger_id"],
            words=words,
            language=row.fields["language"] or None,
        )

    def _shown(self, row: Record) -> Contact:
        consents: dict[str, Held] = {}
        for purpose in self.furnishing.consents:
            target = self._consent(purpose)
            state = state_of(row.fields.get(target.field), target)
            if state in {"granted", "denied", "pending"}:
                consents[purpose] = state
        own = {name: value for name, value in row.fields.items() if value and name != self.account.email_field}
        below = [pair for each in self._below("profile", row.id)[:1] for pair in each.fields.items()]
        prefix = self.twin.settings.collection("profile")
        listed = self._listed(row.id)
        targets = self.furnishing.audiences.items()
        return Contact(
            remote_id=str(row.id),
            email=self.account.email_of(row),
            fields={**own, **{f"{prefix}.{name}": value for name, value in below if value}},
            consents=consents,
            audiences=frozenset(
                name
                for name, each in targets
                if isinstance(each, CopernicaAudience)
                and (each.interest in row.interests if each.interest is not None else key(name, each) in listed)
            ),
        )
