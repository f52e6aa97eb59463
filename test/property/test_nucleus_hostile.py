"""100,000 junk datagrams at a Nucleus, as many at a client: no exception, no change of state, no answer, all counted.

The attacker sees every datagram of a working cluster, and sends truncated, random, bit-flipped and repeated ones from
any source address.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from support.nucleus_net import NUCLEUS_AT, Edge, Net

from omni_core.drops import DropReason
from omni_core.types import Endpoint
from omni_core.wire.control import SIGNALING_MAX, ControlType

N = 100_000
SOURCES = [Endpoint(f"10.66.0.{n}", 1000 + n) for n in range(50)]


def working_cluster(seed: int) -> tuple[Net, list[Edge]]:
    net = Net(seed)
    net.record = True
    edges = [net.edge().start() for _ in range(4)]
    assert net.run(3, net.all_registered)
    net.run(130)  # rekeyed once
    return net, edges


def junk(rng: random.Random, genuine: list[bytes]) -> Callable[[], bytes]:
    """Mostly signaling packets, for the others are the session engine's own test."""

    def flipped() -> bytes:
        data = bytearray(rng.choice(genuine))
        for _ in range(rng.choice((1, 1, 3))):
            at = rng.choice((0, 1, 5, 8, 16, len(data) - 1, rng.randrange(len(data))))
            data[at] ^= 1 << rng.randrange(8)
        return bytes(data)

    def truncated() -> bytes:
        data = rng.choice(genuine)
        return data[: rng.randrange(len(data))]

    def lengthened() -> bytes:
        return rng.choice(genuine) + rng.randbytes(rng.choice((1, 16, SIGNALING_MAX)))

    def random_body() -> bytes:
        return rng.choice(genuine)[: rng.choice((1, 2, 8, 16, 24))] + rng.randbytes(rng.randrange(100))

    makers = [flipped, flipped, truncated, lengthened, random_body, lambda: rng.choice(genuine)]
    return lambda: rng.choice(makers)()


def test_at_the_nucleus(seed: int) -> None:
    net, edges = working_cluster(seed)
    rng = random.Random(seed)
    genuine = [data for data, _, to in net.seen if to == NUCLEUS_AT and data[0] == ControlType.SIGNALING]
    genuine += [data for data, source, _ in net.seen if source == NUCLEUS_AT]  # back at itself
    make = junk(rng, genuine)
    nucleus = net.nucleus
    counted, status, timer = nucleus.drops.total, nucleus.status(net.now), nucleus.next_timer()
    status.drops.clear()
    for _ in range(N):
        nucleus.receive_datagram(make(), rng.choice(SOURCES), net.now)
    assert nucleus.take_datagrams() == []
    assert nucleus.drops.total == counted + N
    after = nucleus.status(net.now)
    drops, after.drops = after.drops, {}
    assert after == status and nucleus.next_timer() == timer
    expected = {"too_short", "too_long", "unknown_type", "bad_version", "unknown_session", "signaling_forged",
                "signaling_replayed"}  # fmt: skip
    assert expected <= drops.keys()
    assert net.run(200) and net.all_registered(), "and everybody goes on"
    assert nucleus.status(0).clusters[0].change == 4 and all(edge.client.drops.total == 0 for edge in edges)


def test_at_a_client(seed: int) -> None:
    net, (edge, *_) = working_cluster(seed)
    rng = random.Random(seed)
    genuine = [data for data, _, _ in net.seen if data[0] == ControlType.SIGNALING]
    make = junk(rng, genuine)
    client = edge.client
    events, timer, seen = len(edge.events), client.next_timer(), client._cursor.seen
    for _ in range(N):
        client.receive(make(), rng.choice((NUCLEUS_AT, *SOURCES)), net.now)
    assert client.take_datagrams() == [] and client.take_events() == [] and len(edge.events) == events
    assert client.drops.total == N
    assert {DropReason.SIGNALING_FORGED, DropReason.SIGNALING_REPLAYED, DropReason.UNKNOWN_SESSION} <= set(
        client.drops.as_dict()
    )
    assert client.next_timer() == timer and client._cursor.seen == seen
    assert client.endpoint == NUCLEUS_AT and edge.registered
    assert net.run(200) and net.all_registered()
