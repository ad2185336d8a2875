"""The account as people at SmartEmailing see it and work in it; what the conformance suite looks at and turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from esplanade.testing import Call, Contact, Mail, Untidy, VendorSide

from .settings import (
    BUILT_IN,
    EVENT_PARAMETER,
    SECRET_PARAMETER,
    TEXTS,
    SmartEmailingAudience,
    SmartEmailingConsent,
    SmartEmailingTrigger,
)
from .twin import SmartEmailingTwin
from .twin_hooks import BasicAuth
from .twin_records import Contact as Row
from .twin_scenarios import FORM, SAMPLES, TEXT, XML, basic
from .twin_values import COMPOSITE, built_in, simple
from .values import DATES

if TYPE_CHECKING:
    from esplanade import Held, ValueType

    from .twin_account import Account

KINDS: dict[ValueType, str] = {
    "text": "text",
    "number": "numeric",
    "boolean": "bool",
    "date": "date",
    "datetime": "date",
    "multi-select": "checkbox",
}
"""The types of custom fields; a date has its time of day."""
MADE_UP = Row(id=99_999, guid="made-up", emailaddress="made.up@example.net", created=0.0)
"""A contact that exists only in calls that are made up."""


class SmartEmailingSide(VendorSide[SmartEmailingTwin]):
    """One account. It has no complaints, and none of its keys is for another account, so neither is here."""

    @property
    def account(self) -> Account:
        """The account itself."""
        return self.twin.account

    # What is seen.

    def contacts(self) -> list[Contact]:
        return [self._shown(each) for each in self.account.contacts.values()]

    def find(self, email: str) -> Contact | None:
        row = self.account.find(email)
        return None if row is None else self._shown(row)

    def mails(self) -> list[Mail]:
        targets = {
            name: target
            for name, target in self.furnishing.triggers.items()
            if isinstance(target, SmartEmailingTrigger)
        }
        by_event = {target.event: name for name, target in targets.items() if target.event is not None}
        by_email = {target.email_id: name for name, target in targets.items() if target.email_id is not None}
        found = []
        for each in self.account.mails:
            sent = each["kind"] == "transactional_email"
            name = by_email.get(each["email_id"]) if sent else by_event.get(each.get("event", ""))
            if name is not None:
                words = dict(_flat(each["words"]))
                said = {"trigger_id": words.get("trigger_id"), "language": words.get("language")}
                found.append(Mail(email=each["emailaddress"], trigger=name, words=words, **said))
        return found

    def asked(self, email: str) -> int:
        return sum(each.lower() == email.lower() for each, _ in self.account.asked)

    # What is done.

    def sign_up(self, email: str, fields: dict[str, str], granted: list[str]) -> None:
        row = self.account.create(email)
        with self.account.changing(row, is_new=True):
            self._write(row, fields)
            for purpose in granted:
                self.account.subscribe(row, self._consent(purpose).list, "confirmed")

    def edit(self, email: str, fields: dict[str, str]) -> None:
        row = self._row(email)
        with self.account.changing(row):
            self._write(row, fields)

    def opt_out(self, email: str, purpose: str) -> None:
        self.twin.unsubscribe(self._row(email).emailaddress, self._consent(purpose).list)

    def opt_in(self, email: str, purpose: str) -> None:
        row = self._row(email)
        with self.account.changing(row):
            self.account.subscribe(row, self._consent(purpose).list, "confirmed")

    def confirm(self, email: str) -> bool:
        return self.twin.click_confirmation(email)

    def readdress(self, email: str, new: str) -> None:
        self.account.rename(email, new)

    def remove(self, email: str) -> None:
        self.account.forget(self._row(email))

    def join(self, email: str, audience: str) -> None:
        row = self.account.find(email)
        is_new = row is None
        row = self.account.create(email) if row is None else row
        with self.account.changing(row, is_new=is_new):
            self.account.subscribe(row, self._audiences()[audience], "confirmed")

    def bounce(self, email: str) -> None:
        self.twin.bounce(self._row(email).emailaddress)

    # The account's set-up.

    def drop_field(self, name: str) -> None:
        self.account.remove_field(self._field(name))

    def add_field(self, name: str, type_: ValueType, options: list[str]) -> None:
        self.account.add_field(name, KINDS[type_], options)

    def retype_field(self, name: str) -> None:
        self.account.fields[self._field(name)].type = "numeric"

    def refused_address(self) -> str:
        return "noor!pim@example.net"

    def wipe(self, purpose: str) -> None:
        number = self._consent(purpose).list
        for row in self.account.held_by(number):
            del row.lists[number]

    def unpublish(self, trigger: str) -> None:
        """An e-mail is deleted, a scenario is switched off; of the latter the API never tells."""
        target = self.furnishing.triggers[trigger]
        assert isinstance(target, SmartEmailingTrigger)  # this twin's own kind of target
        if target.email_id is not None:
            del self.account.emails[target.email_id]
        for each in self.twin.scenarios.scenarios:
            if each.event == target.event:
                each.active = False

    def untidy(self) -> list[Untidy]:
        """A birthday loses its time of day; a text that is too long is cut, where the habit says so."""
        found = []
        if "birthday" in self.furnishing.fields:
            found.append(Untidy(field="birthday", sent="1990-12-10T08:30:00Z", held="1990-12-10", other="1991-01-11"))
        most = self.twin.habits.text_length
        name = next((each for each in self.furnishing.fields if each in TEXTS), None)
        if most is not None and name is not None:
            found.append(Untidy(field=name, sent="x" * (most + 10), held="x" * most))
        return found

    # Calls to the hub.

    def tell(self, email: str) -> None:
        url = self.twin.hook_url
        if url is not None:
            call = self._call("updated_contact", self._row(email))
            self.twin.emit(call.body, call.headers, call.method, url=f"{url}?{call.query}")

    def calls(self) -> dict[str, Call]:
        events = ("new_contact", "updated_contact", "unsubscribed_contact", "delivery_status")
        said = {event: self._call(event, MADE_UP) for event in events}
        for event, sample in SAMPLES.items():
            said[f"scenario: {event}"] = self._scenario(event, sample)
        for name, kind in (("form", FORM), ("XML", XML), ("text", TEXT)):
            said[f"scenario as {name}"] = self._scenario("clicked", SAMPLES["clicked"], content_type=kind)
        return said

    def forgeries(self) -> dict[str, Call]:
        settings, good, forged = self.twin.settings, self._call("updated_contact", MADE_UP), dict[str, Call]()
        bare = {name: each for name, each in good.headers.items() if name != "Authorization"}
        query = f"{EVENT_PARAMETER}=updated_contact"
        if settings.webhook_shared_secret:
            forged["bad token: in the query"] = _with(good, query=f"{query}&{SECRET_PARAMETER}=wrong")
            forged["no token: in the query"] = _with(good, query=query)
        if settings.basic_auth is not None:
            wrong = basic(settings.basic_auth.login, "wrong")
            forged["bad token: as password"] = _with(good, headers={**bare, "Authorization": wrong})
            other = basic("somebody", settings.basic_auth.password.reveal())
            forged["bad token: of another login"] = _with(good, headers={**bare, "Authorization": other})
            forged["no token: no password"] = _with(good, headers=bare)
        return forged

    def unheard_of(self) -> Call:
        return self._call("polished_contact", MADE_UP)

    # Webhooks that are registered.

    def webhooks(self) -> list[str]:
        return [f"{each.event} {each.url} active={each.active}" for each in self.twin.hooks.hooks.values()]

    def add_webhook(self, url: str) -> None:
        self.twin.hooks.add(url, "updated_contact")

    def spoil_webhook(self, url: str) -> None:
        """They are switched off; their URL stays."""
        for each in self.twin.hooks.hooks.values():
            if each.url.partition("?")[0] == url:
                each.active = False

    def drop_webhook(self, url: str) -> None:
        hooks = self.twin.hooks.hooks
        self.twin.hooks.hooks = {key: each for key, each in hooks.items() if each.url.partition("?")[0] != url}

    # Inside.

    def _call(self, event: str, row: Row) -> Call:
        """A call as a web-hook makes it that was registered with all that the settings ask for."""
        settings = self.twin.settings
        own, secret = settings.basic_auth, settings.webhook_shared_secret.reveal()
        auth = BasicAuth(login=own.login, password=own.password.reveal()) if own is not None else None
        query = f"{EVENT_PARAMETER}={event}" + (f"&{SECRET_PARAMETER}={quote(secret, safe='')}" if secret else "")
        return _with(self.twin.hooks.call(event, row, auth), query=query)

    def _scenario(self, event: Any, sample: Any, **more: Any) -> Call:
        _, call = self.twin.scenarios.call(
            self.twin.scenarios.webhook(event, self.twin.hook_url or "http://127.0.0.1/", **more), MADE_UP, sample
        )
        return call

    def _row(self, email: str) -> Row:
        row = self.account.find(email)
        if row is None:
            raise LookupError(f"there is no contact {email}")
        return row

    def _field(self, name: str) -> int:
        found = self.account.field_named(name)
        if found is None:
            raise LookupError(f"there is no custom field {name}")
        return found.id

    def _write(self, row: Row, fields: dict[str, str]) -> None:
        for name, text in fields.items():
            if name in BUILT_IN:
                row.values[name] = (
                    built_in(name, f"{text} 00:00:00" if name in DATES and len(text) == len("1990-12-10") else text)
                    or ""
                )
            else:
                number = self._field(name)
                row.custom[number] = self._in_field(number, text)
        row.values = {name: text for name, text in row.values.items() if text}
        row.custom = {number: held for number, held in row.custom.items() if held}

    def _in_field(self, number: int, text: str) -> str | list[int]:
        """What a custom field holds once somebody has typed a text into it, or the names of options with commas between."""
        kind = self.account.fields[number].type
        if kind not in COMPOSITE:
            return simple(kind, number, text)
        wanted = [each.strip() for each in text.split(",")]
        return [each.id for each in self.account.options_of(number) if each.name in wanted]

    def _consent(self, purpose: str) -> SmartEmailingConsent:
        target = self.furnishing.consents[purpose]
        assert isinstance(target, SmartEmailingConsent)  # this twin's own kind of target
        return target

    def _audiences(self) -> dict[str, int]:
        """The lists of the audiences; those without a number are found by name, once they are made."""
        by_name = {each.name: number for number, each in self.account.lists.items()}
        targets = self.furnishing.audiences.items()
        found = {
            name: each.list or by_name.get(name) for name, each in targets if isinstance(each, SmartEmailingAudience)
        }
        return {name: number for name, number in found.items() if number is not None}

    def _shown(self, row: Row) -> Contact:
        waiting = {each.id for question in self.twin.waiting(row.emailaddress) for each in question.row.lists}
        consents: dict[str, Held] = {}
        for purpose in self.furnishing.consents:
            number = self._consent(purpose).list
            held = row.lists.get(number)
            if row.blacklisted or (held is not None and held.status == "unsubscribed"):
                consents[purpose] = "denied"
            elif held is not None:
                consents[purpose] = "granted"
            elif number in waiting:
                consents[purpose] = "pending"
        audiences = self._audiences().items()
        return Contact(
            remote_id=str(row.id),
            email=row.emailaddress,
            fields={name: text for name, text in self.twin.fields_of(row).items() if text},
            consents=consents,
            audiences=frozenset(name for name, number in audiences if _is_on(row, number)),
        )


def _is_on(row: Row, number: int) -> bool:
    return number in row.lists and row.lists[number].status == "confirmed"


def _with(call: Call, **more: Any) -> Call:
    said = {"method": call.method, "headers": call.headers, "body": call.body, "query": call.query}
    return Call(**{**said, **more})


def _flat(words: Any, path: str = "") -> list[tuple[str, str]]:
    """Every single value, by the path under which a template prints it."""
    if isinstance(words, dict):
        return [pair for key, each in words.items() for pair in _flat(each, f"{path}.{key}" if path else str(key))]
    if isinstance(words, list):
        return [pair for at, each in enumerate(words) for pair in _flat(each, f"{path}[{at}]")]
    return [] if words is None else [(path, str(words))]
