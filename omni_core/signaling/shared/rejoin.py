"""After an outage: what was so here in the meantime is made so there, unless somebody there knows better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from omni_core.signaling.denials import Denial
from omni_core.signaling.edge import Edge
from omni_core.signaling.shared.entries import digits
from omni_core.signaling.shared.replica import Replica, Snapshot
from omni_core.signaling.shared.requests import Request, Requests
from omni_core.types import PublicKey


def unknown_there(replica: Replica, snapshot: Snapshot) -> list[Edge]:
    """Edges of this Nucleus to be claimed again."""
    found = []
    for edge in replica.own():
        entry = snapshot.entries.get(edge.key)
        if entry is None or not _same(entry.edge, edge):
            found.append(edge)
    return found


def repeated(
    replica: Replica,
    snapshot: Snapshot,
    denials: Mapping[PublicKey, Denial | None],
    requests: Requests,
    now: float,
) -> Iterator[Request]:
    """All but the claims. ``denials``: since the outage began; None: taken back."""
    yield from requests.touch([edge.key for edge in replica.own()])
    for key, grave in replica.graves.items():
        entry = snapshot.entries.get(key)
        if entry is None or entry.edge.version > grave.version:
            continue
        if entry.number == grave.number or replica.is_own(entry.edge):
            yield requests.remove(key, grave.version, digits(grave.number))
    for cluster, key in replica.leased:
        lease = replica.held_lease(cluster, key)
        if lease is not None and lease.until > now:
            yield requests.restore_lease(cluster, lease, now)
    for key, denial in denials.items():
        if denial is None:
            yield requests.undeny(key)
        elif denial.until > now:
            yield requests.deny(denial, now)


def _same(theirs: Edge, ours: Edge) -> bool:
    return (theirs.nucleus, theirs.cluster, theirs.record, theirs.observed, theirs.local) == (
        ours.nucleus, ours.cluster, ours.record, ours.observed, ours.local,
    )  # fmt: skip
