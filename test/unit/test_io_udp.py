"""The underlay sockets on loopback: batches, segmentation and its fallbacks, full sockets, ports in use."""

from __future__ import annotations

import asyncio
import errno
import random
import socket

import pytest

from omni_core.drops import DropReason
from omni_core.errors import ConfigError
from omni_core.io import udp as module
from omni_core.io import udp_bind
from omni_core.io.udp import PENDING_MAX, ROUTES_MAX, UdpPort, _run_length


class Inbox:
    """Collects what a port receives; ``until`` waits for a number of datagrams."""

    def __init__(self, port: UdpPort) -> None:
        self.datagrams: list = []
        self._news = asyncio.Event()
        port.start(self._receive)

    def _receive(self, datagrams) -> None:
        self.datagrams += datagrams
        self._news.set()

    async def until(self, count: int) -> list:
        while len(self.datagrams) < count:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 5)
        return self.datagrams


@pytest.fixture(params=["127.0.0.1", "::1"])
def host(request):
    if request.param == "::1" and not has_ipv6_loopback():
        pytest.skip("no IPv6 on loopback")
    return request.param


def has_ipv6_loopback() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


@pytest.fixture
async def pair(host):
    a, b = UdpPort.open(0, [host]), UdpPort.open(0, [host])
    yield a, b
    a.close()
    b.close()


@pytest.mark.parametrize("segmentation", [True, False])
async def test_a_batch_arrives_whole_and_in_order(host, seed, segmentation):
    rng = random.Random(seed)
    a = UdpPort(udp_bind.bind_all(0, [host]), segmentation=segmentation)
    b = UdpPort(udp_bind.bind_all(0, [host]), segmentation=segmentation)
    try:
        inbox = Inbox(b)
        sizes = [1400] * 100 + [rng.choice([1, 60, 1400, 1400, 1472]) for _ in range(300)]
        sent = [rng.randbytes(size) for size in sizes]
        a.send([(data, (host, b.port)) for data in sent])
        received = await inbox.until(len(sent))
        assert [data for data, _ in received] == sent
        assert {source for _, source in received} == {(host, a.port)}
        assert a.drops.total == 0
    finally:
        a.close()
        b.close()


async def test_runs_use_one_call(pair, host, monkeypatch):
    a, b = pair
    inbox = Inbox(b)
    calls = spy_on_sends(a)
    a.send([(bytes([i]) * 1000, (host, b.port)) for i in range(50)])
    assert len(await inbox.until(50)) == 50
    assert calls == [50]


async def test_merged_datagrams_arrive_apart_when_the_kernel_is_not_to_merge(pair, host):
    a, b = pair
    b.receive_unmerged()
    inbox = Inbox(b)
    sent = [bytes([i]) * 1000 for i in range(50)]
    a.send([(data, (host, b.port)) for data in sent])
    assert [data for data, _ in await inbox.until(50)] == sent
    assert all(sock.getsockopt(socket.IPPROTO_UDP, 104) == 0 for sock in b._sockets)  # UDP_GRO


def spy_on_sends(port: UdpPort, refuse: int = 0) -> list[int]:
    """Datagrams per segmented call; with ``refuse`` such calls fail with that errno."""
    calls: list[int] = []

    class Spy:
        def __init__(self, sock: socket.socket) -> None:
            self._sock = sock
            self.family = sock.family

        def sendmsg(self, buffers, *rest):
            calls.append(len(buffers))
            if refuse:
                raise OSError(refuse, "refused by the test")
            return self._sock.sendmsg(buffers, *rest)

        def __getattr__(self, name):
            return getattr(self._sock, name)

    port._by_family = {family: Spy(sock) for family, sock in port._by_family.items()}
    port._routes.clear()
    return calls


@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL, errno.EMSGSIZE, errno.EOPNOTSUPP])
async def test_refused_segmentation_falls_back_for_that_destination(pair, host, code):
    a, b = pair
    inbox = Inbox(b)
    calls = spy_on_sends(a, refuse=code)
    for _ in range(3):
        a.send([(b"x" * 1000, (host, b.port))] * 20)
    assert len(await inbox.until(60)) == 60
    assert calls == [20] and a.drops.total == 0


async def test_after_einval_shorter_segments_are_tried_again(pair, host):
    a, b = pair
    inbox = Inbox(b)
    calls = spy_on_sends(a, refuse=errno.EINVAL)
    a.send([(b"x" * 1000, (host, b.port))] * 4)
    a.send([(b"x" * 500, (host, b.port))] * 5)
    a.send([(b"x" * 1000, (host, b.port))] * 4)
    assert len(await inbox.until(13)) == 13
    assert calls == [4, 5]


@pytest.mark.parametrize(
    ("sizes", "run"),
    [
        ([800], 1),
        ([800, 800, 800], 3),
        ([800, 800, 799, 800], 3),
        ([800, 801], 1),
        ([800, 799, 799], 2),
        ([1600, 0], 1),
        ([0, 0], 1),
        ([1400] * 200, 45),
        ([100] * 200, 64),
        ([65000, 65000], 1),
        ([750, 750], 1),  # a receiver could not tell it from one packet
        ([750, 750, 1], 3),
        ([1466, 34], 1),
        ([1466, 35], 2),
    ],
)
def test_run_lengths(sizes, run):
    datagrams = [(bytes(size), ("192.0.2.1", 1)) for size in sizes]
    assert _run_length(datagrams, 0, len(datagrams)) == run


def test_a_run_ends_at_another_destination():
    datagrams = [(b"x", ("192.0.2.1", 1)), (b"x", ("192.0.2.1", 2))]
    assert _run_length(datagrams, 0, 2) == 1


@pytest.mark.parametrize(
    "destination",
    [
        ("127.0.0.1", 0),
        ("127.0.0.1", 65536),
        ("127.0.0.1", -1),
        ("localhost", 9),
        ("256.0.0.1", 9),
        ("", 9),
        ("fe80::1%nowhere0", 9),
        ("::gg", 9),
        ("255.255.255.255", 9),
    ],
)
async def test_what_cannot_be_sent_is_counted_and_the_rest_goes(destination):
    a, b = UdpPort.open(0, ["127.0.0.1"]), UdpPort.open(0, ["127.0.0.1"])
    inbox = Inbox(b)
    a.send([(b"bad", destination), (b"good", ("127.0.0.1", b.port)), (b"bad", destination)])
    assert [data for data, _ in await inbox.until(1)] == [b"good"]
    assert a.drops.as_dict() == {DropReason.SEND_FAILED: 2}
    a.close()
    b.close()


async def test_a_family_that_is_not_bound_is_counted():
    port = UdpPort.open(0, ["127.0.0.1"])
    port.send([(b"x", ("::1", 9))])
    assert port.drops[DropReason.SEND_FAILED] == 1
    port.close()


async def test_a_closed_port_of_the_peer_breaks_nothing(pair, host):
    a, b = pair
    inbox = Inbox(a)
    gone = UdpPort.open(0, [host])
    address = (host, gone.port)
    gone.close()
    for _ in range(10):
        a.send([(b"anyone?", address)])
    Inbox(b)
    b.send([(b"here", (host, a.port))])
    assert (await inbox.until(1))[0][0] == b"here"


class FullSocket:
    """A socket whose buffer is full until the test empties it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.family = sock.family
        self.full = True

    def sendto(self, data, address):
        if self.full:
            raise BlockingIOError(errno.EAGAIN, "full")
        return self._sock.sendto(data, address)

    def sendmsg(self, *arguments):
        if self.full:
            raise BlockingIOError(errno.EAGAIN, "full")
        return self._sock.sendmsg(*arguments)

    def fileno(self):
        return self._sock.fileno()


async def test_back_pressure_is_bounded_and_keeps_the_order(pair, host):
    a, b = pair
    inbox, drained = Inbox(b), asyncio.Event()
    a.start(lambda datagrams: None, drained.set)
    family = next(iter(a._by_family))
    full = a._by_family[family] = FullSocket(a._by_family[family])
    a._loop = FakeWriter(asyncio.get_running_loop())
    sent = [i.to_bytes(4, "big") for i in range(PENDING_MAX + 100)]
    for i in range(0, len(sent), 300):
        a.send([(data, (host, b.port)) for data in sent[i : i + 300]])
    assert a.congested and a.drops[DropReason.SEND_FAILED] == 100
    full.full = False
    a._loop.writer()
    assert not a.congested and drained.is_set() and a._loop.writer is None
    assert [data for data, _ in await inbox.until(PENDING_MAX)] == sent[:PENDING_MAX]


class FakeWriter:
    """The running loop, with the one writer in the test's hands."""

    def __init__(self, loop) -> None:
        self._loop = loop
        self.writer = None

    def add_writer(self, fd, callback):
        self.writer = callback

    def remove_writer(self, fd):
        self.writer = None

    def __getattr__(self, name):
        return getattr(self._loop, name)


async def test_a_stopped_port_drops_what_waits(pair, host):
    a, b = pair
    a.start(lambda datagrams: None)
    family = next(iter(a._by_family))
    a._by_family[family] = FullSocket(a._by_family[family])
    a.send([(b"x", (host, b.port))] * 7)
    a.stop()
    a.stop()
    assert a.drops[DropReason.SEND_FAILED] == 7 and not a.congested
    a.send([(b"x", (host, b.port))] * 3)
    assert a.drops[DropReason.SEND_FAILED] == 10 and not a.congested


async def test_what_came_before_the_start_is_stale(pair, host):
    a, b = pair
    a.send([(b"old", (host, b.port))] * 100)
    inbox = Inbox(b)
    a.send([(b"new", (host, b.port))])
    assert [data for data, _ in await inbox.until(1)] == [b"new"]


async def test_a_flood_leaves_room_for_others(pair, host):
    """One wake-up takes a bounded number of calls, however much waits."""
    a, b = pair
    a._segmentation = False
    a.send([(b"x", (host, b.port))] * 500)
    assert 0 < len(b.receive(next(iter(b._by_family.values())))) < 500


async def test_routes_are_bounded():
    port = UdpPort.open(0, ["127.0.0.1"])
    for i in range(ROUTES_MAX + 50):
        port._route((f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", 9))
    assert len(port._routes) == ROUTES_MAX
    port.close()


async def test_room_for_a_burst():
    port = UdpPort.open(0, ["127.0.0.1"])
    (sock,) = port._sockets
    before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    port.expect_bursts()
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= before
    port.close()


# --- binding ----------------------------------------------------------------------------------------------------------


def test_both_families_share_one_port():
    port = UdpPort.open(0)
    ports = {sock.getsockname()[1] for sock in port._sockets}
    assert ports == {port.port}
    if has_ipv6_loopback():
        assert port.families == {socket.AF_INET, socket.AF_INET6}
    port.close()
    port.close()


@pytest.mark.parametrize("held", ["0.0.0.0", "::"])
def test_a_port_in_use_names_the_field_and_leaves_nothing_open(held):
    family = socket.AF_INET6 if ":" in held else socket.AF_INET
    if family == socket.AF_INET6 and not has_ipv6_loopback():
        pytest.skip("no IPv6")
    with socket.socket(family, socket.SOCK_DGRAM) as other:
        if family == socket.AF_INET6:
            other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind((held, 0))
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"UDP port {port} is in use") as caught:
            UdpPort.open(port)
        assert caught.value.field == "listen_port" and caught.value.exit_code == 2
    UdpPort.open(port).close()


def test_any_port_is_drawn_again_until_both_families_have_it(monkeypatch):
    real, refused = udp_bind._bind, []

    def bind(address, port, **options):
        if ":" in address and len(refused) < 3:
            refused.append(port)
            raise udp_bind.refused(address, port, OSError(errno.EADDRINUSE, "in use"))
        return real(address, port, **options)

    monkeypatch.setattr(udp_bind, "_bind", bind)
    UdpPort.open(0).close()
    assert len(refused) == 3


@pytest.mark.parametrize("address", ["192.0.2.77", "2001:db8::77"])
def test_an_address_of_another_machine(address):
    with pytest.raises(ConfigError) as caught:
        UdpPort.open(0, [address])
    assert caught.value.field == "listen_address"


def test_an_address_that_is_none():
    with pytest.raises(ConfigError, match="is no IP address"):
        UdpPort.open(0, ["eth0"])


def test_without_ipv6_the_port_is_ipv4_only(monkeypatch):
    real = socket.socket

    def no_ipv6(family=socket.AF_INET, *rest, **options):
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return real(family, *rest, **options)

    monkeypatch.setattr(udp_bind.socket, "socket", no_ipv6)
    port = UdpPort.open(0)
    assert port.families == {socket.AF_INET}
    port.close()
    with pytest.raises(ConfigError) as caught:
        UdpPort.open(0, ["::1"])
    assert caught.value.field == "listen_address"


async def test_with_several_addresses_the_answer_leaves_from_where_it_was_asked():
    server = UdpPort.open(0, ["127.0.0.1", "127.0.0.2"])
    client = UdpPort.open(0, ["127.0.0.3"])
    server.start(server.send)  # echo
    inbox = Inbox(client)
    client.send([(b"one", ("127.0.0.1", server.port)), (b"two", ("127.0.0.2", server.port))])
    received = await inbox.until(2)
    assert (b"one", ("127.0.0.1", server.port)) in received
    server.close()
    client.close()


def test_the_module_says_its_limits():
    assert module.RUN_BYTES_MAX < 65535 - 8 - 20
