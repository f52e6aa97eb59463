"""What crosses omni0-tap: every packet has a struct slow_prefix (bpf/abi.h) in front, both ways."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from omni_core.constants import IPV4_HEADER, IPV6_HEADER, UDP_HEADER
from omni_core.io.synapse import abi
from omni_core.types import Endpoint, PeerId

# destination, source, ethertype (be), kind, reserved, peer, port (be), reserved, receive id, address
_PREFIX = struct.Struct("=6s6s2sBBI2s2xQ16s")
_ETHERTYPE = abi.SLOW_ETHERTYPE.to_bytes(2, "big")
assert _PREFIX.size == abi.PREFIX_SIZE

_IPV4 = struct.Struct(">BBHHHBBH4s4s")
_IPV6 = struct.Struct(">IHBB16s16s")
_UDP = struct.Struct(">HHHH")
_TTL = 64


class FromKernel(NamedTuple):
    kind: int  # abi.SlowKind, or a number that is none
    peer: PeerId
    receive_id: int
    endpoint: Endpoint
    body: bytes  # what follows the prefix


def parse(packet: bytes) -> FromKernel | None:
    """None for what no program of ours has written."""
    if len(packet) < _PREFIX.size:
        return None
    _, _, ethertype, kind, _, peer, port, receive_id, address = _PREFIX.unpack_from(packet)
    if ethertype != _ETHERTYPE:
        return None
    endpoint = Endpoint(abi.unpack_address(address), int.from_bytes(port, "big"))
    return FromKernel(kind, peer, receive_id, endpoint, packet[_PREFIX.size :])


def seal_request(peer: PeerId, frame: bytes) -> bytes:
    """To be sealed for the peer, whatever the destination of the frame."""
    return _prefix(abi.SlowKind.SEAL, peer) + frame


def local_request(frame: bytes) -> bytes:
    """To be delivered to the local port, as if a peer had sent it."""
    return _prefix(abi.SlowKind.LOCAL, 0) + frame


def open_request(payload: bytes, source: Endpoint, destination: str, port: int) -> bytes:
    """A data packet that reached the UDP socket, dressed as it was on the underlay. Checksums are left out."""
    length = UDP_HEADER + len(payload)
    udp = _UDP.pack(source.port, port, length, 0)
    if source.is_ipv6:
        sender, receiver = abi.pack_address(source.host), abi.pack_address(destination)
        ethertype = b"\x86\xdd"
        ip = _IPV6.pack(6 << 28, length, socket.IPPROTO_UDP, _TTL, sender, receiver)
        assert len(ip) == IPV6_HEADER
    else:
        sender, receiver = socket.inet_aton(source.host), socket.inet_aton(destination)
        ethertype = b"\x08\x00"
        ip = _IPV4.pack(0x45, 0, IPV4_HEADER + length, 0, 0, _TTL, socket.IPPROTO_UDP, 0, sender, receiver)
        assert len(ip) == IPV4_HEADER
    return _prefix(abi.SlowKind.OPEN, 0) + bytes(12) + ethertype + ip + udp + payload


def _prefix(kind: abi.SlowKind, peer: PeerId) -> bytes:
    return _PREFIX.pack(abi.SLOW_MAC, bytes(6), _ETHERTYPE, kind, 0, peer, bytes(2), 0, bytes(16))
