"""A Nucleus's numbers for Prometheus. docs/nucleus.md lists them.

Labels are bounded: configured clusters, and names of this program.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder

from omni_core.engines.nucleus_status import ClusterStatus
from omni_core.io.meter import Histogram
from omni_core.io.nucleus_snapshot import Snapshot
from omni_core.version import version

PREFIX = "omni_nucleus_"
REQUESTS = ("register", "heartbeat", "query")

# Counter of a cluster -> what it counts.
_CLUSTER_COUNTERS = {
    "joins": "Registrations of new edges, and of edges that came back with a new record",
    "moves": "Edges whose underlay endpoint changed",
    "leaves": "Edges that said goodbye",
    "departures": "Edges whose heartbeats were missed",
}
_CLUSTER_GAUGES = {
    "edges": "Edges that are registered, at whichever Nucleus of the store",
    "leases": "VIP4s of the cluster's pool that are held",
    "pool": "VIP4s that the cluster's pool has; 0 without one",
}
_GAUGE_NAMES = {"pool": "pool_size"}


def render(snapshot: Snapshot, accept: str) -> tuple[str, bytes]:
    """(content type, text), in the format that the Accept header asks for."""
    registry = CollectorRegistry()
    registry.register(_Families(snapshot))
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return content_type, encode(registry)


class _Families:
    """A collector of prometheus_client."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def describe(self) -> list[Metric]:
        return []  # what ``collect`` gives need not be known before

    def collect(self) -> Iterator[Metric]:
        status = self._snapshot.status
        yield from self._process()
        yield from self._clusters(status.clusters)
        yield _gauge("users", "Edges that are registered and use this Nucleus", status.users)
        yield _gauge("sessions", "Noise sessions with edges", status.sessions)
        yield _gauge("denied_keys", "Keys that an administrator shuts out", status.denied)
        yield _counter("handshakes", "Sessions that were made", status.handshakes)
        requests = {kind: status.requests.get(kind, 0) for kind in REQUESTS}
        yield _counters("requests", "Authentic requests of edges", "kind", requests)
        yield _counters("drops", "Packets and requests that were dropped or refused", "reason", status.drops)
        yield from self._traffic()
        yield from self._store()

    def _process(self) -> Iterator[Metric]:
        status = self._snapshot.status
        labels = {"version": version(), "python": platform.python_version(), "store": status.store.kind}
        yield _labelled_gauge("build_info", "Always 1", labels, 1)
        yield _gauge("active", "1 while it serves", self._snapshot.active)
        yield _gauge("draining", "1 while edges are told to go to another Nucleus", status.draining)
        yield _histogram("loop_lag_seconds", "How late the event loop calls, twice a second", self._snapshot.lags)

    def _clusters(self, clusters: list[ClusterStatus]) -> Iterator[Metric]:
        for name, text in _CLUSTER_GAUGES.items():
            values = {cluster.name: getattr(cluster, name) for cluster in clusters}
            yield _gauges(_GAUGE_NAMES.get(name, name), text, "cluster", values)
        for name, text in _CLUSTER_COUNTERS.items():
            values = {cluster.name: getattr(cluster, name) for cluster in clusters}
            yield _counters(name, text, "cluster", values)
        labels = ["cluster", "status"]
        refusals = CounterMetricFamily(PREFIX + "refusals", "Registrations that were refused", labels=labels)
        for cluster in clusters:
            for answered, count in sorted(cluster.refused.items()):
                refusals.add_metric([cluster.name, answered], count)
        yield refusals

    def _traffic(self) -> Iterator[Metric]:
        traffic = self._snapshot.traffic
        datagrams = {"received": traffic.received, "sent": traffic.sent}
        yield _counters("datagrams", "UDP datagrams", "direction", datagrams)
        amount = {"received": traffic.received_bytes, "sent": traffic.sent_bytes}
        yield _counters("bytes", "Bytes of UDP payload", "direction", amount)
        yield _histogram(
            "batch_seconds", "Time for the datagrams of one wake-up: to handle and to answer them", traffic.batches
        )

    def _store(self) -> Iterator[Metric]:
        store = self._snapshot.status.store
        yield _gauge("store_up", "0 while the store that several Nuclei share is away", store.available)
        yield _gauge("store_state_seconds", "Since when the store is there, or away", store.for_s)
        if store.lag_s is not None:
            yield _gauge("store_lag_seconds", "Since the store was last heard", store.lag_s)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value=float(value))


def _labelled_gauge(name: str, text: str, labels: Mapping[str, str], value: float) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _filled(GaugeMetricFamily(PREFIX + name, text, labels=[label]), values)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(PREFIX + name, text, value=value)


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _filled(CounterMetricFamily(PREFIX + name, text, labels=[label]), values)


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    buckets, so_far = [], 0
    for bound, count in zip((*(f"{bound:g}" for bound in histogram.bounds), "+Inf"), histogram.counts, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    return HistogramMetricFamily(PREFIX + name, text, buckets=buckets, sum_value=histogram.total)


def _filled(family: Any, values: Mapping[str, float]) -> Metric:
    for label, value in values.items():
        family.add_metric([label], value)
    metric: Metric = family
    return metric
