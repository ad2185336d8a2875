"""The one way out to vendors. Exported here is what plugins may use; the core takes ``Session`` from ``session``."""

from .quoting import without_values
from .redact import Redactor, redact
from .signatures import hmac_hex, same, sign_standard_webhook, verify_standard_webhook

__all__ = [
    "Redactor",
    "hmac_hex",
    "redact",
    "same",
    "sign_standard_webhook",
    "verify_standard_webhook",
    "without_values",
]
