"""The vendor's side of a twin: what somebody who sits before the vendor's own screens sees and does.

The words mean the same for every vendor, so that a check is written once and holds for every plugin. A twin gives its side
with ``Twin.side``.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from msgspec import Struct, field

from esplanade.model import Held, ValueType

from .twin import Furnishing, Twin

T = TypeVar("T", bound=Twin[Any])

FORGERIES = (
    "bad signature",
    "no signature",
    "old timestamp",
    "rotated key",
    "wrong account",
    "re-serialised",
    "bad token",
    "no token",
)
"""What can be wrong with a call to the hub. ``rotated key``: what was the vendor's key once signed it; ``re-serialised``: another
form of a body that was signed."""


class Contact(Struct, frozen=True, kw_only=True):
    """One contact as the vendor holds it."""

    remote_id: str
    email: str
    fields: dict[str, str] = field(default_factory=dict)
    """By the vendor's names, as the vendor shows them; what is empty is left out."""
    consents: dict[str, Held] = field(default_factory=dict)
    """By the hub's purposes; what the vendor holds nothing of is left out."""
    audiences: frozenset[str] = frozenset()
    """The hub's names of those it is in."""


class Mail(Struct, frozen=True, kw_only=True):
    """One mail that a trigger had the vendor send, or queue for sending."""

    email: str
    trigger: str
    """The hub's name of the trigger."""
    trigger_id: str | None = None
    """None where the vendor is not told of it."""
    language: str | None = None
    """The language that it is to be in; None where the vendor is not told."""
    words: dict[str, str] = field(default_factory=dict)
    """What the mail can print: data and products, by the vendor's names."""


class Call(Struct, frozen=True, kw_only=True):
    """One call of the vendor to the hub's URL, as it would send it just now."""

    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    query: str = ""


class Untidy(Struct, frozen=True, kw_only=True):
    """A value that this vendor holds otherwise than it was sent: cut, trimmed, or in another form."""

    field: str
    """The vendor's name of the field."""
    sent: str
    held: str
    other: str = "Breda"
    """Another value that the field takes and that is held as it is."""


class VendorSide(Generic[T]):
    """One account, looked at and worked in by hand. What a person does here is told to the hub as the vendor tells it.

    A plugin's twin derives from this and overrides what its vendor has. What it leaves out must be left out of the plugin's
    checks too, with a reason, in ``quality.yaml``. Addresses are found without regard to case.
    """

    def __init__(self, twin: T, furnishing: Furnishing) -> None:
        self.twin = twin
        self.furnishing = furnishing

    # What is seen.

    def contacts(self) -> list[Contact]:
        """Every contact, in a stable order."""
        raise NotImplementedError

    def find(self, email: str) -> Contact | None:
        """The contact with this address, the first of several; None where there is none."""
        return next((each for each in self.contacts() if each.email.lower() == email.lower()), None)

    def mails(self) -> list[Mail]:
        """Every mail that triggers had sent, in order."""
        raise NotImplementedError

    def asked(self, email: str) -> int:
        """How many times this person was asked to confirm."""
        raise NotImplementedError

    # What is done.

    def sign_up(self, email: str, fields: dict[str, str], granted: list[str]) -> None:
        """Somebody whom the hub does not know becomes a contact, and gives consent to some of the hub's purposes."""
        raise NotImplementedError

    def edit(self, email: str, fields: dict[str, str]) -> None:
        """Somebody changes fields of a contact, by the vendor's names."""
        raise NotImplementedError

    def opt_out(self, email: str, purpose: str) -> None:
        """The person withdraws consent."""
        raise NotImplementedError

    def opt_in(self, email: str, purpose: str) -> None:
        """The person gives consent again, at the vendor."""
        raise NotImplementedError

    def confirm(self, email: str) -> bool:
        """The person clicks in the mail that asks for confirmation; False where none was sent."""
        raise NotImplementedError

    def remove(self, email: str) -> None:
        """Somebody deletes the contact."""
        raise NotImplementedError

    def join(self, email: str, audience: str) -> None:
        """Somebody puts a contact into an audience by hand; the contact is made where there is none."""
        raise NotImplementedError

    # The account's set-up.

    def drop_field(self, name: str) -> None:
        """Somebody deletes a field."""
        raise NotImplementedError

    def can_unpublish(self, trigger: str) -> bool:
        """Whether what a trigger sends can be taken back at this vendor, where its account shows that."""
        return True

    def unpublish(self, trigger: str) -> None:
        """Somebody takes back what a trigger sends, so that it can no longer be sent."""
        raise NotImplementedError

    def untidy(self) -> list[Untidy]:
        """Values that this vendor alters; at least one where it alters any."""
        raise NotImplementedError

    # What not every vendor has: a check looks first whether it is there.

    def offers(self, what: str) -> bool:
        """Whether this side has one of the following."""
        return getattr(type(self), what) is not getattr(VendorSide, what)

    def readdress(self, email: str, new: str) -> None:
        """Somebody gives a contact another address."""
        raise NotImplementedError

    def bounce(self, email: str) -> None:
        """Mail to a contact comes back for good."""
        raise NotImplementedError

    def complain(self, email: str) -> None:
        """The person reports a mail as spam."""
        raise NotImplementedError

    def add_field(self, name: str, type_: ValueType, options: list[str]) -> None:
        """Somebody makes a field; ``options`` are the choices of a multi-select."""
        raise NotImplementedError

    def retype_field(self, name: str) -> None:
        """Somebody gives a field of text a type that takes no words: a number, or a date."""
        raise NotImplementedError

    def wrong_account(self) -> dict[str, Any]:
        """Settings that name something, such as a campaign, which the account of these credentials does not have."""
        raise NotImplementedError

    def wipe(self, purpose: str) -> None:
        """Somebody empties the list of a purpose by mistake; nobody has opted out."""
        raise NotImplementedError

    def refused_address(self) -> str:
        """An address that is one, and that this vendor does not take: nobody who has it becomes a contact."""
        raise NotImplementedError

    def run_dry(self) -> None:
        """The account has nothing left to pay for another mail."""
        raise NotImplementedError

    # Calls to the hub.

    def tell(self, email: str) -> None:
        """The vendor calls the hub about a contact once more, with all that its webhooks ever tell of one."""
        raise NotImplementedError

    def calls(self) -> dict[str, Call]:
        """One genuine call of each kind that the vendor makes, by the kind's name; made for just now."""
        raise NotImplementedError

    def forgeries(self) -> dict[str, Call]:
        """Calls that must not be believed, by what is wrong with them: words of ``FORGERIES``, with more after a colon."""
        raise NotImplementedError

    def unheard_of(self) -> Call:
        """A genuine call of a kind of which nobody has told the hub."""
        raise NotImplementedError

    # Webhooks that are registered.

    def webhooks(self) -> list[str]:
        """What is registered, one line each, its URL in it; in a stable order."""
        raise NotImplementedError

    def add_webhook(self, url: str) -> None:
        """Somebody registers a webhook of their own."""
        raise NotImplementedError

    def spoil_webhook(self, url: str) -> None:
        """Somebody changes the registered webhooks that call this URL, so that they no longer do."""
        raise NotImplementedError

    def drop_webhook(self, url: str) -> None:
        """Somebody deletes the registered webhooks that call this URL."""
        raise NotImplementedError
