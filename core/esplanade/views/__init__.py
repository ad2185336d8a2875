"""What operators are shown: connectors, a person, why, deliveries. The shapes are the same for HTTP and ``--json``.

Questions to a store's reader, answered as JSON can hold them; whoever asks runs them where the reader lives.
"""

from .connectors import ConnectorFacts, connectors_view
from .deliveries import KINDS, MAX_PAGE, STATES, deliveries_view, delivery_filter, delivery_number, one_delivery_view
from .explain import explain_view
from .people import nobody, person_view
from .standings import standings

__all__ = [
    "KINDS",
    "MAX_PAGE",
    "STATES",
    "ConnectorFacts",
    "connectors_view",
    "deliveries_view",
    "delivery_filter",
    "delivery_number",
    "explain_view",
    "nobody",
    "one_delivery_view",
    "person_view",
    "standings",
]
