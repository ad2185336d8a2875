"""The calls of the twin that have something sent: events for scenarios, transactional and custom mails, SMS (section 7)."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field

from .twin_answers import Columns, created, ok, page
from .twin_import import Replace, SenderCredentials
from .twin_values import RefusedError, address_of, read_as

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiohttp import web

    from .twin_account import Account
    from .twin_gate import Gate, Route
    from .twin_records import Contact

MAX_CUSTOM = 500
"""Tasks of one custom send."""
CAMPAIGN_TYPES = ("newsletter", "autoresponder", "custom_email", "trigger_action", "transactional_email")
STAT_KEYS = ("id", "contact_id", "emailaddress", "time", "opened", "clicked", "unsubscribed", "bounced")
STATS = Columns(select=STAT_KEYS, sort=STAT_KEYS, filter=STAT_KEYS, more=("type",))


class Event(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event for one contact. The payload is an object; an empty array passes, as that is how PHP writes none."""

    emailaddress: str
    name: str
    payload: dict[str, Any] | list[None] = field(default_factory=dict)


class Attachment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file that goes along."""

    file_name: str
    content_type: str
    data_base64: str


class Recipient(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom it goes to; ``cellphone`` is of SMS."""

    emailaddress: str
    cellphone: str | None = None


class Task(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One mail or SMS."""

    recipient: Recipient
    replace: list[Replace] = field(default_factory=list)
    template_variables: dict[str, Any] | list[None] = field(default_factory=dict)
    attachments: list[Attachment] = field(default_factory=list)


class MessageContents(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mail that is not stored as an e-mail."""

    subject: str
    html_body: str
    text_body: str


class Send(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a send of mails; with both, ``email_id`` wins."""

    tag: str
    sender_credentials: SenderCredentials
    tasks: list[Task]
    email_id: int | None = None
    message_contents: MessageContents | None = None


class SendSms(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a send of SMS."""

    tag: str
    sms_id: int
    tasks: list[Task]


class SendApi:
    """The vendor's sends, on one account. ``happens`` is told of every event that is triggered."""

    def __init__(
        self, account: Account, gate: Gate, happens: Callable[[str, Contact, Mapping[str, Any]], None]
    ) -> None:
        self.account = account
        self.gate = gate
        self.happens = happens
        self.events: list[dict[str, Any]] = []
        """Every event that was triggered, in order, whether a scenario listens for it or not."""
        self.tags: dict[str, int] = {}
        """Ids of transactional mails by their tags."""

    def calls(self) -> Sequence[Route]:
        return [
            ("POST", "trigger-event", self._trigger),
            ("POST", "send/transactional-emails-bulk", self._transactional),
            ("POST", "send/custom-emails-bulk", self._custom),
            ("POST", "send/custom-sms-bulk", self._sms),
            ("GET", "transactional-emails-ids", self._tags),
            ("GET", "campaign-stats-sent", self._stats),
        ]

    # Events.

    async def _trigger(self, request: web.Request) -> web.Response:
        """A bare array. Nothing is said of scenarios, nor is anything told apart that comes twice; unknown addresses become
        contacts."""
        events = read_as(list[Event], await self.gate.body(request))
        most = self.gate.habits.max_triggers
        if not events or (most is not None and len(events) > most):
            raise RefusedError(f"Number of events must be between 1 and {most or 'more'}.")
        for each in events:
            address_of(each.emailaddress)
            if not re.fullmatch(self.gate.habits.event_names, each.name):
                raise RefusedError(f"Event name {each.name} is not valid.")
            self._check_size("Payload", each.payload)
        for each in events:
            contact = self._recipient(each.emailaddress)
            payload = each.payload if isinstance(each.payload, dict) else {}
            said = {"name": each.name, "contact_id": contact.id, "emailaddress": contact.emailaddress}
            self.events.append({**said, "payload": payload, "at": self.account.now()})
            self.happens(each.name, contact, payload)
        return created()

    def _recipient(self, email: str) -> Contact:
        found = self.account.find(email)
        if found is None:
            found = self.account.create(email)
            with self.account.changing(found, is_new=True):
                pass
        return found

    def _check_size(self, what: str, said: Any) -> None:
        most = self.gate.habits.max_payload_bytes
        if most is not None and len(msgspec.json.encode(said)) > most:
            raise RefusedError(f"{what} is larger than {most} bytes.")

    # Mails and SMS.

    async def _transactional(self, request: web.Request) -> web.Response:
        return created(self._send(await self.gate.body(request), "transactional_email"))

    async def _custom(self, request: web.Request) -> web.Response:
        return created(self._send(await self.gate.body(request), "custom_email"))

    def _send(self, body: Any, kind: str) -> list[dict[str, str]]:
        """All tasks or none. Only transactional mails may be without an ``email_id``, or have attachments."""
        habits, said, is_custom = self.gate.habits, read_as(Send, body), kind == "custom_email"
        most = MAX_CUSTOM if is_custom else habits.max_transactional
        if not said.tag.strip() or not 1 <= len(said.tasks) <= most:
            raise RefusedError(f"A tag and 1 to {most} tasks are required.")
        if said.email_id is not None:
            self.account.email_of(said.email_id)
        elif is_custom or said.message_contents is None:
            raise RefusedError("Parameter email_id is required.")
        said.sender_credentials.checked()
        for task in said.tasks:
            address_of(task.recipient.emailaddress)
            self._check_size("Template variables", task.template_variables)
            if is_custom and task.attachments:
                raise RefusedError("Custom e-mails have no attachments.")
        if not is_custom and habits.sends_left is not None:
            if habits.sends_left < len(said.tasks):
                raise RefusedError("Rate limit exceeded.", 429)
            habits.sends_left -= len(said.tasks)
        if not is_custom:
            self.tags.setdefault(said.tag, len(self.tags) + 1)
        return [self._sent(kind, said, task) for task in said.tasks]

    def _sent(self, kind: str, said: Send, task: Task) -> dict[str, str]:
        contact = self._recipient(task.recipient.emailaddress)
        number = secrets.token_hex(16)
        variables = task.template_variables if isinstance(task.template_variables, dict) else {}
        self.account.mailed(
            contact,
            kind=kind,
            id=number,
            email_id=said.email_id,
            tag=said.tag,
            sender=said.sender_credentials.from_,
            subject=said.message_contents.subject if said.email_id is None and said.message_contents else None,
            words={**variables, **{f"replace_{each.key}": each.content for each in task.replace}},
            attachments=[each.file_name for each in task.attachments],
        )
        return {"recipient": task.recipient.emailaddress, "id": number}

    async def _sms(self, request: web.Request) -> web.Response:
        said, sent = read_as(SendSms, await self.gate.body(request)), []
        if not said.tag.strip() or not 1 <= len(said.tasks) <= MAX_CUSTOM:
            raise RefusedError(f"A tag and 1 to {MAX_CUSTOM} tasks are required.")
        for task in said.tasks:
            address_of(task.recipient.emailaddress)
            if not task.recipient.cellphone:
                raise RefusedError("Parameter cellphone is required.")
        for task in said.tasks:
            contact, number = self._recipient(task.recipient.emailaddress), secrets.token_hex(16)
            words = {f"replace_{each.key}": each.content for each in task.replace}
            more = {"tag": said.tag, "sms_id": said.sms_id, "cellphone": task.recipient.cellphone}
            self.account.mailed(contact, kind="sms", id=number, words=words, **more)
            sent.append({"recipient": task.recipient.emailaddress, "id": number})
        return created(sent)

    # What became of them.

    async def _tags(self, request: web.Request) -> web.Response:
        return ok(self.tags)

    async def _stats(self, request: web.Request) -> web.Response:
        kind = request.query.get("type")
        if kind not in CAMPAIGN_TYPES:
            raise RefusedError(f"Type must be one of {', '.join(CAMPAIGN_TYPES)}.")
        rows = [self._stat(number, each) for number, each in enumerate(self.account.mails, 1) if each["kind"] == kind]
        return page(request, self.gate.habits, STATS, rows, lambda row: row)

    def _stat(self, number: int, mail: dict[str, Any]) -> dict[str, Any]:
        flags = {key: mail[key] for key in ("opened", "clicked", "unsubscribed", "bounced")}
        campaign = self.tags.get(mail.get("tag", ""), mail.get("email_id"))
        who = {"contact_id": mail["contact_id"], "emailaddress": mail["emailaddress"]}
        return {
            "id": number,
            f"{mail['kind']}_id": campaign,
            **who,
            "time": self.account.shown(mail["at"]),
            **flags,
        }
