"""What the vendor does not publish, or only one source tells: each is a habit of the twin that a test may turn."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct, field

BodyShape: TypeAlias = Literal["flat", "contact", "data", "list", "form", "id"]


class Habits(Struct, kw_only=True):
    """How this account behaves where the vendor does not say. The sections are those of the fact sheet."""

    # Who may call, and how often (sections 1 and 9).

    burst: int | None = 2_500
    """Requests that may come at once; None for as many as are made. Told by one third party (section 9)."""
    per_second: float = 4.0
    """Requests per second that are allowed on end, once the burst is used up."""
    daily: int | None = 100_000
    """Requests per day, of the vendor's zone."""
    has_rights: bool = True
    """Whether the key may call anything: 403 otherwise (section 9 knows the code, not its cause)."""
    max_request_bytes: int | None = 10_000_000
    """The largest body, 413 beyond; None for any. The vendor names no number (section 9)."""
    errors_in_200: Literal["never", "reads", "always"] = "reads"
    """Which refusals are ``status: error`` within HTTP 200 (section 1): none, single reads of what is not there, or all but
    those of the door (401, 403, 429)."""
    ignores_unknown_parameters: bool = False
    """Whether a query parameter that nobody knows is passed over, or refused with 422 (section 3)."""

    # Contacts (sections 3, 5 and 6).

    timezone: str = "Europe/Prague"
    """The zone of all times (section 1)."""
    lowers_addresses: bool = True
    """Whether addresses are stored, and come back in ``contacts_map``, in small letters (section 5 joins regardless of case)."""
    contact_key: Literal["email", "id", "both"] = "email"
    """What ``GET contacts/{key}`` takes; older clients used the id, which is said to be gone (section 5)."""
    cleared_by: Literal["both", "empty", "null"] = "both"
    """What empties a field: an empty text, null, or either. null otherwise changes nothing, an empty text is kept (section 5)."""
    text_length: int | None = None
    """How many characters of a contact's own texts are kept; None for all."""
    unchanged_counts: bool = False
    """Whether an import that changes nothing moves ``updated`` and is told to web-hooks."""
    since_parameter: str | None = None
    """Query parameter of ``GET contacts`` that limits them to what changed since a time; none is known (section 3)."""
    unique_names: bool = False
    """Whether a second list, custom field or purpose of the same name is refused with 422 (section 4)."""

    # Double opt-in (section 6).

    creates_unconfirmed: bool = False
    """Whether an empty contact, ``is_confirmed: 0``, is there from the asking on; what was imported waits for the click anyway."""
    takes_known: bool = True
    """Whether with ``new-in-database`` contacts that exist are written at once."""
    tells_requests: bool = True
    """Whether ``double_opt_in_map`` names the requests, as ``{emailaddress, id}``; otherwise it is always empty (section 5)."""

    # Events and sends (section 7).

    max_triggers: int | None = 500
    """Events in one call; clients cut there, the vendor's own limit is not known."""
    event_names: str = "[a-z0-9-]+"
    """Names that an event may have; two pages of Meiro's differ on digits."""
    max_payload_bytes: int | None = 32_768
    """The payload of one event, or the template variables of one mail, as JSON; None for any size."""
    max_transactional: int = 5
    """Tasks of one transactional send, where clients cut."""
    sends_left: int | None = None
    """Transactional mails that may still be sent, None for any number. Past it the vendor says "Rate limit exceeded." until its
    support raises the limit; no Retry-After comes with it."""

    # Web-hooks (section 8a).

    hook_body: BodyShape = "flat"
    """What a web-hook's body looks like; it is not published. ``id`` names the contact by its id alone."""
    single_web_hooks: bool = False
    """Whether ``GET`` and ``PUT web-hooks/{id}`` exist; no client has them."""
    more_hook_events: list[str] = field(default_factory=list)
    """Events beyond the eight, such as ``meiro_open``, which were built for one customer."""
    disables_after: int | None = None
    """Failures in a row that switch a web-hook off; ``errors_in_row`` hints at such a number."""

    # Scenarios (section 8b).

    payload_tag: str = "event"
    """What templates call the payload of an event: ``{{event.cart_id}}``."""
    custom_tag: str = "cf_"
    """What templates put before the id of a custom field: ``{{cf_12}}``."""
    escaping: Literal["none", "type"] = "none"
    """Whether values are made fit for the body's content type; a quotation mark in a name spoils JSON otherwise."""

    def clears(self, value: str | None) -> bool:
        """Whether writing this value empties a field."""
        return value is None if self.cleared_by == "null" else value == "" if self.cleared_by == "empty" else not value
