"""What a call of SmartEmailing is about: an account's web-hook, or the webhook of a scenario (section 8). Pure.

Neither body is published, and the latter is written by the operator, so a call is a hint and no more: it names contacts, who are
then read. What happened besides a change of the contact (a mail was sent, a link was clicked) is told under the name that the
call gives it.
"""

from __future__ import annotations

import base64
import binascii
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs

from msgspec import Struct

from esplanade import BodyPath, PermanentError, address_in, read_body
from esplanade.http import same

from .settings import EVENT_PARAMETER, SECRET_PARAMETER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from esplanade import InboundRequest

    from .settings import SmartEmailingSettings

Tree: TypeAlias = Any

CHANGES = frozenset({"new_contact", "updated_contact", "unsubscribed_contact", "delivery_status"})
"""Events that are told whole by the contact itself."""
OF_NOBODY = frozenset({"newsletter_sending_started", "newsletter_sending_finished"})
EVENT_PATHS = (BodyPath("event"), BodyPath(EVENT_PARAMETER))


class Named(Struct, frozen=True, kw_only=True):
    """A contact as a call names it: by address, by id, or by both."""

    email: str | None = None
    contact: str | None = None


class Call(Struct, frozen=True, kw_only=True):
    """What a call says."""

    event: str
    """Empty where it does not say."""
    people: list[Named]
    data: dict[str, Any]
    """What else it says, as it says it; of several people, nobody must be told the others' addresses."""

    @property
    def is_change(self) -> bool:
        """Whether the contact itself tells all of it."""
        return not self.event or self.event in CHANGES


def why_not(request: InboundRequest, settings: SmartEmailingSettings) -> str | None:
    """Why a call is not the vendor's; None when it has all that the settings ask for."""
    secret = settings.webhook_shared_secret.reveal()
    if secret:
        said = parse_qs(request.query).get(SECRET_PARAMETER, [])
        if len(said) != 1 or not same(said[0], secret):
            return f"the parameter {SECRET_PARAMETER} of its URL is not webhook_shared_secret"
    auth = settings.basic_auth
    if auth is not None:
        scheme, _, code = request.headers.get("authorization", "").partition(" ")
        try:
            login, _, password = base64.b64decode(code.strip(), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            login, password = "", ""
        is_good = same(login, auth.login) & same(password, auth.password.reveal())
        if scheme.lower() != "basic" or not is_good:
            return "its HTTP Basic credentials are not those of basic_auth"
    return None


def read(request: InboundRequest, settings: SmartEmailingSettings) -> Call:
    """Whom a call is about, and what it is. Raises PermanentError where it names nobody, or cannot be read."""
    body = read_body(request)
    said = [body.query.get(EVENT_PARAMETER), *(path.look_up(body.tree) for path in EVENT_PATHS)]
    event = next((each for each in said if isinstance(each, str) and each), "")
    if event in OF_NOBODY:  # an id in it is the newsletter's
        return Call(event=event, people=[], data=_data(body.tree))
    trees: Sequence[Tree] = body.tree if isinstance(body.tree, list) else [body.tree]
    people = [each for tree in trees for each in _people(tree, settings)] or _people(body.query, settings)
    if not people:
        try:
            people = [Named(email=str(body.address(settings.webhook_email_paths).value))]
        except PermanentError:
            raise PermanentError(
                "the call names no contact that can be told; name the place of its address or id in "
                "webhook_email_paths, webhook_contact_id_paths"
            ) from None
    return Call(event=event, people=list(dict.fromkeys(people)), data=_data(body.tree))


def _people(tree: Tree, settings: SmartEmailingSettings) -> list[Named]:
    """Those that a body names; of several in a list each with the id beside the address."""
    emails = _first([_spread(path, tree) for path in settings.webhook_email_paths], address_in)
    places = settings.webhook_contact_id_paths
    ids = _first([_spread(path, tree) for path in places], _number)
    sure = _first([_spread(path, tree) for path in places if _is_sure(path)], _number)
    if emails:
        ids, sure = (each if len(each) == len(emails) else [] for each in (ids, sure))
    people = [
        Named(email=email, contact=certain if email else number)
        for email, number, certain in zip_longest(emails, ids, sure if emails else [])
    ]
    return [each for each in people if each.email or each.contact]


def _is_sure(path: BodyPath) -> bool:
    """Whether a path leads to a contact's id for certain: a bare ``id`` may be a newsletter's."""
    return path.rpartition(".")[2] == "contact_id"


def _first(candidates: list[list[Tree]], take: Any) -> list[str | None]:
    """What the first path gives that gives anything; None where one of several has nothing there."""
    found = ([take(value) for value in values] for values in candidates)
    return next((each for each in found if any(each)), [])


def _spread(path: BodyPath, tree: Tree) -> list[Tree]:
    """What a path leads to; where it names the first of a list, what it leads to in each."""
    before, first, after = path.partition("[0]")
    inside = BodyPath(before).look_up(tree) if first and before else tree if first else None
    if not isinstance(inside, list):
        return [path.look_up(tree)]
    rest = after.removeprefix(".")
    return [BodyPath(rest).look_up(each) if rest else each for each in inside]


def _number(value: Tree) -> str | None:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return text if text.isascii() and text.isdigit() and len(text) <= 18 and int(text) > 0 else None


def _data(tree: Tree) -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {}
    return {key: value for key, value in tree.items() if key not in EVENT_PATHS and not _has_address([key, value])}


def _has_address(tree: Tree) -> bool:
    if isinstance(tree, dict):
        return _has_address([*tree, *tree.values()])
    if isinstance(tree, list):
        return any(map(_has_address, tree))
    return isinstance(tree, str) and any(address_in(word) is not None for word in tree.split())
