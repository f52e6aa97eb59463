"""Inner frames for tests of the native engine's cutter and merger: a builder, a parser, and both done naively.

Independent of the C code: a frame is parsed to fields, the fields are changed, and it is built again from nothing. The
checksum is a remainder (RFC 1071 sums are arithmetic modulo 65535).
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field, replace

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
DONT_FRAGMENT, MORE_FRAGMENTS = 0x4000, 0x2000
TCP, UDP, ICMP_V6 = 6, 17, 58
HOP_BY_HOP, ROUTING, DESTINATION = 0, 43, 60
TAG, SERVICE_TAG = 0x8100, 0x88A8

NEEDS_CSUM, DATA_VALID = 1, 2  # linux/virtio_net.h
GSO_NONE, GSO_TCPV4, GSO_UFO, GSO_TCPV6, GSO_UDP_L4, GSO_ECN = 0, 1, 3, 4, 5, 0x80

MERGE_FLOWS, MERGE_PIECES = 8, 64  # native/merge.h


@dataclass(frozen=True)
class Vnet:
    """struct virtio_net_hdr"""

    flags: int = 0
    gso_type: int = 0
    hdr_len: int = 0
    gso_size: int = 0
    csum_start: int = 0
    csum_offset: int = 0

    def pack(self) -> bytes:
        return struct.pack(
            "<BBHHHH", self.flags, self.gso_type, self.hdr_len, self.gso_size, self.csum_start, self.csum_offset
        )

    @classmethod
    def unpack(cls, data: bytes) -> Vnet:
        return cls(*struct.unpack("<BBHHHH", data))


def internet_sum(data: bytes) -> int:
    """Not inverted; 0 only for zeros."""
    number = int.from_bytes(data + bytes(len(data) % 2), "big")
    return number % 65535 or (65535 if number else 0)


def checksum(data: bytes) -> int:
    return 65535 - internet_sum(data)


@dataclass(frozen=True)
class Packet:
    """A TCP segment or UDP datagram in its frame. ``build()`` makes every length and checksum right."""

    payload: bytes = b""
    version: int = 4
    protocol: int = TCP
    macs: bytes = bytes.fromhex("020000000002 020000000001")
    tags: tuple[tuple[int, int], ...] = ()  # (type, control information), outer first
    source: bytes = b"\x0a\0\0\1"
    destination: bytes = b"\x0a\0\0\2"
    tos: int = 0
    ttl: int = 64
    id: int = 0
    fragment: int = DONT_FRAGMENT
    ip_options: bytes = b""
    label: int = 0
    extensions: tuple[tuple[int, bytes], ...] = ()  # (number, all behind the next header's number)
    ports: tuple[int, int] = (1000, 2000)
    sequence: int = 0
    acknowledgement: int = 0
    reserved: int = 0  # the four bits in front of CWR
    flags: int = ACK
    window: int = 1000
    urgent: int = 0
    options: bytes = b""

    @property
    def network(self) -> int:
        return 14 + 4 * len(self.tags)

    @property
    def transport(self) -> int:
        if self.version == 4:
            return self.network + 20 + len(self.ip_options)
        return self.network + 40 + sum(1 + len(body) for _, body in self.extensions)

    @property
    def headers(self) -> int:
        return self.transport + (20 + len(self.options) if self.protocol == TCP else 8)

    @property
    def checksum_offset(self) -> int:
        return 16 if self.protocol == TCP else 6

    def transport_header(self, check: int) -> bytes:
        if self.protocol == UDP:
            return struct.pack(">HHHH", *self.ports, (8 + len(self.payload)) & 0xFFFF, check)
        offset = (5 + len(self.options) // 4) << 12 | self.reserved << 8 | self.flags
        fields = (*self.ports, self.sequence, self.acknowledgement, offset, self.window, check, self.urgent)
        return struct.pack(">HHIIHHHH", *fields) + self.options

    def pseudo_header(self) -> bytes:
        destination = self.destination
        for number, body in self.extensions:
            if number == ROUTING and body[1] == 2 and body[2]:  # RFC 6275, 6.4: one address, the final one
                destination = body[7:23]
        length = len(self.transport_header(0)) + len(self.payload)
        return self.source + destination + struct.pack(">II", length, self.protocol)

    def network_header(self, length: int) -> bytes:
        """``length``: of the packet"""
        if self.version == 4:
            parts = [
                struct.pack(">BBH", 0x45 + len(self.ip_options) // 4, self.tos, length & 0xFFFF),
                struct.pack(">HHBB", self.id, self.fragment, self.ttl, self.protocol),
                b"\0\0",
                self.source + self.destination + self.ip_options,
            ]
            parts[2] = struct.pack(">H", checksum(b"".join(parts)))
            return b"".join(parts)
        numbers = [*(number for number, _ in self.extensions), self.protocol]
        word = 6 << 28 | self.tos << 20 | self.label
        header = (
            struct.pack(">IHBB", word, (length - 40) & 0xFFFF, numbers[0], self.ttl) + self.source + self.destination
        )
        return header + b"".join(bytes([n]) + body for n, (_, body) in zip(numbers[1:], self.extensions, strict=True))

    def build(self, check: int | None = None) -> bytes:
        """``check``: instead of the right checksum"""
        if check is None:
            check = checksum(self.pseudo_header() + self.transport_header(0) + self.payload)
            if self.protocol == UDP and not check:
                check = 0xFFFF
        behind = self.transport_header(check) + self.payload
        frame = self.macs + b"".join(struct.pack(">HH", *tag) for tag in self.tags)
        frame += struct.pack(">H", 0x0800 if self.version == 4 else 0x86DD)
        return frame + self.network_header(self.transport - self.network + len(behind)) + behind

    def build_open(self) -> bytes:
        """With the checksum left to be finished, as the kernel leaves it."""
        return self.build(internet_sum(self.pseudo_header()))

    def super_frame(self, gso_size: int, **changes: int) -> tuple[Vnet, bytes]:
        gso_type = GSO_UDP_L4 if self.protocol == UDP else GSO_TCPV4 if self.version == 4 else GSO_TCPV6
        if self.protocol == TCP and self.flags & CWR:
            gso_type |= GSO_ECN
        vnet = Vnet(NEEDS_CSUM, gso_type, self.headers, gso_size, self.transport, self.checksum_offset)
        return replace(vnet, **changes), self.build_open()


def parse(frame: bytes, *, whole: bool = False) -> Packet | None:
    """None: no TCP or UDP, or not whole. ``whole``: the packet is all that is there, whatever its header says."""
    at, tags = 12, []
    kind = int.from_bytes(frame[at : at + 2], "big")
    while kind in (TAG, SERVICE_TAG) and len(tags) < 2:
        tags.append((kind, int.from_bytes(frame[at + 2 : at + 4], "big")))
        at += 4
        kind = int.from_bytes(frame[at : at + 2], "big")
    packet = frame[at + 2 :]
    fields: dict[str, object] = {"macs": frame[:12], "tags": tuple(tags)}
    if kind == 0x0800 and len(packet) >= 20 and packet[0] >> 4 == 4:
        (first, tos, length, id_, fragment, ttl, protocol, _) = struct.unpack(">BBHHHBBH", packet[:12])
        start = (first & 15) * 4
        fields |= {"version": 4, "tos": tos, "ttl": ttl, "id": id_, "fragment": fragment}
        fields |= {"source": packet[12:16], "destination": packet[16:20], "ip_options": packet[20:start]}
        if start < 20 or fragment & 0x3FFF:
            return None
    elif kind == 0x86DD and len(packet) >= 40 and packet[0] >> 4 == 6:
        word, length, protocol, ttl = struct.unpack(">IHBB", packet[:8])
        length, start = length + 40, 40
        fields |= {"version": 6, "tos": word >> 20 & 255, "label": word & 0xFFFFF, "ttl": ttl}
        fields |= {"source": packet[8:24], "destination": packet[24:40]}
        extensions = []
        while protocol in (HOP_BY_HOP, ROUTING, DESTINATION) and len(packet) >= start + 8:
            end = start + (packet[start + 1] + 1) * 8
            extensions.append((protocol, packet[start + 1 : end]))
            protocol, start = packet[start], end
        fields["extensions"] = tuple(extensions)
    else:
        return None
    if not whole:
        if length > len(packet):
            return None
        packet = packet[:length]
    behind = packet[start:]
    if protocol == TCP and len(behind) >= 20:
        *ports, sequence, acknowledgement, offset, window, _, urgent = struct.unpack(">HHIIHHHH", behind[:20])
        header = (offset >> 12) * 4
        fields |= {"sequence": sequence, "acknowledgement": acknowledgement, "window": window, "urgent": urgent}
        fields |= {"reserved": offset >> 8 & 15, "flags": offset & 255, "options": behind[20:header]}
    elif protocol == UDP and len(behind) >= 8:
        ports, header = list(struct.unpack(">HH", behind[:4])), 8
    else:
        return None
    if header < 8 or (protocol == TCP and header < 20) or header > len(behind):
        return None
    return Packet(protocol=protocol, ports=tuple(ports), payload=behind[header:], **fields)  # type: ignore[arg-type]


def cut(vnet: Vnet, frame: bytes, frame_max: int) -> list[bytes]:
    """The frames of a super-frame that is in order."""
    whole = parse(frame, whole=True)
    assert whole is not None and vnet.gso_type
    step = vnet.gso_size
    if whole.protocol == TCP:
        step = min(step, frame_max - whole.headers)
    frames: list[bytes] = []
    for start in range(0, len(whole.payload) or 1, step):
        part = whole.payload[start : start + step]
        flags = whole.flags
        if start + step < len(whole.payload):
            flags &= ~(FIN | PSH)
        if start:
            flags &= ~CWR
        sequence, id_ = (whole.sequence + start) % 2**32, (whole.id + len(frames)) % 2**16
        frames.append(replace(whole, payload=part, flags=flags, sequence=sequence, id=id_).build())
    return frames


def finish(vnet: Vnet, frame: bytes) -> bytes:
    """The one frame of a packet whose checksum is left open."""
    at = vnet.csum_start + vnet.csum_offset
    check = checksum(frame[vnet.csum_start :])
    if vnet.csum_offset == 6 and not check:
        check = 0xFFFF
    return frame[:at] + check.to_bytes(2, "big") + frame[at + 2 :]


@dataclass
class Emission:
    vnet: Vnet
    frame: bytes
    segments: int = 1


@dataclass
class _Open:
    frames: list[bytes] = field(default_factory=list)  # as they came
    packets: list[Packet] = field(default_factory=list)

    def emission(self) -> Emission:
        first, last = self.packets[0], self.packets[-1]
        if len(self.packets) == 1:
            return Emission(Vnet(DATA_VALID), self.frames[0])
        payload = b"".join(packet.payload for packet in self.packets)
        merged = replace(first, payload=payload, flags=first.flags | last.flags)
        vnet, frame = merged.super_frame(len(first.payload))
        return Emission(vnet, frame, len(self.packets))

    def takes(self, packet: Packet) -> bool:
        first, last = self.packets[0], self.packets[-1]
        sequence = (last.sequence + len(last.payload)) % 2**32
        id_ = packet.id if packet.version == 6 or packet.fragment & DONT_FRAGMENT else (last.id + 1) % 2**16
        # Whatever is not named here is the same in both.
        same = replace(first, sequence=sequence, id=id_, flags=packet.flags, payload=packet.payload)
        total = first.headers - first.network + sum(len(each.payload) for each in (*self.packets, packet))
        fits = len(packet.payload) <= len(first.payload) and total <= 65535 and len(self.packets) < MERGE_PIECES
        return fits and same == packet

    @property
    def closed(self) -> bool:
        first, last = self.packets[0], self.packets[-1]
        return bool(last.flags & PSH) or len(last.payload) < len(first.payload)


def _trimmed(frame: bytes, packet: Packet) -> bytes:
    return frame[: packet.headers + len(packet.payload)]


def is_right(frame: bytes, packet: Packet) -> bool:
    """Whether its checksums are."""
    frame = _trimmed(frame, packet)
    if packet.version == 4 and internet_sum(frame[packet.network : packet.transport]) != 0xFFFF:
        return False
    return internet_sum(packet.pseudo_header() + frame[packet.transport :]) == 0xFFFF


def _may_hide_tcp(frame: bytes) -> bool:
    """Of a frame that is no plain TCP segment: whether it could be of a flow that is open."""
    at = 12
    while frame[at : at + 2] in (b"\x81\x00", b"\x88\xa8") and at < 20:
        at += 4
    kind, packet = frame[at : at + 2], frame[at + 2 :]
    if kind == b"\x08\x00":
        return len(packet) < 20 or packet[0] >> 4 != 4 or packet[9] == TCP
    if kind == b"\x86\xdd":
        return len(packet) < 40 or packet[0] >> 4 != 6 or packet[6] not in (UDP, ICMP_V6)
    return False


def merge(frames: list[bytes]) -> list[Emission]:
    """What a merger emits for the frames, flushed behind the last one."""
    out: list[Emission] = []
    opened: dict[tuple[object, ...], _Open] = {}  # in the order in which they were opened

    def close(key: tuple[object, ...]) -> None:
        if key in opened:
            out.append(opened.pop(key).emission())

    for frame in frames:
        packet = parse(frame)
        plain = packet is not None and packet.protocol == TCP and not packet.ip_options and not packet.extensions
        if packet is None or not plain or len(packet.tags) > 1 or packet.fragment & ~DONT_FRAGMENT:
            if _may_hide_tcp(frame):
                for key in list(opened):
                    close(key)
            out.append(Emission(Vnet(), frame))
            continue
        key = (packet.version, packet.source, packet.destination, packet.ports)
        right = is_right(frame, packet)
        merges = right and packet.payload and packet.flags & ~PSH == ACK and not packet.reserved
        if not merges or (key in opened and not opened[key].takes(packet)):
            close(key)
        if not merges or (key not in opened and packet.flags & PSH):
            out.append(Emission(Vnet(DATA_VALID if right else 0), frame))
            continue
        if key not in opened:
            if len(opened) == MERGE_FLOWS:
                close(next(iter(opened)))
            opened[key] = _Open()
        opened[key].frames.append(frame)
        opened[key].packets.append(packet)
        if opened[key].closed:
            close(key)
    for key in list(opened):
        close(key)
    return out


def draw_packet(draw: random.Random, *, version: int | None = None, protocol: int = TCP, size: int = 0) -> Packet:
    """Any packet that may be cut, without extension headers."""
    version = version or draw.choice((4, 6))
    address = 4 if version == 4 else 16
    tags = tuple((draw.choice((TAG, SERVICE_TAG)), draw.getrandbits(16)) for _ in range(draw.choice((0, 0, 1, 2))))
    packet = Packet(
        payload=draw.randbytes(size),
        version=version,
        protocol=protocol,
        macs=draw.randbytes(12),
        tags=tags,
        source=draw.randbytes(address),
        destination=draw.randbytes(address),
        tos=draw.getrandbits(8),
        ttl=draw.getrandbits(8),
        ports=(draw.getrandbits(16), draw.getrandbits(16)),
    )
    if version == 4:
        fragment, options = draw.choice((0, DONT_FRAGMENT)), draw.randbytes(4 * draw.choice((0, 0, 0, 1, 10)))
        packet = replace(packet, id=draw.getrandbits(16), fragment=fragment, ip_options=options)
    else:
        packet = replace(packet, label=draw.getrandbits(20))
    if protocol == UDP:
        return packet
    return replace(
        packet,
        sequence=draw.choice((draw.getrandbits(32), 2**32 - 1 - draw.randrange(70000))),
        acknowledgement=draw.getrandbits(32),
        flags=ACK | draw.choice((0, PSH, FIN, PSH | FIN, CWR, ECE, CWR | PSH)),
        window=draw.getrandbits(16),
        options=draw.randbytes(4 * draw.choice((0, 3, 10))),
    )
