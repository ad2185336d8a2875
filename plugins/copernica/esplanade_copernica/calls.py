"""What Copernica calls the hub with, in each of the shapes on record, read into one.

Webhooks (fact 10.3: the vendor's pages on webhooks) come as a form with names such as ``fields[Email]``; the page on
signatures shows JSON. Callback URLs (fact 11) come in three shapes: A, the vendor's older table; B, a form with one variable
``json``; C, XML with ``fields`` before and ``updated`` after. Pure: whatever the bytes, only PermanentError is raised.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct, field

from esplanade import PermanentError

from .values import moment_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from esplanade import InboundRequest

    from .settings import CopernicaSettings

Change: TypeAlias = Literal["create", "update", "delete"]
MailEvent: TypeAlias = Literal["click", "open", "bounce", "failure", "delivery"]
Kind: TypeAlias = Change | MailEvent | Literal["unsubscribe", "unknown"]
CHANGES: tuple[Change, ...] = get_args(Change)
MAIL_EVENTS: tuple[MailEvent, ...] = get_args(MailEvent)
KINDS: tuple[Kind, ...] = (*CHANGES, *MAIL_EVENTS, "unsubscribe")

MAX_PAIRS = 5_000
"""Name-value pairs of one form; a database's fields come twice in a call."""
MAX_DEPTH = 5
"""Brackets after one name of a form, its own level included."""
MAX_XML_BYTES = 262_144
DETAILS = ("mailing", "tags", "original", "action", "state", "code", "extended", "description")
"""What is kept of a mail event. Its address, browser and the mail itself say more of a person than a trigger needs."""
MAX_DETAIL = 1_000

_BRACKETS = re.compile(r"([^\[]+)((?:\[[^\[\]]*\])+)")
_DECLARATION = re.compile(r"\s*<\?xml\s[^>]*?\?>")
_ENCODING = re.compile(rb"""<\?xml\s[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]{1,20})["']""")
_ENCODINGS = {"iso-8859-1", "iso-8859-15", "windows-1252", "latin1", "us-ascii"}
_NO = {"", "0", "false", "no"}


class Call(Struct, frozen=True, kw_only=True):
    """One webhook or callback, whatever its shape. Ids are the vendor's numbers as text."""

    kind: Kind
    """What happened; ``unknown`` for a word that is not documented, and for a call without any known part, such as a test."""
    word: str = ""
    """The vendor's own word for it, fit for a log."""
    origin: Literal["webhook", "callback"] = "webhook"
    """Which of the vendor's two kinds of calls it looks like: of them only webhooks tell the time."""
    profile: str | None = None
    """The profile; of a subprofile's call its parent."""
    subprofile: str | None = None
    bare: str | None = None
    """The number of a profile or of a subprofile, and the call does not say of which: ``whose`` finds out."""
    collection: str | None = None
    database: str | None = None
    email: str | None = None
    """The address, where the call carries it."""
    previous_email: str | None = None
    """The address before the change, where the call tells both."""
    values: dict[str, str] = field(default_factory=dict)
    """All values that the call carries, those that changed as they are now."""
    changed: dict[str, str] = field(default_factory=dict)
    """What was changed, where the call says so."""
    interests: dict[str, bool] | None = None
    details: dict[str, str | list[str]] = field(default_factory=dict)
    """Of mail events: see ``DETAILS``."""
    at: datetime | None = None
    id: str | None = None
    """The event's own id."""

    @property
    def of_subprofile(self) -> bool:
        """Whether it is about a subprofile."""
        return self.subprofile is not None or self.collection is not None


def decode(request: InboundRequest, settings: CopernicaSettings) -> Call:
    """A request's body, read. Raises PermanentError when it is not what it says it is, or goes over a limit."""
    try:
        said, is_callback = _said(request)
        return _call(said, settings, is_callback=is_callback)
    except RecursionError:
        raise PermanentError("the call's body is nested too deeply") from None


def form_of(text: str) -> dict[str, Any]:
    """A form with bracket notation as nested dictionaries; of repeated names the last counts, ``[]`` makes a list.

    Raises PermanentError beyond MAX_PAIRS and MAX_DEPTH.
    """
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=MAX_PAIRS)
    except ValueError:
        raise PermanentError(f"the call has more than {MAX_PAIRS} values") from None
    form: dict[str, Any] = {}
    for name, value in pairs:
        _put(form, _steps(name), value)
    return {name: _plain(value) for name, value in form.items()}


def json_of(body: bytes | str) -> dict[str, Any]:
    """A JSON object. Raises PermanentError when it is none."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError):
        raise PermanentError("the call's body is not JSON") from None
    if not isinstance(found, dict):
        raise PermanentError("the call's body is not a JSON object")
    return found


def xml_of(body: bytes) -> dict[str, Any]:
    """XML as nested dictionaries, with or without an element around the whole (the vendor's picture of it shows none).

    Raises PermanentError over MAX_XML_BYTES, and for any document type: no entity is ever declared, so none is expanded.
    """
    if len(body) > MAX_XML_BYTES:
        raise PermanentError(f"the call's XML is longer than {MAX_XML_BYTES} bytes")
    text = _DECLARATION.sub("", _xml_text(body), count=1)
    if re.search(r"<!(?!--|\[CDATA\[)", text):
        raise PermanentError("the call's XML has a document type, which is not read")
    try:
        node = ET.fromstring(f"<call>{text}</call>")  # noqa: S314 - a document type was refused above
    except (ET.ParseError, ValueError):
        raise PermanentError("the call's body is not XML") from None
    while len(node) == 1 and len(node[0]) and _local(node[0]) not in {"fields", "updated", "profile", "subprofile"}:
        node = node[0]
    return {_local(child): _xml_value(child) for child in node}


# From bytes to words.


def _said(request: InboundRequest) -> tuple[dict[str, Any], bool]:
    """The call's words, and whether their very shape is a callback's. What a body looks like counts more than its type."""
    body = request.body.removeprefix(b"\xef\xbb\xbf").strip()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not body:
        return {}, False
    if kind.endswith("xml") or body[:1] == b"<" or body[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return xml_of(body), True
    if kind.endswith("json") or body[:1] in {b"{", b"["}:
        return json_of(body), False
    form = form_of(body.decode("utf-8", "replace"))
    if isinstance(inner := form.get("json"), str):
        return json_of(inner), True
    if isinstance(inner := form.get("xml"), str):
        return xml_of(inner.encode()), True
    return form, False


def _steps(name: str) -> list[str]:
    found = _BRACKETS.fullmatch(name)
    steps = [name] if found is None else [found[1], *found[2][1:-1].split("][")]
    if len(steps) > MAX_DEPTH:
        raise PermanentError(f"the call nests its values more than {MAX_DEPTH} deep")
    return steps


def _put(node: dict[str, Any], steps: list[str], value: str) -> None:
    for step in steps[:-1]:
        key = step or f"[]{len(node)}"
        if not isinstance(node.get(key), dict):
            node[key] = {}
        node = node[key]
    node[steps[-1] or f"[]{len(node)}"] = value  # no name in brackets holds brackets, so this is nobody's


def _plain(node: Any) -> Any:
    """Lists where every value came in empty brackets."""
    if not isinstance(node, dict):
        return node
    if node and all(key.startswith("[]") for key in node):
        return [_plain(value) for value in node.values()]
    return {key.removeprefix("[]"): _plain(value) for key, value in node.items()}


def _xml_text(body: bytes) -> str:
    if body[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return body.decode("utf-16", "replace")
    declared = _ENCODING.match(body)
    encoding = declared[1].decode().lower() if declared is not None else "utf-8"
    return body.decode(encoding if encoding in _ENCODINGS else "utf-8", "replace")


def _xml_value(node: ET.Element) -> Any:
    return {_local(child): _xml_value(child) for child in node} if len(node) else node.text or ""


def _local(node: ET.Element) -> str:
    return node.tag.rpartition("}")[2]


# From words to a call.


def _call(said: Mapping[str, Any], settings: CopernicaSettings, *, is_callback: bool) -> Call:
    kind, word = _kind(said)
    rows = [row for row in (said.get("subprofile"), said.get("profile")) if isinstance(row, dict)]
    before = _first(rows, ("fields",)) or _first([said], ("fields",))
    changed = _first([said, *rows], ("parameters", "updated"))
    without_time = kind in CHANGES and "time" not in said and "timestamp" not in said
    is_webhook = not (is_callback or rows or without_time)
    # a callback's fields are as they were, a webhook's as they are: what the vendor made of what it was called with
    values = _overlaid(changed, before) if is_webhook else _overlaid(before, changed)
    collection = next((found for row in (said, *rows) if (found := _id(row.get("collection")))), None)
    subprofile, profile, own = _number(said.get("subprofile")), _number(said.get("profile")), _id(said.get("id"))
    of_subprofile, bare = (subprofile or collection) is not None, None
    if profile is None and kind in CHANGES and own is not None:
        # Shape A names what changed plainly ``id``, a profile as well as a subprofile; only the former is sure to have the
        # address, and only the former has interests.
        has_address = _named(before, settings.email_field) is not None
        if of_subprofile:
            subprofile = subprofile or _number(own)
        else:
            profile = _number(own) if has_address else None
            bare = None if has_address and "interests" in said else _number(own)
        own = None
    persons = _first([said.get("profile")], ("fields",)) if of_subprofile else values
    email = _address(said.get("recipient") if kind in MAIL_EVENTS else _named(persons, settings.email_field))
    previous = None if of_subprofile else _address(_named(before, settings.email_field))
    return Call(
        kind=kind,
        word=word,
        origin="webhook" if is_webhook else "callback",
        profile=profile,
        subprofile=subprofile,
        bare=bare,
        collection=collection,
        database=next((found for row in (said, *rows) if (found := _id(row.get("database")))), None),
        email=email,
        previous_email=previous if email and previous and previous.lower() != email.lower() else None,
        values=values,
        changed=changed,
        interests=_interests(said, rows),
        details=_details(said) if kind in MAIL_EVENTS else {},
        at=_moment(said, settings),
        id=own,
    )


def _kind(said: Mapping[str, Any]) -> tuple[Kind, str]:
    """``type``, or ``action`` as one page of the vendor has it. Failures have both, and there ``type`` is the kind."""
    words = [word.strip().lower() for name in ("type", "action") if isinstance(word := said.get(name), str)]
    for word in words:
        for kind in KINDS:
            if word == kind:
                return kind, word
    if any(words):
        return "unknown", re.sub(r"[^a-z0-9._-]", "", next(filter(None, words)))[:40]
    is_change = any(
        isinstance(said.get(name), dict) for name in ("fields", "updated", "parameters", "profile", "subprofile")
    )
    return ("update" if is_change else "unknown"), ""


def _first(rows: Iterable[Any], names: tuple[str, ...]) -> dict[str, str]:
    for row in rows:
        for name in names:
            found = row.get(name) if isinstance(row, dict) else None
            if isinstance(found, dict) and found:
                return {key: text_of(value) for key, value in found.items()}
    return {}


def _overlaid(before: Mapping[str, str], changed: Mapping[str, str]) -> dict[str, str]:
    """``changed`` over ``before``. The vendor does not tell names apart by case, so neither may this."""
    spelled = {name.lower(): name for name in before}
    return {**before, **{spelled.get(name.lower(), name): value for name, value in changed.items()}}


def _named(values: Mapping[str, str], name: str) -> str | None:
    wanted = name.lower()
    return next((value for key, value in values.items() if key.lower() == wanted), None)


def _address(text: object) -> str | None:
    return text.strip() if isinstance(text, str) and "@" in text else None


def _number(value: Any) -> str | None:
    """The id of a profile or subprofile, which goes into the vendor's paths."""
    found = _id(value)
    return found if found is not None and re.fullmatch(r"[0-9]{1,18}", found) else None


def _id(value: Any) -> str | None:
    """An id as text, also that of a row (``ID`` on data, ``id`` elsewhere); a collection or database may have its name here."""
    if isinstance(value, dict):
        return _id(value.get("ID", value.get("id")))
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    text = str(value).strip()
    return text if re.fullmatch(r"[A-Za-z0-9_-]{1,100}", text) and text.strip("0") else None


def _interests(said: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> dict[str, bool] | None:
    found = next((row["interests"] for row in (*rows, said) if "interests" in row), None)
    return None if found is None else flags_of(found)


def flags_of(found: Any) -> dict[str, bool]:
    """A list of names, or names with 0 and 1; either may stand below the name of a group, or in objects with a ``name``."""
    flags: dict[str, bool] = {}
    if isinstance(found, list):
        for each in found:
            if isinstance(each, dict):
                name = each.get("name")
                flags |= {name: _is_on(each.get("value", True))} if isinstance(name, str) else flags_of(each)
            elif each not in (None, ""):
                flags[text_of(each)] = True
    elif isinstance(found, dict):
        for name, value in found.items():
            if isinstance(value, dict | list):
                flags |= flags_of(value)
            elif re.fullmatch(r"[0-9]+", name) and text_of(value).lower() not in {*_NO, "1", "true", "yes"}:
                flags[text_of(value)] = True  # a list that numbers its items
            else:
                flags[name] = _is_on(value)
    return flags


def _is_on(value: Any) -> bool:
    return text_of(value).strip().lower() not in _NO


def _details(said: Mapping[str, Any]) -> dict[str, str | list[str]]:
    found: dict[str, str | list[str]] = {}
    for name in DETAILS:
        value = said.get(name)
        if isinstance(value, list):
            found[name] = [text_of(each)[:MAX_DETAIL] for each in value[:50]]
        elif value not in (None, ""):
            found[name] = text_of(value)[:MAX_DETAIL]
    return found


def _moment(said: Mapping[str, Any], settings: CopernicaSettings) -> datetime | None:
    """``time`` is a number of seconds, ``timestamp`` the same moment as local time."""
    if re.fullmatch(r"[1-9][0-9]{0,9}", text := text_of(said.get("time")).strip()):
        return datetime.fromtimestamp(int(text), UTC)
    try:
        return moment_of(said.get("timestamp"), settings.timezone)
    except OverflowError:
        return None
