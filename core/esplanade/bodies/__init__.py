"""The bodies of calls that nobody has described: JSON, form, XML or plain text, each read as the same tree of words.

Pure, and made for input that anybody may have written: what cannot be read is a PermanentError, never anything else.
"""

from .addresses import address_in, addresses_in
from .paths import BodyPath, Repeated, Tree
from .reading import FORMS, Body, Form, Found, read_body

__all__ = ["FORMS", "Body", "BodyPath", "Form", "Found", "Repeated", "Tree", "address_in", "addresses_in", "read_body"]
