"""From a call to what it says: its form found out, its characters read, its query beside its body."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from msgspec import Struct, field
from msgspec.structs import replace

from esplanade.errors import PermanentError

from .addresses import address_in, addresses_in
from .forms import Refused, clean, read_form, read_json, read_text, read_xml
from .paths import BodyPath, Tree

if TYPE_CHECKING:
    from collections.abc import Iterable

    from esplanade.model import InboundRequest

Form: TypeAlias = Literal["json", "form", "xml", "text"]
FORMS: tuple[Form, ...] = get_args(Form)

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"^\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]{1,40})")
_CHARSETS = re.compile(
    r"utf[-_]?(8|16|32)([-_]?[bl]e)?|(us-)?ascii|iso[-_]?8859.*|latin.*|windows-\d+|cp\d+|koi8.*|gb.*|big5|shift.?jis|euc.*"
)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before the other, which is how it begins
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FORM_LIKE = re.compile(r"[^\s=&]+=[^\s&]*(&[^\s=&]+=[^\s&]*)*&?")


class Found(Struct, frozen=True, kw_only=True):
    """A value and where it was: the path, empty where no path led to it, into the body or the query."""

    value: Tree
    path: str = ""
    where: Literal["body", "query"] = "body"


class Body(Struct, frozen=True, kw_only=True):
    """What a call says. The query, all that a GET has, wins over the body: no value can break it."""

    form: Form | None
    """How the body was read; None where there is none."""
    tree: Tree = None
    query: dict[str, Tree] = field(default_factory=dict)
    text: str = ""
    """The body as text."""
    broken: str = ""
    """Why the body could not be read as ``form``, where an address could still be found in it."""

    def find(self, paths: Iterable[BodyPath]) -> Found | None:
        """The first value that one of the paths leads to; an empty one says nothing."""
        paths = list(paths)
        for where, tree in self._places():
            for path in paths:
                if (value := path.look_up(tree)) not in (None, ""):
                    return Found(value=value, path=str(path), where=where)
        return None

    def find_all(self, paths: Iterable[BodyPath]) -> list[Found]:
        """All that the paths lead to, empty values too: what somebody has put beside what the template says is among it."""
        paths = list(paths)
        return [
            Found(value=value, path=str(path), where=where)
            for where, tree in self._places()
            for path in paths
            for value in path.values(tree)
        ]

    def address(self, paths: Iterable[BodyPath]) -> Found:
        """The address that the paths lead to; where none of them is there, the only one that there is anywhere.

        Raises PermanentError where there is none, where a path leads to something else, or where it cannot be told which one is
        meant.
        """
        there = self.find_all(paths)
        named: dict[str, Found] = {}
        for found in there:
            for text in _texts_at(found.value):
                if address := address_in(text):
                    named.setdefault(address.lower(), replace(found, value=address))
                elif "@" in text:
                    raise _no_address(found)
        if named:
            _only(list(named))
            return next(iter(named.values()))
        if there:
            raise _no_address(there[0])
        body: Tree = self.text if self.broken or self.form == "text" else self.tree
        if addresses := addresses_in([self.query, body]):
            address = _only(addresses)
            where: Literal["body", "query"] = "query" if addresses_in(self.query) else "body"
            if (where == "query" or self.form == "form") and not _is_value(address, [self.query, body]):
                raise _no_address(Found(value=None, where=where))
            return Found(value=address, where=where)
        raise PermanentError(
            "no e-mail address is in the webhook's body or query; let it carry the contact's address, such as "
            "emailaddress, and name its path"
        )

    def _places(self) -> tuple[tuple[Literal["body", "query"], Tree], ...]:
        return (("query", self.query), ("body", self.tree))


def read_body(request: InboundRequest, content_type: Form | None = None) -> Body:
    """What a call says, whatever its method. ``content_type`` is the form that its body has, whatever its header says.

    Without it the header says so; one that says ``text/plain``, a form, or nothing is overruled by a body that is JSON or
    XML. JSON and XML that a value has broken (a quotation mark that its template did not escape) are no more than text: then
    there are no paths in it, and only an address, if it has just one, is found. Raises PermanentError for what nothing can be
    made of.
    """
    header = request.headers.get("content-type", "")
    try:
        query = read_form(request.query)
    except ValueError as problem:
        raise PermanentError(f"the webhook's query cannot be read: {problem}; let the vendor send less") from None
    if not request.body.strip():
        return Body(form=None, query=query)
    charset = _charset(request.body, header)
    text = request.body.decode(charset, "replace").removeprefix("\ufeff")
    form = content_type or _form(header, text)
    try:
        return Body(form=form, tree=_tree(form, text, charset), query=query, text=clean(text))
    except Refused as problem:
        raise PermanentError(f"the webhook's body is not read: {problem}; {_REMEDY}") from None
    except ValueError as problem:
        if not addresses_in(text):
            raise PermanentError(f"the webhook's body cannot be read: {problem}; {_REMEDY}") from None
        return Body(form=form, query=query, text=clean(text), broken=str(problem))


_REMEDY = "let the vendor send JSON, a form, XML or plain text, and say which in webhook.content_type"


def _tree(form: Form, text: str, charset: str) -> Tree:
    match form:
        case "json":
            return read_json(text)
        case "form":
            return read_form(text, charset)
        case "xml":
            return read_xml(text)
        case "text":
            return read_text(text)


def _form(header: str, text: str) -> Form:
    """What a Content-Type says, unless it is one that senders put on anything; else what the body looks like."""
    media = header.partition(";")[0].strip().lower()
    if media.endswith(("/json", "+json")):
        return "json"
    if media.endswith(("/xml", "+xml")):
        return "xml"
    if text.lstrip()[:1] in {"{", "["}:
        return "json"
    if text.lstrip()[:1] == "<":
        return "xml"
    return "form" if media.endswith("form-urlencoded") or _FORM_LIKE.fullmatch(text.strip()) else "text"


def _charset(body: bytes, header: str) -> str:
    """The character set that the header names, else a mark at the beginning, else XML's own first line, else UTF-8."""
    for mark, charset in _MARKS:
        if body.startswith(mark):
            return charset
    named = _CHARSET.search(header)
    inside = _XML_ENCODING.match(body)
    said = named[1] if named else inside[1].decode("ascii", "replace") if inside else "utf-8"
    try:
        return codecs.lookup(said).name if _CHARSETS.fullmatch(said.lower()) else "utf-8"
    except (LookupError, ValueError):
        return "utf-8"


def _texts_at(value: Tree) -> list[str]:
    """The texts that are at a path: one, those of a list, the text of an XML element."""
    values = value if isinstance(value, list) else [value]
    texts = [each.get("text") if isinstance(each, dict) else each for each in values]
    return [each for each in texts if isinstance(each, str)]


def _is_value(address: str, tree: Tree) -> bool:
    """Whether a value is this address. Part of one may be the rest of an address whose + became a blank."""
    match tree:
        case dict():
            return any(_is_value(address, each) for each in (*tree, *tree.values()))
        case list():
            return any(_is_value(address, each) for each in tree)
    return address_in(tree) == address


def _no_address(found: Found) -> PermanentError:
    what = f"{found.path} in the webhook's {found.where}" if found.path else f"a value in the webhook's {found.where}"
    return PermanentError(
        f"{what} is no e-mail address, and nobody else's is taken instead; let the vendor write the contact's address there, "
        "a + in it as %2B where it is a form or a URL"
    )


def _only(found: list[str]) -> str:
    if len(found) > 1:
        raise PermanentError(
            f"{len(found)} e-mail addresses are in the webhook and nothing says which is the contact's; name its path"
        )
    return found[0]
