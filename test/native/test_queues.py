"""The TAP of the native engine, in a network of its own: queues, header, offloads, life, and errors as of any TAP."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest
from support.machine import ip
from support.own_network import interfaces, own_network
from support.planes import frame

from omni_core.errors import ConfigError, SystemRefused
from omni_core.io import tap
from omni_core.io.native.queues import TapQueues
from omni_core.types import BROADCAST

pytestmark = pytest.mark.netns

MAC = bytes.fromhex("020000000001")
_GET_OFFLOAD_FEATURES = ("tx-checksum-ip-generic", "tx-tcp-segmentation", "tx-tcp6-segmentation")


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    with own_network():
        yield


def up(name: str) -> None:
    with open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "w", encoding="ascii") as file:
        file.write("1")
    ip(f"link set {name} up")


def test_a_queue_for_each_worker() -> None:
    queues = TapQueues.open("omni0", 3)
    assert len(set(queues.fds)) == 3 and interfaces() == {"omni0"}
    shown = subprocess.run(["ip", "-d", "link", "show", "omni0"], check=True, capture_output=True, text=True).stdout
    for word in ("type tap", "multi_queue", "vnet_hdr on", "persist on", "numqueues 3"):
        assert word in shown
    features = subprocess.run(["ethtool", "-k", "omni0"], check=True, capture_output=True, text=True).stdout
    for feature in _GET_OFFLOAD_FEATURES:
        assert f"{feature}: on" in features
    for fd in queues.fds:
        assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK and not os.get_inheritable(fd)
    queues.close()
    queues.close()


def test_frames_come_and_go_with_a_header() -> None:
    queues = TapQueues.open("omni0", 2)
    up("omni0")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as station:
        station.bind(("omni0", 0))
        sent = frame(BROADCAST, MAC, 0x88A4)
        station.send(sent)
        poll = select.select(queues.fds, [], [], 5)[0]
        got = os.read(poll[0], 70000)
        assert got == bytes(10) + sent
        for number, fd in enumerate(queues.fds):
            back = frame(MAC, BROADCAST[:5] + bytes([0xFE]), 0x88A4, size=60 + number)
            os.write(fd, bytes(10) + back)
            while station.recv(70000) != back:
                pass
    queues.close()


def test_a_super_frame_in_one_write() -> None:
    queues = TapQueues.open("omni0", 1)
    up("omni0")
    ip("address add 10.0.0.1/24 dev omni0")
    payload = bytes(30000)
    tcp = struct.pack(">HHIIBBHHH", 1, 2, 3, 4, 0x50, 0x10, 500, 0, 0)
    packet = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40 + len(payload), 1, 0x4000, 64, 6, 0, b"\n\0\0\2", b"\n\0\0\1")
    # VIRTIO_NET_HDR_F_NEEDS_CSUM, GSO_TCPV4
    header = struct.pack("=BBHHHH", 1, 1, 54, 1448, 34, 16)
    os.write(queues.fds[0], header + MAC + MAC + b"\x08\0" + packet + tcp + payload)
    queues.close()


def test_the_device_stays_and_is_joined() -> None:
    TapQueues.open("omni0", 2).close()
    assert interfaces() == {"omni0"}
    joined = TapQueues.join("omni0", 4)
    assert len(joined.fds) == 4
    joined.close()
    ip("link del omni0")
    assert interfaces() == set()


def test_a_name_that_is_taken() -> None:
    TapQueues.open("omni0", 1).close()
    with pytest.raises(ConfigError, match="omni0 exists already") as caught:
        TapQueues.open("omni0", 1)
    assert caught.value.field == "interface"
    ip("link add other0 type bridge")
    for name in ("other0", "omni0"):
        with pytest.raises(ConfigError, match=f"{name} exists already"):
            TapQueues.open(name, 2)
    with pytest.raises(ConfigError):
        TapQueues.join("other0", 1)
    assert interfaces() == {"omni0", "other0"}


@pytest.mark.parametrize("name", ["", "a/b", "much-too-long-for-it"])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TapQueues.open(name, 1)
    assert caught.value.field == "interface"


def test_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap, "DEVICE", "/dev/net/nowhere")
    with pytest.raises(SystemRefused, match="modprobe tun"):
        TapQueues.open("omni0", 1)


def test_what_fails_later_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises((ConfigError, SystemRefused)):
        TapQueues.open("omni0", 300)  # more than a device may have
    assert set(os.listdir("/proc/self/fd")) == before and interfaces() == set()
