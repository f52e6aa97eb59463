"""Two Ganglia with the native engine alone: what crosses, unchanged.

 robot1 ---- robot2     overlay 10.77.0.0/24
----+-----------+----   underlay
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from support.fleet import carry_frames, conversations
from support.frame_tool import MARK
from support.inner_frames import Packet
from support.kernel_fleet import RECEIVE_DATAGRAMS, SEGMENTS, UDP_TOOL, end, every_kind, frame, ipv4_udp, udp
from support.two_robots import TwoRobots

from tools.netlab import Lab, unavailable

pytestmark = [pytest.mark.netns, pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))]


@pytest.fixture(scope="module")
def pair() -> Iterator[TwoRobots]:
    with Lab("native") as lab:
        pair = TwoRobots(lab)
        pair.start({"engine": "native"})
        yield pair
        pair.stop()


def test_datagrams_of_every_size(pair: TwoRobots) -> None:
    """Alone in a packet up to MTU - 28, and fragmented inside up to 20,000 bytes."""
    a, b = pair.ends
    mtu = a.status()["interface_mtu"]
    for address, header in ((b.vip4, 28), (b.vip6, 48)):
        echo = udp(b.host, "echo", "echo", address, 7001)
        for first, last, step in ((1, mtu - header, 1), (mtu - header + 1, 20_000, 97)):
            a.host.run([sys.executable, UDP_TOOL, "sizes", address, "7001", str(first), str(last), str(step)])
        end(echo)


def test_frames_of_every_kind_and_length(pair: TwoRobots, seed: int) -> None:
    a, b = pair.ends
    mtu, draw = a.status()["interface_mtu"], random.Random(seed)
    frames = every_kind(b.mac, mtu, draw)
    assert conversations(carry_frames(a.host, b.host, frames)) == conversations(frames)
    frames = [frame(b.mac, "88b6", draw.randbytes(size)) for size in range(mtu + 1)]
    assert conversations(carry_frames(a.host, b.host, frames)) == conversations(frames)
    too_long = frame(b.mac, "8100", bytes.fromhex("000a0800") + draw.randbytes(mtu))
    assert carry_frames(a.host, b.host, [too_long]) == [too_long], "4 bytes more than the path takes in one packet"


def test_a_wrong_checksum_inside_stays_wrong(pair: TwoRobots) -> None:
    a, b = pair.ends
    frames = [
        frame(b.mac, "0800", ipv4_udp(a.vip4, b.vip4, 7003, payload, spoil))
        for payload, spoil in ((b"wrong" * 20, 1), (b"right" * 20, 0))
    ]
    receiver = b.host.start([sys.executable, "-c", RECEIVE_DATAGRAMS, "1"], name="checksum")
    receiver.wait_log("^ready$", 5)
    assert conversations(carry_frames(a.host, b.host, frames)) == conversations(frames)
    assert receiver.wait(15) == 0
    assert receiver.log_text().split() == ["ready", (b"right" * 20).hex()]


def test_segments_with_a_wrong_checksum_are_not_merged_into_right_ones(pair: TwoRobots, seed: int) -> None:
    """A stream of TCP segments that only their checksums keep from being merged: each arrives as it was."""
    a, b = pair.ends
    draw = random.Random(seed)
    packet = Packet(payload=draw.randbytes(500))
    frames = []
    for number in range(50):
        right = packet.build()
        wrong = right[:50] + (int.from_bytes(right[50:52], "big") ^ 1 << number % 16).to_bytes(2, "big") + right[52:]
        frames.append(b.mac + MARK + b"\0\0\1" + wrong[12:])
        sequence = (packet.sequence + len(packet.payload)) % 2**32
        packet = replace(packet, sequence=sequence, id=packet.id + 1, payload=draw.randbytes(500))
    assert carry_frames(a.host, b.host, frames) == frames


def test_segments_of_a_udp_super_datagram_arrive_one_by_one(pair: TwoRobots, seed: int) -> None:
    a, b = pair.ends
    size, count = 1200, 50
    content = random.Random(seed).randbytes(size * count - 100)
    path = pair.files / "segments"
    path.write_bytes(content)
    receiver = b.host.start([sys.executable, "-c", RECEIVE_DATAGRAMS, str(count)], name="segments")
    receiver.wait_log("^ready$", 5)
    before = a.ways()
    a.host.run([sys.executable, "-c", SEGMENTS, b.vip4, str(size), str(path)])
    assert receiver.wait(15) == 0
    received = [bytes.fromhex(line) for line in receiver.log_text().splitlines()[1:]]
    assert received == [content[at : at + size] for at in range(0, len(content), size)]
    assert (a.ways() - before)["native_tx_sealed"] >= count
