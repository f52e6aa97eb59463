"""The ring buffer's consumer, against a real program as producer."""

from __future__ import annotations

import random
import select
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bpf_programs import LoadPrograms

from omni_core.io.synapse import loader, syscalls
from omni_core.io.synapse.bpf_call import MapType
from omni_core.io.synapse.ringbuf import RingBuffer

pytestmark = pytest.mark.netns

BASICS = Path(__file__).parents[2] / "bpf/test/basics.c"
SHORT, LONG, DISCARD = 1, 2, 3  # kinds of events in basics.h
RECORD = {SHORT: 12, LONG: 64}  # bytes
XDP_ABORTED, XDP_PASS, XDP_TX = 0, 2, 3


@pytest.fixture(scope="module")
def basics(load_programs: LoadPrograms) -> loader.Loaded:
    return load_programs(BASICS, {"FACTOR": 2}, {"send_event": "xdp"})


@pytest.fixture
def ring(basics: loader.Loaded) -> Iterator[RingBuffer]:
    ring = RingBuffer(basics.maps["events"])
    ring.read()
    yield ring
    ring.close()
    ring.close()


def event(kind: int, number: int) -> bytes:
    return bytes([kind]) + number.to_bytes(8, "little") + bytes([number & 0xFF]) * 55


def send(basics: loader.Loaded, packet: bytes) -> int:
    return basics.programs["send_event"].test_run(packet).retval


def readable(ring: RingBuffer) -> bool:
    return bool(select.select([ring], [], [], 0)[0])


def test_records_come_in_order_and_whole(basics: loader.Loaded, ring: RingBuffer, seed: int) -> None:
    """Many times round the ring, with every phase of the end of its memory."""
    draw = random.Random(seed)
    expected: list[bytes] = []
    due = 0
    for number in range(3000):
        kind = draw.choice([SHORT, LONG, DISCARD])
        packet = event(kind, number)
        assert send(basics, packet) == (XDP_TX if kind == DISCARD else XDP_PASS)
        if kind != DISCARD:
            expected.append(packet[: RECORD[kind]])
        if number == due:  # at most 50 of at most 72 bytes in a ring of 4096
            assert ring.read() == expected
            expected.clear()
            due += draw.randint(1, 50)
    assert ring.read() == expected and ring.read() == []


def test_a_full_ring_refuses_and_loses_nothing_that_it_took(basics: loader.Loaded, ring: RingBuffer) -> None:
    taken = 0
    while send(basics, event(LONG, taken)) == XDP_PASS:
        taken += 1
    size = basics.maps["events"].max_entries
    assert taken in (size // 72, size // 72 - 1)
    assert ring.read() == [event(LONG, i) for i in range(taken)]
    assert send(basics, event(LONG, 5)) == XDP_PASS
    assert ring.read() == [event(LONG, 5)]


def test_readable_while_there_is_something(basics: loader.Loaded, ring: RingBuffer) -> None:
    assert not readable(ring)
    send(basics, event(SHORT, 1))
    send(basics, event(SHORT, 2))
    assert readable(ring)
    assert len(ring.read(limit=1)) == 1
    assert readable(ring)
    assert len(ring.read()) == 1
    assert not readable(ring)


def test_epoll_wakes_a_waiting_consumer(basics: loader.Loaded, ring: RingBuffer) -> None:
    got: list[bytes] = []

    def consume() -> None:
        with select.epoll() as poll:
            poll.register(ring, select.EPOLLIN)
            while len(got) < 2000 and poll.poll(10):
                got.extend(ring.read())

    thread = threading.Thread(target=consume)
    thread.start()
    sent: list[bytes] = []
    while len(sent) < 2000:
        packet = event(SHORT, len(sent))
        if send(basics, packet) == XDP_PASS:  # else the ring is full, and the consumer at work
            sent.append(packet[:12])
    thread.join()
    assert got == sent


def test_a_second_consumer_goes_on_where_the_first_stopped(basics: loader.Loaded, ring: RingBuffer) -> None:
    """As after a restart: the position is in the map."""
    for number in range(3):
        send(basics, event(SHORT, number))
    assert len(ring.read(limit=2)) == 2
    second = RingBuffer(basics.maps["events"])
    assert second.read() == [event(SHORT, 2)[:12]]
    second.close()


def test_other_maps_are_refused() -> None:
    with syscalls.create_map("array", MapType.ARRAY, 4, 4, 1) as other, pytest.raises(OSError):
        RingBuffer(other)
