"""Automation scenarios: what happens to a contact, and what follows from it, webhooks among it (section 8b, and the guide).

The guide tells that URL and message of a webhook are fully customisable, with template scripts, a Content-Type of its own, any
headers, HTTP Basic and dynamic fields, and that one trigger may be followed by others. Methods, timeout and retries are not
published: any method goes, and a call is repeated until it is taken.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import quote, urlsplit

from msgspec import Struct, field

from esplanade.testing import Call

from .settings import EVENT_PARAMETER, SECRET_PARAMETER, SmartEmailingSettings
from .twin_templates import escaping_of, form_of, render

if TYPE_CHECKING:
    from .twin_account import Account
    from .twin_habits import Habits
    from .twin_records import Contact

Event: TypeAlias = Literal[
    "opened",
    "clicked",
    "added-to-list",
    "date-field",
    "order-status",
    "birthday",
    "abandoned-checkout",
    "reward",
]
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
XML = "text/xml"
TEXT = "text/plain"
_MOST_IN_A_ROW = 10
_COMMON = {"emailaddress": "{{df_emailaddress}}", "name": "{{df_name}}", "source": "smartemailing"}
_WORDS: Mapping[Event, tuple[str, Sequence[str]]] = {
    "opened": ("campaign_opened", ("campaign", "campaign_type")),
    "clicked": ("link_clicked", ("campaign", "campaign_type", "link")),
    "added-to-list": ("added_to_list", ("list_id",)),
    "date-field": ("date_field", ("field", "date")),
    "order-status": ("order_status_changed", ("order_id", "status", "total", "currency")),
    "birthday": ("birthday", ("date",)),
    "abandoned-checkout": ("checkout_abandoned", ("cart_id", "total", "currency", "url")),
    "reward": ("reward_given", ("reward", "code")),
}
SAMPLES: Mapping[Event, Mapping[str, Any]] = {
    "opened": {"campaign": "Spring", "campaign_type": "newsletter"},
    "clicked": {"campaign": "Spring", "campaign_type": "newsletter", "link": "https://shop.example/p/1"},
    "added-to-list": {"list_id": 7},
    "date-field": {"field": "member_since", "date": "2026-01-15"},
    "order-status": {"order_id": "A-19", "status": "shipped", "total": 24.5, "currency": "EUR"},
    "birthday": {"date": "1990-12-10"},
    "abandoned-checkout": {"cart_id": "C-77", "total": 24.5, "currency": "EUR", "url": "https://shop.example/cart"},
    "reward": {"reward": "Free shipping", "code": "THANKS-1"},
}
"""What each event of the guide may tell, by the names that its template uses."""


class Webhook(Struct, frozen=True, kw_only=True):
    """A webhook as somebody set it up in a scenario. URL, headers and body are templates."""

    url: str
    method: str = "POST"
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    login: str = ""
    password: str = ""


class SendEmail(Struct, frozen=True, kw_only=True):
    """Send an e-mail."""

    email_id: int


class SendSms(Struct, frozen=True, kw_only=True):
    """Send an SMS, where the contact has a number."""

    sms_id: int


class ToList(Struct, frozen=True, kw_only=True):
    """Add to a list, and with ``leaving`` move there from another one; nobody who opted out is added again."""

    list_id: int
    leaving: int | None = None


class FromList(Struct, frozen=True, kw_only=True):
    """Remove from a list, which is no opt-out."""

    list_id: int


class Next(Struct, frozen=True, kw_only=True):
    """Another event follows."""

    event: str


Step: TypeAlias = Webhook | SendEmail | SendSms | ToList | FromList | Next


class Scenario(Struct, kw_only=True):
    """Listens for one event: one of the guide's, or the name of one that ``trigger-event`` fires."""

    event: str
    steps: list[Step]
    active: bool = True


class Scenarios:
    """The scenarios of one account. ``send`` makes a call: method, URL, headers, body."""

    def __init__(
        self, account: Account, habits: Habits, settings: SmartEmailingSettings, send: Callable[[str, str, Call], None]
    ) -> None:
        self.account = account
        self.habits = habits
        self.settings = settings
        self.scenarios: list[Scenario] = []
        self._send = send
        self._in_a_row = 0

    def add(self, event: str, *steps: Step) -> Scenario:
        """Set up a scenario."""
        self.scenarios.append(Scenario(event=event, steps=list(steps)))
        return self.scenarios[-1]

    def happens(self, event: str, contact: Contact, payload: Mapping[str, Any]) -> None:
        """Something happens to a contact: every active scenario that listens for it runs, its payload available throughout."""
        self._in_a_row += 1
        try:
            if self._in_a_row <= _MOST_IN_A_ROW:
                for each in self.scenarios:
                    if each.active and each.event == event:
                        for step in each.steps:
                            self._run(step, event, contact, payload)
        finally:
            self._in_a_row -= 1

    def _run(self, step: Step, event: str, contact: Contact, payload: Mapping[str, Any]) -> None:
        account = self.account
        match step:
            case Webhook():
                self._send(event, *self.call(step, contact, payload))
            case SendEmail():
                if step.email_id in account.emails:
                    account.mailed(
                        contact, kind="trigger_action", event=event, email_id=step.email_id, words=dict(payload)
                    )
            case SendSms():
                if "cellphone" in contact.values:
                    phone = contact.values["cellphone"]
                    account.mailed(contact, kind="sms", event=event, sms_id=step.sms_id, words={}, cellphone=phone)
            case ToList():
                with account.changing(contact):
                    account.subscribe(contact, step.list_id, "confirmed", preserve=True)
                    if step.leaving is not None:
                        account.subscribe(contact, step.leaving, "removed", preserve=True)
            case FromList():
                with account.changing(contact):
                    account.subscribe(contact, step.list_id, "removed", preserve=True)
            case Next():
                self.happens(step.event, contact, payload)

    # Webhooks.

    def webhook(self, event: Event, url: str, content_type: str = JSON, **more: Any) -> Webhook:
        """The webhook that the hub's documentation recommends for an event, in any of the content types, with the secrets that
        the connector's settings ask for."""
        settings, (word, keys) = self.settings, _WORDS[event]
        auth = settings.basic_auth
        words = {"event": word, **_COMMON, **{key: f"{{{{{self.habits.payload_tag}.{key}}}}}" for key in keys}}
        secret = settings.webhook_shared_secret.reveal()
        query = f"{EVENT_PARAMETER}={word}" + (f"&{SECRET_PARAMETER}={quote(secret, safe='')}" if secret else "")
        made: dict[str, Any] = {
            "url": f"{url}{'&' if '?' in url else '?'}{query}",
            "content_type": content_type,
            "body": form_of(words, content_type),
            "login": auth.login if auth is not None else "",
            "password": auth.password.reveal() if auth is not None else "",
        }
        return Webhook(**{**made, **more})

    def call(self, webhook: Webhook, contact: Contact, payload: Mapping[str, Any]) -> tuple[str, Call]:
        """The URL and the call that a webhook becomes for a contact."""
        values = self.values(contact, payload)
        url = render(webhook.url, values, "url")
        headers = {name: render(each, values) for name, each in webhook.headers.items()}
        if webhook.login:
            headers["Authorization"] = basic(webhook.login, webhook.password)
        body = b""
        if webhook.method != "GET":
            headers["Content-Type"] = webhook.content_type
            escaping = escaping_of(webhook.content_type) if self.habits.escaping == "type" else "none"
            body = render(webhook.body, values, escaping).encode()
        return url, Call(method=webhook.method, headers=headers, body=body, query=urlsplit(url).query)

    def values(self, contact: Contact, payload: Mapping[str, Any]) -> dict[str, Any]:
        """What a template can print of a contact, and of what happened to it."""
        habits = self.habits
        own = {"id": contact.id, "guid": contact.guid, "emailaddress": contact.emailaddress, **contact.values}
        custom = {f"{habits.custom_tag}{number}": self._held(held) for number, held in contact.custom.items()}
        return {**{f"df_{key}": value for key, value in own.items()}, **custom, habits.payload_tag: dict(payload)}

    def _held(self, held: str | list[int]) -> str:
        options = self.account.options
        return held if isinstance(held, str) else ", ".join(options[each].name for each in held)


def basic(login: str, password: str) -> str:
    """The header of HTTP Basic."""
    return f"Basic {base64.b64encode(f'{login}:{password}'.encode()).decode()}"
