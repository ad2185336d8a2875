"""What the hub counts while it runs, and what stands in its queues, for Prometheus. No label ever holds personal data.

Counting is an addition to a dictionary, and is done for groups where there are groups; Prometheus' own words are made when
somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Literal, TypeAlias, TypeVar

from msgspec import Struct, field
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

Ended: TypeAlias = Literal["delivered", "unchanged", "retried", "rejected", "parked", "expired"]
"""What a delivery's attempt came to, as metrics tell it."""
WebhookResult: TypeAlias = Literal["accepted", "unverified", "refused"]

BREAKER = {"closed": 0, "half-open": 1, "open": 2}
CALL_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
COMMIT_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class Spread:
    """How often something took how long, in buckets of seconds."""

    def __init__(self, bounds_s: tuple[float, ...]) -> None:
        self._bounds_s = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum_s = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self._counts[bisect_left(self._bounds_s, seconds)] += 1
        self._sum_s += seconds

    def show(self, family: HistogramMetricFamily, labels: list[str]) -> None:
        """Put it into a family of histograms."""
        bounds = [*map(str, self._bounds_s), "+Inf"]
        buckets = [(bound, float(so_far)) for bound, so_far in zip(bounds, accumulate(self._counts), strict=True)]
        family.add_metric(labels, buckets, self._sum_s)


class Standing(Struct, frozen=True, kw_only=True):
    """What stands in one lane when somebody asks."""

    connector: str
    inbound: bool = False
    queue: Mapping[str, int] = field(default_factory=dict)
    """By state: due, scheduled, in_flight, parked, dead."""
    lag_s: Mapping[str, float] = field(default_factory=dict)
    """By urgency: the age of the oldest delivery that is due."""
    breaker: str | None = None


class Metrics:
    """The counts of one hub since it started."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._accepted = Counter[tuple[str, str]]()
        self._ended = Counter[tuple[str, str, str]]()
        self._calls: dict[tuple[str, str], Spread] = {}
        self._echoes = Counter[str]()
        self._webhooks = Counter[tuple[str, str]]()
        self._commits = Spread(COMMIT_S)

    def accepted(self, source: str, kind: str, many: int) -> None:
        """Events of a source were accepted."""
        self._accepted[source, kind] += many

    def ended(self, connector: str, kind: str, outcome: Ended, many: int = 1) -> None:
        """Attempts at deliveries ended so."""
        self._ended[connector, kind, outcome] += many

    def called(self, connector: str, kind: str, seconds: float) -> None:
        """A call for a delivery took so long."""
        spread = self._calls.get((connector, kind))
        if spread is None:
            spread = self._calls[connector, kind] = Spread(CALL_S)
        spread.add(seconds)

    def echoed(self, connector: str, many: int) -> None:
        """Reports were recognised as our own writes."""
        self._echoes[connector] += many

    def webhook(self, connector: str, result: WebhookResult) -> None:
        """A vendor's webhook was taken, or not."""
        self._webhooks[connector, result] += 1

    def committed(self, seconds: Iterable[float]) -> None:
        """Commits of the store took so long."""
        for each in seconds:
            self._commits.add(each)

    def exposition(self, standings: Iterable[Standing], accept: str) -> tuple[bytes, str]:
        """Everything in the format that ``accept`` asks for, and that format's content type."""
        registry = CollectorRegistry()
        registry.register(_Once([*self._counted(), *_stood(list(standings))]))
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type

    def _counted(self) -> Iterator[Metric]:
        yield _counter("esplanade_events_accepted", "Events accepted.", ["source", "kind"], self._accepted)
        yield _counter(
            "esplanade_deliveries", "Attempts that ended, by outcome.", ["connector", "kind", "outcome"], self._ended
        )
        took = HistogramMetricFamily(
            "esplanade_delivery_seconds", "How long calls to vendors took.", labels=["connector", "kind"]
        )
        for (connector, kind), spread in sorted(self._calls.items()):
            spread.show(took, [connector, kind])
        yield took
        echoes = {(connector,): many for connector, many in self._echoes.items()}
        yield _counter("esplanade_echoes", "Reports recognised as the hub's own writes.", ["connector"], echoes)
        yield _counter("esplanade_webhooks", "Vendors' webhooks.", ["connector", "result"], self._webhooks)
        commits = HistogramMetricFamily("esplanade_commit_seconds", "How long commits of the store took.")
        self._commits.show(commits, [])
        yield commits
        built = GaugeMetricFamily("esplanade_build_info", "The version that runs.", labels=["version"])
        built.add_metric([self._version], 1)
        yield built


class _Once(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


K = TypeVar("K", bound=tuple[str, ...])


def _counter(name: str, words: str, labels: list[str], counts: Mapping[K, int]) -> Metric:
    family = CounterMetricFamily(name, words, labels=labels)
    for values, many in sorted(counts.items()):
        family.add_metric(list(values), many)
    return family


def _stood(standings: list[Standing]) -> Iterator[Metric]:
    lag = GaugeMetricFamily(
        "esplanade_lag_seconds", "The age of the oldest delivery that is due.", labels=["connector", "urgency"]
    )
    queue = GaugeMetricFamily("esplanade_queue", "Deliveries by state.", labels=["connector", "state"])
    inbound = GaugeMetricFamily(
        "esplanade_inbound_queue", "Webhooks and readings by state.", labels=["connector", "state"]
    )
    breaker = GaugeMetricFamily("esplanade_breaker_state", "0: closed, 1: half-open, 2: open.", labels=["connector"])
    for standing in standings:
        for state, many in standing.queue.items():
            (inbound if standing.inbound else queue).add_metric([standing.connector, state], many)
        for urgency, seconds in standing.lag_s.items():
            lag.add_metric([standing.connector, urgency], seconds)
        if standing.breaker is not None:
            breaker.add_metric([standing.connector], BREAKER[standing.breaker])
    yield from (lag, queue, inbound, breaker)
