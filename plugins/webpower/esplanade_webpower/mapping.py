"""Between the hub's values and Webpower's words. Pure: no I/O, no clock.

Webpower keeps what a custom field holds as text or number, by the field's type, which the caller of a write cannot see.
So values leave as text and reports come back as text: what was sent and what a later pull reads are then the same.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from esplanade import as_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from esplanade import Product, TriggerEvent, Value

TOP_LEVEL = ("email", "mobile_nr", "lang")
"""Fields that are keys of a contact itself; all others are in its ``custom`` list."""

MAX_VALUE = 65_536
"""Characters of one value."""

Encoding: TypeAlias = Literal["flat", "json", "html"]


def stored(name: str, value: object) -> str | None:
    """What Webpower holds, and later reports, once ``value`` was written to the field ``name``."""
    text = as_text(value)
    if name == "lang" and (found := re.fullmatch(r"([a-z]{2})([-_].*)?", text.strip().lower())):
        return found[1]
    return text or None


def acknowledged(sent: Mapping[str, Value]) -> dict[str, Value] | None:
    """Where Webpower holds something else than what the hub sent; None when nowhere."""
    held: dict[str, Value] = {name: stored(name, value) for name, value in sent.items()}
    return {name: value for name, value in held.items() if value != sent[name]} or None


def contact_body(email: str, fields: Mapping[str, Value], *, lang: str | None = None) -> dict[str, Any]:
    """A contact for the vendor. Fields that are None leave as empty; ``lang`` is used when no field says one."""
    body: dict[str, Any] = {"email": email}
    if "mobile_nr" in fields:
        body["mobile_nr"] = stored("mobile_nr", fields["mobile_nr"])
    if language := stored("lang", fields.get("lang")) or lang:
        body["lang"] = language  # mandatory in campaigns with several languages, so it is never sent empty
    body["custom"] = [
        {"field": name, "value": stored(name, value) or ""} for name, value in fields.items() if name not in TOP_LEVEL
    ]
    return body


def with_foreign_fields(body: Mapping[str, Any], held: Mapping[str, Any]) -> dict[str, Any]:
    """``body``, completed by what the contact holds beside it, for a PUT that may replace the whole."""
    ours = {entry["field"] for entry in body["custom"]}
    kept = [entry for entry in custom_entries(held) if entry["field"] not in ours]
    whole = {key: held[key] for key in ("mobile_nr", "lang") if held.get(key) is not None}
    return {**whole, **body, "custom": [*body["custom"], *kept]}


def custom_entries(contact: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The well-formed entries of a contact's ``custom`` list (``fields`` in webhooks)."""
    entries = contact.get("custom", contact.get("fields"))
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if isinstance(entry, dict) and isinstance(entry.get("field"), str)]


def fields_of(contact: Mapping[str, Any], wanted: Collection[str]) -> dict[str, Value]:
    """The wanted fields that a contact shows. A field that it does not list says nothing; an empty one is None."""
    shown = {entry["field"]: entry.get("value") for entry in custom_entries(contact)}
    shown |= {name: contact[name] for name in TOP_LEVEL if name in contact}
    return {name: as_text(value) or None for name, value in shown.items() if name in wanted}


def same_address(one: object, other: str) -> bool:
    """Whether the vendor would take two addresses for one: it compares them without regard to case."""
    return isinstance(one, str) and one.strip().lower() == other.strip().lower()


def has_wildcard(address: str) -> bool:
    """Whether ``match`` would read a pattern in this address."""
    return "*" in address or "?" in address


def extra_contact_data(event: TriggerEvent[Any], language: str, encoding: Encoding) -> list[dict[str, str]]:
    """What a trigger brings into its mail: ``DMD_`` variables that are not stored on the contact."""
    ours = {"DMD_trigger": event.trigger, "DMD_trigger_id": event.trigger_id, "DMD_language": language}
    if event.products is not None:
        if event.products.set is not None:
            ours["DMD_product_set"] = event.products.set
        ours |= product_data(event.products.items, encoding)
    said = {_variable(key): as_text(value) for key, value in event.data.items()}
    return [{"field": name, "value": value} for name, value in {**said, **ours}.items()]


def product_data(items: Sequence[Product], encoding: Encoding) -> dict[str, str]:
    """A product set as ``DMD_`` variables. One that exceeds the size of a value loses its last products."""
    match encoding:
        case "flat":
            return {"DMD_product_count": str(len(items)), **_flat(items)}
        case "json":
            shown, block = _fitting(items, _as_json)
            return {"DMD_product_count": str(shown), "DMD_products": block}
        case "html":
            shown, block = _fitting(items, _as_html)
            return {"DMD_product_count": str(shown), "DMD_products_html": block}


def _variable(key: str) -> str:
    name = re.sub(r"\W", "_", key, flags=re.ASCII)
    return name if name.startswith("DMD_") else f"DMD_{name}"


def _facts(item: Product) -> dict[str, str | float | int]:
    facts = {
        "id": item.id,
        "title": item.title,
        "url": item.url,
        "image": item.image_url,
        "price": item.price,
        "currency": item.currency,
        "quantity": item.quantity,
        "language": item.language,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _flat(items: Sequence[Product]) -> dict[str, str]:
    return {
        f"DMD_product{number}_{name}": as_text(value)
        for number, item in enumerate(items, start=1)
        for name, value in _facts(item).items()
    }


def _as_json(items: Sequence[Product]) -> str:
    return msgspec.json.encode([_facts(item) for item in items]).decode()


def _as_html(items: Sequence[Product]) -> str:
    return "".join(_item_html(item) for item in items)


def _item_html(item: Product) -> str:
    title = html.escape(item.title or item.id)
    image = _web_url(item.image_url)
    parts = [f'<img src="{image}" alt="{title}">' if image else "", f'<span class="title">{title}</span>']
    if item.price is not None:
        price = html.escape(f"{item.currency or ''} {as_text(item.price)}".strip())
        parts.append(f'<span class="price">{price}</span>')
    if item.quantity is not None:
        parts.append(f'<span class="quantity">{item.quantity}</span>')
    inner = "".join(parts)
    link = _web_url(item.url)
    return f'<div class="product"><a href="{link}">{inner}</a></div>' if link else f'<div class="product">{inner}</div>'


def _web_url(url: str | None) -> str:
    """A URL fit for an attribute; anything but http and https is left out, because a mail client would run it."""
    return html.escape(url) if url and re.match(r"https?://", url, re.IGNORECASE) else ""


def _fitting(items: Sequence[Product], render: Callable[[Sequence[Product]], str]) -> tuple[int, str]:
    """As many products, from the first, as fit into one value, and their text."""
    low, high = 0, len(items)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(render(items[:middle])) <= MAX_VALUE else (low, middle - 1)
    return low, render(items[:low])
