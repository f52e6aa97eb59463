"""One UDP port for a Ganglion and an engine's workers, with real sockets in a network of our own: who gets what."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest
from support.own_network import own_network

from omni_core.errors import ConfigError
from omni_core.io import udp_group
from omni_core.io.udp import UdpPort

pytestmark = pytest.mark.netns

WORKERS = 3
CONTROL = [bytes([first]) + bytes(99) for first in (0, 1, 2, 4, 15)]
SHORT = [bytes([255] * size) for size in (1, 2, 23)]


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    with own_network():
        yield


def data(stream: int = 0, path: int = 0, session: int = 0x1010) -> bytes:
    return session.to_bytes(2, "big") + bytes(21) + bytes([stream << 6 | path]) + bytes(60)


def place(host: str, port: int) -> int:
    """Of data from there, as the program finds it."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    number = port
    for at in range(0, len(packed), 4):
        number ^= int.from_bytes(packed[at : at + 4], "big")
    return (number * 0x9E3779B1 % 2**32 >> 16) % WORKERS


class Shared:
    """A port with its group. ``where``: which place the packet goes to: a worker's, or WORKERS for the Ganglion."""

    def __init__(self, port: UdpPort, *, bulk: bool) -> None:
        self.port = port
        self.companions = port.share(WORKERS, bulk=bulk)
        self.senders = [sender(host) for host in HOSTS for _ in range(20)]

    def where(self, packet: bytes, sender: socket.socket) -> int:
        family, host = sender.family, sender.getsockname()[0]
        sender.sendto(packet, (host, self.port.port))
        own = [sock for sock in self.port._sockets if sock.family == family]
        theirs = [sock for sock in self.companions if sock.family == family]
        got = [place for place, sock in enumerate(theirs + own) if received(sock) == packet]
        assert len(got) == 1
        return got[0]

    def close(self) -> None:
        self.port.close()
        for sock in (*self.companions, *self.senders):
            sock.close()


def received(sock: socket.socket) -> bytes | None:
    """On loopback a packet is there when the sender's call returns."""
    with contextlib.suppress(BlockingIOError, OSError):
        return sock.recv(65536)
    return None


HOSTS = ("127.0.0.1", "::1")


def sender(host: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, 0))
    return made


@pytest.fixture(params=[False, True], ids=["alone", "bulk"])
def bulk(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def shared(bulk: bool) -> Iterator[Shared]:
    made = Shared(UdpPort.open(0), bulk=bulk)
    yield made
    made.close()


def test_control_goes_to_the_ganglion(shared: Shared) -> None:
    assert {shared.where(packet, each) for packet in CONTROL + SHORT for each in shared.senders} == {WORKERS}


def test_data_goes_to_a_worker_by_its_sender(shared: Shared, bulk: bool) -> None:
    seen = set()
    for each in shared.senders:
        expected = place(*each.getsockname()[:2])
        for number in range(8):
            packet = data(1 if bulk else number % 4, number, 0x1000 + 7919 * number)
            assert shared.where(packet, each) == expected
        seen.add((each.family, expected))
    assert len(seen) == 2 * WORKERS, "all have something to do"


def test_other_streams_go_to_the_ganglion_beside_the_engine_in_the_kernel(shared: Shared, bulk: bool) -> None:
    for each in shared.senders:
        places = {shared.where(data(stream), each) for stream in (0, 2, 3)}
        assert places == {WORKERS if bulk else place(*each.getsockname()[:2])}


def check_all(shared: Shared, bulk: bool) -> None:
    test_control_goes_to_the_ganglion(shared)
    test_data_goes_to_a_worker_by_its_sender(shared, bulk)


def test_places_hold_while_ganglia_come_and_go(shared: Shared, bulk: bool) -> None:
    for _ in range(3):
        shared.port.close()
        for each in shared.senders[:20]:
            each.sendto(data(1), ("127.0.0.1", shared.port.port))
            got = [number for number, sock in enumerate(shared.companions[::2]) if received(sock)]
            assert got == [place(*each.getsockname())], "nobody is at the Ganglion's place"
        shared.port = UdpPort.open(shared.port.port, joins=True)
        assert shared.where(CONTROL[1], shared.senders[0]) == WORKERS, "the program is there already"
        shared.port.steer(WORKERS, bulk=bulk)
        check_all(shared, bulk)


def test_a_new_engine_after_one_that_was_killed(shared: Shared, bulk: bool) -> None:
    for sock in shared.companions:
        sock.close()
    for packet in (*CONTROL, data(1)):
        shared.senders[0].sendto(packet, ("127.0.0.1", shared.port.port))
        assert received(shared.port._by_family[socket.AF_INET]) == packet, "all is the Ganglion's meanwhile"
    shared.companions = shared.port.share(WORKERS, bulk=bulk)
    check_all(shared, bulk)


def test_the_order_of_the_sockets() -> None:
    port = UdpPort.open(0, ["127.0.0.1", "127.0.0.2", "::1"])
    shared = Shared(port, bulk=False)
    assert [sock.getsockname()[:2] for sock in shared.companions] == [
        (host, port.port) for _ in range(WORKERS) for host in ("127.0.0.1", "127.0.0.2", "::1")
    ]
    for number, host in enumerate(("127.0.0.1", "127.0.0.2", "::1")):
        for each in shared.senders:
            if (each.family == socket.AF_INET6) == (":" in host):
                each.sendto(data(), (host, port.port))
                assert received(shared.companions[3 * place(*each.getsockname()[:2]) + number]) == data()
    shared.close()


# --- strangers -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=[False, True], ids=["stranger", "stranger that shares"])
def stranger(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, request.param)
        sock.bind(("0.0.0.0", 0))
        yield sock


def test_a_port_of_a_stranger_is_in_use(stranger: socket.socket) -> None:
    port = stranger.getsockname()[1]
    with pytest.raises(ConfigError, match=f"UDP port {port} is in use") as caught:
        UdpPort.open(port)
    assert caught.value.field == "listen_port"


def test_a_stranger_beside_whom_we_joined_is_found_when_there_is_no_engine(stranger: socket.socket) -> None:
    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    port = UdpPort.open(stranger.getsockname()[1], joins=True)
    with pytest.raises(ConfigError, match="is in use"):
        port.reopen()
    port.send([(b"x", ("127.0.0.1", 9))])
    assert port.drops.total == 1, "it is closed"
    port.close()
    port.close()


@pytest.mark.parametrize("joined", [False, True])
def test_a_port_for_us_alone_again(joined: bool) -> None:
    port = UdpPort.open(0)
    if joined:
        number = port.port
        port.close()
        port = UdpPort.open(number, joins=True)
    else:
        for sock in port.share(WORKERS):
            sock.close()
    port.reopen()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind(("0.0.0.0", port.port))
    port.close()


# --- while it runs ---------------------------------------------------------------------------------------------------


async def test_datagrams_are_received_and_sent_before_and_after() -> None:
    port, other = UdpPort.open(0, ["127.0.0.1"]), UdpPort.open(0, ["127.0.0.1"])
    inbox: asyncio.Queue[bytes] = asyncio.Queue()
    answers: asyncio.Queue[bytes] = asyncio.Queue()
    port.start(lambda datagrams: [inbox.put_nowait(payload) for payload, _ in datagrams] and None)
    other.start(lambda datagrams: [answers.put_nowait(payload) for payload, _ in datagrams] and None)
    companions: list[socket.socket] = []
    for change in (lambda: None, lambda: companions.extend(port.share(WORKERS)), port.reopen):
        if change == port.reopen:
            for sock in companions:
                sock.close()
        change()
        other.send([(b"\1", ("127.0.0.1", port.port))])
        assert await asyncio.wait_for(inbox.get(), 5) == b"\1"
        port.send([(b"\2", ("127.0.0.1", other.port))])
        assert await asyncio.wait_for(answers.get(), 5) == b"\2"
    port.stop()
    port.close()
    other.close()


async def test_what_waits_while_the_port_is_shared_is_received() -> None:
    """The answer of a Nucleus would else be repeated after seconds only."""
    port, got = UdpPort.open(0, ["127.0.0.1"]), []
    port.start(got.extend)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for packet in CONTROL:
                sender.sendto(packet, ("127.0.0.1", port.port))
            for companion in port.share(WORKERS):  # nothing was read: the event loop has not had its turn
                companion.close()
        assert [packet for packet, _ in got] == CONTROL
    finally:
        port.close()


def test_merging_is_switched_for_all_that_are_here() -> None:
    port = UdpPort.open(0)
    for on in (False, True):
        port.set_merging(on)
        for sock in port.share(1):
            sock.close()
        assert {sock.getsockopt(socket.IPPROTO_UDP, 104) for sock in port._sockets} == {int(on)}
    port.close()


def test_the_program_as_bytes() -> None:
    """Written by hand: the codes of linux/filter.h."""
    assert udp_group.program(socket.AF_INET, 5, bulk=True) == bytes.fromhex(
        "8000 00 00 00000000  3500 00 0e 18000000  3000 00 00 00000000  3500 00 0c 10000000"
        "3000 00 00 17000000  7400 00 00 06000000  1500 00 09 01000000"
        "2800 00 00 1400f0ff  0200 00 00 00000000  6100 00 00 00000000  2000 00 00 0c00f0ff  ac00 00 00 00000000"
        "2400 00 00 b179379e  7400 00 00 10000000  9400 00 00 05000000  1600 00 00 00000000  0600 00 00 05000000"
    )
