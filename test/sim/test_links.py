"""Links do what their numbers say. Bounds are five standard deviations wide, so a seed does not fail by chance."""

from __future__ import annotations

from math import sqrt

import pytest

from omni_core.sim.echo import EchoHost
from omni_core.sim.link import WIRE_OVERHEAD, LinkQuality
from omni_core.sim.network import SimNet, SimTimeout

N = 20_000


def flood(
    net: SimNet, quality: LinkQuality, n: int = N, gap: float = 0.001, size: int = 100
) -> tuple[EchoHost, list[float]]:
    """n packets, numbered, one each ``gap`` seconds. Returns the receiver and the sending times."""
    net.set_quality(quality)
    sender, receiver = EchoHost("sender"), EchoHost("receiver")
    net.add_host(sender)
    net.add_host(receiver)
    start = net.now
    times = [start + i * gap for i in range(n)]
    for i, when in enumerate(times):
        net.at(when, sender.send, i.to_bytes(4, "big") + bytes(size - 4), (receiver.addresses[0], receiver.port))
    net.run(n * gap + 10)
    return receiver, times


def numbers(host: EchoHost) -> list[int]:
    return [int.from_bytes(payload[:4], "big") for payload in host.payloads]


def near(observed: int, probability: float, n: int = N) -> bool:
    return abs(observed - n * probability) <= 5 * sqrt(n * probability * (1 - probability))


def test_perfect_link_delivers_all_in_order_after_its_latency(net: SimNet) -> None:
    receiver, times = flood(net, LinkQuality(latency=0.03), n=1000)
    assert numbers(receiver) == list(range(1000))
    assert [when for when, _, _ in receiver.received] == pytest.approx([t + 0.03 for t in times])


@pytest.mark.parametrize("loss", [0.01, 0.1, 0.5])
def test_loss(net: SimNet, loss: float) -> None:
    receiver, _ = flood(net, LinkQuality(loss=loss))
    assert near(net.trace.verdicts["lost"], loss)
    assert len(receiver.received) == N - net.trace.verdicts["lost"]


def test_duplication(net: SimNet) -> None:
    receiver, _ = flood(net, LinkQuality(duplicate=0.2))
    seen = numbers(receiver)
    assert set(seen) == set(range(N))
    assert near(len(seen) - N, 0.2)
    assert max(seen.count(i) for i in range(100)) <= 2


def test_jitter_spreads_the_delay_and_keeps_the_order(net: SimNet) -> None:
    receiver, times = flood(net, LinkQuality(latency=0.05, jitter=0.02), gap=0.05)
    delays = [when - sent for (when, _, _), sent in zip(receiver.received, times, strict=True)]
    assert numbers(receiver) == list(range(N))
    assert min(delays) >= 0.03 - 1e-9
    assert max(delays) <= 0.07 + 1e-9
    assert sum(delays) / N == pytest.approx(0.05, abs=5 * 0.02 / sqrt(3 * N))


def test_jitter_beyond_the_latency_never_arrives_before_it_was_sent(net: SimNet) -> None:
    receiver, times = flood(net, LinkQuality(latency=0.001, jitter=0.02), n=1000, gap=0.05)
    assert all(when >= sent for (when, _, _), sent in zip(receiver.received, times, strict=True))


def test_reordering(net: SimNet) -> None:
    receiver, _ = flood(net, LinkQuality(reorder=0.1, reorder_delay=0.1))
    seen = numbers(receiver)
    assert sorted(seen) == list(range(N))
    highest, late = -1, 0
    for number in seen:
        late += number < highest
        highest = max(highest, number)
    # held back less than one gap (1 %) it is not overtaken
    assert 0.08 * N < late < 0.12 * N


def test_bandwidth_paces_and_the_tail_is_dropped(net: SimNet) -> None:
    size, bandwidth, queue = 972, 100_000.0, 50_000
    wire = size + WIRE_OVERHEAD
    receiver, times = flood(net, LinkQuality(latency=0.0, bandwidth=bandwidth, queue=queue), n=200, gap=0.0, size=size)
    arrivals = [when - times[0] for when, _, _ in receiver.received]
    assert arrivals == pytest.approx([(i + 1) * wire / bandwidth for i in range(len(arrivals))])
    assert len(arrivals) == queue // wire + 1
    assert net.trace.verdicts["link queue full"] == 200 - len(arrivals)


def test_one_direction_may_differ(net: SimNet) -> None:
    a, b = EchoHost("a"), EchoHost("b", echo=True)
    net.add_host(a)
    net.add_host(b)
    net.set_link(a, b, LinkQuality(latency=0.1), back=False)
    net.set_link(b, a, LinkQuality(latency=0.3), back=False)
    a.send(b"x", (b.addresses[0], b.port))
    assert net.until(lambda: bool(a.received), 1) == pytest.approx(0.4)


def test_cut_loses_what_is_under_way_and_heals(net: SimNet) -> None:
    a, b = EchoHost("a"), EchoHost("b")
    net.add_host(a)
    net.add_host(b)
    remote = (b.addresses[0], b.port)
    a.send(b"under way", remote)
    net.cut(a, b)
    a.send(b"after", remote)
    net.run(1)
    assert b.received == []
    assert net.trace.verdicts == {"cut": 2}
    net.heal(a, b)
    a.send(b"healed", remote)
    net.run(1)
    assert b.payloads == [b"healed"]


def test_partition_separates_the_groups_only(net: SimNet) -> None:
    hosts = [EchoHost(f"h{i}") for i in range(4)]
    for host in hosts:
        net.add_host(host)
    net.partition(hosts[:2], hosts[2:])
    for host in hosts:
        for other in hosts:
            if other is not host:
                host.send(host.name.encode(), (other.addresses[0], other.port))
    net.run(1)
    assert [sorted(h.payloads) for h in hosts] == [[b"h1"], [b"h0"], [b"h3"], [b"h2"]]
    net.heal_all()
    hosts[0].send(b"again", (hosts[3].addresses[0], hosts[3].port))
    net.run(1)
    assert hosts[3].payloads[-1] == b"again"


def test_fates_that_are_nobodys_fault(net: SimNet) -> None:
    a, b = EchoHost("a"), EchoHost("b")
    net.add_host(a)
    net.add_host(b)
    old = b.addresses[0]
    a.send(b"", ("203.0.113.9", 1))
    a.send(b"", (old, 1))
    a.send(b"", ("2001:db8::1", 1))
    net.run(1)
    a.send(b"roams meanwhile", (old, b.port))
    net.move(b)
    net.run(1)
    a.send(b"stopped meanwhile", (b.addresses[0], b.port))
    b.stop_running()
    net.run(1)
    assert b.received == []
    assert net.trace.verdicts == {
        "no such address": 1, "port closed": 1, "no source address": 1, "address gone": 1, "host down": 1,
    }  # fmt: skip


def test_a_host_may_have_both_families(net: SimNet) -> None:
    a, b = EchoHost("a"), EchoHost("b")
    net.add_host(a, ["192.0.2.1", "2001:db8::a"])
    net.add_host(b, ["192.0.2.2", "2001:db8::b"])
    a.send(b"6", ("2001:db8::b", b.port))
    a.send(b"4", ("192.0.2.2", b.port))
    net.run(1)
    assert [(payload, source[0]) for _, payload, source in b.received] == [(b"6", "2001:db8::a"), (b"4", "192.0.2.1")]


def test_until_times_out_with_the_packets_in_the_message(net: SimNet) -> None:
    a, b = EchoHost("a"), EchoHost("b")
    net.add_host(a)
    net.add_host(b)
    a.send(b"\x01 hello", (b.addresses[0], b.port))
    message = r"after 5 virtual seconds \(seed \d+\): the moon(.|\n)*initiation 7 B: delivered"
    with pytest.raises(SimTimeout, match=message):
        net.until(lambda: False, 5, "the moon")
