"""What an e-mail address is, and when two of them are the same.

An address keeps what was given and compares by its ``key``: the local part in NFC and lower case, ``@``, the domain in
IDNA's ASCII form and lower case. Plus tags stay: two tags are two addresses. Nothing here asks the DNS.
"""

import re
import unicodedata
from functools import lru_cache

from email_validator import validate_email
from msgspec import Struct

from esplanade.errors import EventError

_REMEDY = "give one address such as ada@example.com"
_BLANKS = " \t\r\n\u00a0"
_MAX_BYTES = 254
_MAX_SENSIBLE = 1_024

_ATOM = r"[A-Za-z0-9_!#$%&'*+\-/=?^`{|}~]++"
_LABEL = r"[A-Za-z0-9]++(?:-[A-Za-z0-9]++)*+"
_PLAIN = re.compile(rf"{_ATOM}(?:\.{_ATOM})*+@(?:{_LABEL}\.)++[A-Za-z]{{2,63}}\Z")
_MAX_LOCAL = 64  # octets, RFC 5321 section 4.5.3.1.1
_MAX_PLAIN_DOMAIN = 63  # so that no label needs to be measured
# Top-level domains that email-validator refuses as never deliverable.
_REFUSED_TLDS = (".arpa", ".invalid", ".local", ".localhost", ".onion")


class Address(Struct, frozen=True, array_like=True):
    """An e-mail address: ``given`` as it was written, without outer blanks; ``key`` is what it is compared by."""

    given: str
    key: str


def normalise(email: str) -> Address:
    """The address in a text. Domains under ``.test`` and ``.example``, non-ASCII local parts and IDN domains count too.

    Raises EventError at ``$.email`` when there is none.
    """
    return _normalise(email.strip(_BLANKS))


def address_key(email: str) -> str | None:
    """What an address is compared by; None for a text that is none, as a vendor may have one."""
    try:
        return normalise(email).key
    except EventError:
        return None


def same_address(one: str, other: str) -> bool:
    """Whether two texts mean the same address; what is no address is only like itself."""
    if one.lower() == other.lower():
        return True
    key = address_key(one)
    return key is not None and key == address_key(other)


@lru_cache(maxsize=65_536)
def _normalise(given: str) -> Address:
    at = given.find("@")
    if at <= _MAX_LOCAL and len(given) - at - 1 <= _MAX_PLAIN_DOMAIN and _PLAIN.match(given):
        key = given.lower()
        if not key.endswith(_REFUSED_TLDS):
            return Address(given, key)
    return _validated(given)


def _validated(given: str) -> Address:
    """What email-validator makes of it: the law, of which the cheap path above is a proven part."""
    if not given:
        raise EventError("$.email", f"the address is empty; {_REMEDY}")
    if len(given) > _MAX_SENSIBLE:
        raise EventError("$.email", f"the address is longer than {_MAX_BYTES} bytes; {_REMEDY}")
    try:
        found = validate_email(given, check_deliverability=False, test_environment=True, strict=True)
    except ValueError as why:  # EmailNotValidError, and UnicodeError out of the idna package
        raise EventError("$.email", f"not an e-mail address: {str(why).rstrip('.')}; {_REMEDY}") from why
    if "." not in found.ascii_domain:
        raise EventError("$.email", f"not an e-mail address: the part after the @-sign has no period; {_REMEDY}")
    local = unicodedata.normalize("NFC", found.local_part.lower())
    return Address(given, f"{local}@{found.ascii_domain.lower()}")
