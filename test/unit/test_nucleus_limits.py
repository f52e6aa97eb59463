"""How often edges may register: buckets by themselves, and at a Nucleus with honest edges beside the flood."""

from __future__ import annotations

import random

import pytest
from support.nucleus_net import Edge, Net

from omni_core.constants import (
    REGISTER_BURST,
    REGISTERS_PER_SECOND,
    REQUEST_RETRY,
    SOURCE_REGISTER_BURST,
    SOURCE_REGISTERS_PER_SECOND,
)
from omni_core.crypto.identity import Identity
from omni_core.crypto.record import signed
from omni_core.drops import DropReason
from omni_core.engines.nucleus_limits import Buckets, Rate, RegisterLimits, site
from omni_core.errors import RemoteViolation
from omni_core.signaling.admission import ClusterPolicy
from omni_core.signaling.client_events import Refused


def passed(limits: RegisterLimits, host: str, keys: int, now: float) -> int:
    """How many of so many new keys."""
    count = 0
    for number in range(keys):
        try:
            limits.check(f"{host} {number} {now}".encode(), host, new=True, now=now)
            count += 1
        except RemoteViolation as violation:
            assert violation.reason is DropReason.SOURCE_REGISTERS_TOO_OFTEN
    return count


def test_a_site_of_a_thousand_robots_passes_twice_at_once() -> None:
    limits = RegisterLimits()
    assert passed(limits, "192.0.2.1", 2500, 0.0) == SOURCE_REGISTER_BURST
    assert passed(limits, "192.0.2.1", 2500, 2.0) == 2 * SOURCE_REGISTERS_PER_SECOND
    assert passed(limits, "192.0.2.2", 100, 2.0) == 100, "another address has its own share"


def test_a_key_has_a_share_of_its_own() -> None:
    limits = RegisterLimits()
    done = 0
    for step in range(1000):
        try:
            limits.check(b"key", "192.0.2.1", new=False, now=step / 10)
            done += 1
        except RemoteViolation as violation:
            assert violation.reason is DropReason.REGISTERS_TOO_OFTEN
    assert done == REGISTER_BURST + int(99.9 * REGISTERS_PER_SECOND)
    limits.check(b"other", "192.0.2.1", new=False, now=100.0)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_what_one_source_is(one: str, other: str, same: bool) -> None:
    assert (site(one) == site(other)) is same


def test_the_table_is_bounded_and_forgets_the_full_ones_first(seed: int) -> None:
    rng = random.Random(seed)
    buckets: Buckets[int] = Buckets(Rate(1.0, 10, 100))
    for number in range(1000):
        assert buckets.take(number, 0.0)
        assert len(buckets) <= 100
    buckets.take(5000, 20.0)
    assert len(buckets) == 1, "all others would be full again"
    for number in rng.choices(range(10_000), k=5000):
        buckets.take(number, 20.0 + number / 1e6)
        assert len(buckets) <= 100


# --- at a Nucleus -----------------------------------------------------------------------------------------------------


class Flooder(Edge):
    """Registers again and again, each time with a new record."""

    def flood(self, times: int) -> None:
        for _ in range(times):
            record = signed(self.identity, "fleet", version=self.net.unix_ns(self.net.now))
            self.client._awaits_record = True
            self.client.set_record(record, self.net.now)
            self.net.pump(self)
            self.net.run(0.02)


def test_a_key_that_registers_all_the_time_changes_little_and_disturbs_nobody(seed: int) -> None:
    net = Net(seed)
    honest = [net.edge().start() for _ in range(5)]
    assert net.run(2, net.all_registered)
    flooder = Flooder(net, 99)
    net.edges[flooder.at] = flooder
    flooder.start()
    net.run(1)
    before = net.nucleus.status(net.now).clusters[0].joins
    flooder.flood(500)  # in 10 s
    joins = net.nucleus.status(net.now).clusters[0].joins - before
    assert joins <= REGISTER_BURST + 12 * REGISTERS_PER_SECOND
    assert net.nucleus.drops[DropReason.REGISTERS_TOO_OFTEN] > 400
    assert all(edge.registered for edge in honest)
    net.run(120)
    assert all(edge.registered and not edge.of(Refused) for edge in honest)


def test_new_keys_from_one_address_wait_and_others_do_not(seed: int) -> None:
    few = RegisterLimits(source=Rate(0.5, 4, 100))
    net = Net(seed, [ClusterPolicy("fleet")], limits=few)
    crowd = [Edge(net, 1, identity=Identity.generate(net.rng.randbytes), vip4="") for _ in range(20)]
    source = crowd[0].at

    def arrive(edge: Edge) -> None:
        """All are behind one address, one after the other."""
        net.edges[source] = edge
        edge.start()
        net.run(1)

    for edge in crowd:
        arrive(edge)
    registered = sum(edge.registered for edge in crowd)
    assert 4 <= registered <= 4 + 20 * 0.5 + 1
    assert net.nucleus.drops[DropReason.SOURCE_REGISTERS_TOO_OFTEN] > 0
    assert net.nucleus.status(net.now).clusters[0].edges == registered
    late = net.edge(2).start()
    assert net.run(1, lambda: late.registered), "another address has its own share"


def test_a_registration_that_was_dropped_is_repeated_and_passes(seed: int) -> None:
    net = Net(seed, [ClusterPolicy("fleet")], limits=RegisterLimits(source=Rate(1.0, 1, 100)))
    first = net.edge(1).start()
    assert net.run(1, lambda: first.registered)
    second = Edge(net, 1, vip4="")
    net.edges[first.at] = second
    second.start()
    net.run(0.5)
    assert not second.registered
    assert net.run(2 * REQUEST_RETRY + 1, lambda: second.registered)


def test_who_lacks_the_secret_uses_up_nobodys_share(seed: int) -> None:
    key = b"a" * 32
    net = Net(seed, [ClusterPolicy("fleet", key)], limits=RegisterLimits(source=Rate(0.01, 2, 100)))
    for _ in range(10):
        stranger = Edge(net, 1)
        net.edges[stranger.at] = stranger
        stranger.start()
        net.run(1)
        assert stranger.of(Refused)
    member = Edge(net, 1, admission_key=key)
    net.edges[member.at] = member
    member.start()
    assert net.run(1, lambda: member.registered)
