"""The cutter and the merger against the kernel, which does both itself.

vnet header + super-frame -> TAP "in" == bridge == TAP "out", without offloads: the kernel cuts -> frames
"""

from __future__ import annotations

import errno
import fcntl
import os
import random
import select
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.inner_frames import (
    ACK,
    CWR,
    DESTINATION,
    HOP_BY_HOP,
    NEEDS_CSUM,
    PSH,
    ROUTING,
    TCP,
    UDP,
    Packet,
    Vnet,
    draw_packet,
)
from support.native_frames import NativeFrames
from support.own_network import own_network

pytestmark = pytest.mark.netns

# linux/if_tun.h
TUNSETIFF, TUNSETOFFLOAD, TUNSETVNETHDRSZ = 0x400454CA, 0x400454D0, 0x400454D8
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
MACS = bytes.fromhex("02000000aa02 02000000aa01")
ANY_SIZE = 1 << 20
HOP = (HOP_BY_HOP, bytes(7))  # padding, as in the next one
OPTIONS = (DESTINATION, bytes([1]) + bytes(14))
ROUTE = (ROUTING, bytes([2, 2, 1, 0, 0, 0, 0]) + bytes(range(16)))
EXTENSIONS = [(HOP,), (OPTIONS,), (ROUTE,), (HOP, ROUTE, OPTIONS)]


def tap(name: str, flags: int) -> int:
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | flags))
    return fd


class Kernel:
    """Writes to the one TAP, and reads from the other what the kernel made of it."""

    def __init__(self, into: int, out: int) -> None:
        self._in, self._out = into, out

    def frames(self, vnet: Vnet, frame: bytes, count: int) -> list[bytes]:
        """``count`` frames, or fewer when no more come; then one too many, if there is one."""
        os.write(self._in, vnet.pack() + frame)
        out = []
        while len(out) < count and select.select([self._out], [], [], 5)[0]:
            out.append(os.read(self._out, ANY_SIZE))
        try:
            out.append(os.read(self._out, ANY_SIZE))
        except OSError as error:
            assert error.errno == errno.EAGAIN
        return out


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    with own_network():
        for which in ("all", "default"):
            Path(f"/proc/sys/net/ipv6/conf/{which}/disable_ipv6").write_text("1")  # no questions of its own
        into, out = tap("in", IFF_VNET_HDR), tap("out", 0)
        try:
            fcntl.ioctl(into, TUNSETVNETHDRSZ, struct.pack("=i", 10))
            fcntl.ioctl(out, TUNSETOFFLOAD, 0)
            commands = [
                "link add bridge0 type bridge mcast_snooping 0",
                "link set in master bridge0",
                "link set out master bridge0",
            ]
            commands += [f"link set {name} mtu 9000 up" for name in ("in", "out", "bridge0")]
            for command in commands:
                subprocess.run(["ip", *command.split()], check=True)
            yield Kernel(into, out)
        finally:
            os.close(into)
            os.close(out)


def draw_super(draw: random.Random, protocol: int) -> tuple[Packet, int]:
    packet = replace(draw_packet(draw, protocol=protocol, size=draw.randint(2, 30000)), macs=MACS)
    if packet.version == 6 and draw.random() < 0.3:
        packet = replace(packet, extensions=draw.choice(EXTENSIONS))
    gso_size = draw.randint(max(len(packet.payload) // 60, 1), min(8900, len(packet.payload) - 1))
    return packet, gso_size


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_cut_as_the_kernel_cuts(kernel: Kernel, native: NativeFrames, seed: int, protocol: int) -> None:
    draw = random.Random(seed)
    for _ in range(150):
        packet, gso_size = draw_super(draw, protocol)
        vnet, frame = packet.super_frame(gso_size)
        result = native.cut(vnet, frame, ANY_SIZE)
        assert result is not None
        assert result.frames == kernel.frames(vnet, frame, len(result.frames)), packet


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_checksum_finished_as_the_kernel_does(kernel: Kernel, native: NativeFrames, seed: int, protocol: int) -> None:
    draw = random.Random(seed)
    for _ in range(150):
        packet = replace(draw_packet(draw, protocol=protocol, size=draw.randrange(1400)), macs=MACS)
        vnet = Vnet(NEEDS_CSUM, 0, 0, 0, packet.transport, packet.checksum_offset)
        result = native.cut(vnet, packet.build_open(), ANY_SIZE)
        assert result is not None
        assert result.frames == kernel.frames(vnet, packet.build_open(), 1), packet


def test_the_kernel_cuts_what_was_merged(kernel: Kernel, native: NativeFrames, seed: int) -> None:
    """Super-frames of the merger are such as the kernel takes, and hold the frames that were merged."""
    draw = random.Random(seed)
    super_frames = 0
    for _ in range(150):
        packet, gso_size = draw_super(draw, TCP)
        packet = replace(
            packet, tags=packet.tags[:1], ip_options=b"", extensions=(), flags=ACK | draw.choice((0, PSH, CWR))
        )
        cut = native.cut(*packet.super_frame(min(gso_size, 1400)), ANY_SIZE)
        assert cut is not None
        again = []
        for emission in native.merge(cut.frames):
            again += kernel.frames(emission.vnet, emission.frame, emission.segments)
            super_frames += emission.segments > 1
        assert again == cut.frames, packet
    assert super_frames >= 100
