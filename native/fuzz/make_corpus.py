#!/usr/bin/env python3
"""Makes the seed corpus of the fuzz targets, the same each time, with the frame builder of the tests.

native/fuzz/make_corpus.py [directory]     default: corpus/ beside this file
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "test"))

from support.inner_frames import (  # noqa: E402  the path comes first
    ACK,
    CWR,
    DESTINATION,
    ECE,
    FIN,
    HOP_BY_HOP,
    MORE_FRAGMENTS,
    NEEDS_CSUM,
    PSH,
    ROUTING,
    SERVICE_TAG,
    TAG,
    TCP,
    UDP,
    Packet,
    Vnet,
)

V4 = Packet(payload=bytes(range(90)), id=65534, sequence=2**32 - 50)
V6 = Packet(
    version=6,
    payload=bytes(range(90)),
    source=bytes.fromhex("fd00" + "00" * 13 + "01"),
    destination=bytes.fromhex("fd00" + "00" * 13 + "02"),
    sequence=2**32 - 50,
    label=0x12345,
)
TIMESTAMPS = bytes.fromhex("0101080a0000000100000002")
HOP = (HOP_BY_HOP, bytes(7))
ROUTE = (ROUTING, bytes([2, 2, 1, 0, 0, 0, 0]) + bytes(range(16)))
OPTIONS = (DESTINATION, bytes([1]) + bytes(14))


def packets() -> Iterator[tuple[str, Packet]]:
    for name, plain in (("ipv4", V4), ("ipv6", V6)):
        yield name, plain
        yield f"{name}_timestamps", replace(plain, options=TIMESTAMPS)
        yield f"{name}_tag", replace(plain, tags=((TAG, 100),))
        yield f"{name}_two_tags", replace(plain, tags=((SERVICE_TAG, 1), (TAG, 2)))
        yield f"{name}_flags", replace(plain, flags=ACK | PSH | FIN | CWR | ECE)
        yield f"{name}_udp", replace(plain, protocol=UDP)
    yield "ipv4_options", replace(V4, ip_options=bytes.fromhex("94040000"))
    yield "ipv4_may_be_fragmented", replace(V4, fragment=0)
    yield "ipv6_extensions", replace(V6, extensions=(HOP, ROUTE, OPTIONS))
    yield "ipv6_udp_extensions", replace(V6, protocol=UDP, extensions=(HOP,))


def segment_inputs() -> Iterator[tuple[str, bytes]]:
    def case(vnet: Vnet, frame: bytes, frame_max: int = 1514) -> bytes:
        return vnet.pack() + struct.pack("<H", frame_max) + frame

    for name, packet in packets():
        vnet, frame = packet.super_frame(20)
        yield f"super_{name}", case(vnet, frame)
        if packet.protocol == TCP and packet in (V4, V6):
            yield f"super_{name}_small_frames", case(vnet, frame, packet.headers + 7)
            yield f"super_{name}_no_room", case(vnet, frame, packet.headers)
            yield f"super_{name}_no_checksum", case(replace(vnet, flags=0), frame)
        if packet.protocol == UDP or packet in (V4, V6):
            yield f"open_{name}", case(Vnet(NEEDS_CSUM, 0, 0, 0, packet.transport, packet.checksum_offset), frame)
    vnet, frame = replace(V6, extensions=((HOP_BY_HOP, bytes.fromhex("00c20400011174")),)).super_frame(20)
    yield "jumbogram", case(vnet, frame[:18] + bytes(2) + frame[20:])
    yield "whole", case(Vnet(), V4.build())
    datagrams = replace(V4, protocol=UDP)
    yield "datagrams_without_checksum", case(replace(datagrams.super_frame(20)[0], flags=0), datagrams.build(0))


def stream(first: Packet, count: int = 4) -> list[Packet]:
    out = [first]
    while len(out) < count:
        last = out[-1]
        sequence, id_ = (last.sequence + len(last.payload)) % 2**32, (last.id + 1) % 2**16
        out.append(replace(last, sequence=sequence, id=id_))
    return out


def merge_inputs() -> Iterator[tuple[str, bytes]]:
    def case(frames: Sequence[Packet | bytes], flags: int = 1) -> bytes:
        raw = [frame if isinstance(frame, bytes) else frame.build() for frame in frames]
        return b"".join(struct.pack("<BH", flags, len(frame)) + frame for frame in raw)

    for name, packet in packets():
        yield f"stream_{name}", case(stream(replace(packet, payload=packet.payload[:20])))
    for name, plain in (("ipv4", replace(V4, payload=b"0123456789")), ("ipv6", replace(V6, payload=b"0123456789"))):
        row = stream(plain, 5)
        smaller, pushed = replace(row[3], payload=b"small"), replace(row[2], flags=ACK | PSH)
        yield f"smaller_{name}", case([*row[:3], smaller, row[4]])
        yield f"push_{name}", case([*row[:2], pushed, *row[3:]])
        yield f"padded_{name}", case([packet.build() + bytes(6) for packet in row])
        yield f"wrong_checksum_{name}", case([row[0], row[1], row[2].build(0x1234), row[3]], 0)
        yield f"no_payload_{name}", case([*row[:2], replace(row[2], payload=b""), row[2], row[3]])
        flows = [stream(replace(plain, ports=(port, 9)), 2) for port in range(10)]
        yield f"flows_{name}", case([packet for pair in zip(*flows, strict=True) for packet in pair])
        yield f"many_{name}", case(stream(replace(plain, payload=b"x"), 67))
    row = stream(replace(V4, payload=b"0123456789"))
    yield "fragment", case([*row[:2], replace(row[2], fragment=MORE_FRAGMENTS), row[3]])
    yield "both_versions", case([packet for pair in zip(stream(V4), stream(V6), strict=True) for packet in pair])
    yield "arp", case([*row[:2], b"\xff" * 6 + bytes(6) + b"\x08\x06" + bytes(28), row[2]])


def chunks(*parts: bytes) -> bytes:
    """Each with its length in front, as fuzz_packet.c and fuzz_request.c read them."""
    return b"".join(struct.pack("<H", len(part)) + part for part in parts)


HERE, THERE = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")  # the MAC addresses of small_engine.h
SESSION = 0x99AABBCCDDEEFF11


def packet_inputs() -> Iterator[tuple[str, bytes]]:
    def header(session: int, sequence: int, stream: int = 0) -> bytes:
        return struct.pack("<QQQ", session, sequence, stream << 62 | sequence)

    def from_there(packet: Packet) -> bytes:
        return HERE + THERE + packet.build()[12:]

    body = bytes(60)
    raw = {
        "short": b"\x10" * 53, "control": b"\1" + bytes(479), "empty": b"",
        "unknown_session": header(0x1122, 1) + body, "forged": header(SESSION, 1) + body,
        "bad_nonce": struct.pack("<QQQ", SESSION, 1, 2) + body, "stream_3": header(SESSION, 1, 3) + body,
        "last_sequence": header(SESSION, 2**56 - 1) + body, "too_long": header(SESSION, 2) + bytes(9300),
    }  # fmt: skip
    for name, packet in raw.items():
        yield f"raw_{name}", b"\0" + chunks(packet)
    row = [from_there(packet) for packet in stream(V4)]
    inner = {
        "stream_ipv4": row, "stream_ipv6": [from_there(packet) for packet in stream(V6)],
        "control": [bytes.fromhex("036f6d6e6900") + THERE + b"\x88\xb5" + bytes(20)],
        "control_with_another_type": [bytes.fromhex("036f6d6e6900") + THERE + b"\x08\0" + bytes(20)],
        "group_source": [HERE + b"\xff" * 6 + b"\x08\0"], "our_own_source": [THERE + HERE + b"\x08\0" + bytes(40)],
        "new_sources": [HERE + bytes([2, 0, 0, 1, 0, i]) + b"\x81\0\0\5\x08\0" + bytes(40) for i in range(20)],
        "no_frame": [b"short"], "tag_cut_off": [HERE + THERE + b"\x81\0\0"],
    }  # fmt: skip
    for name, frames in inner.items():
        yield f"inner_{name}", b"\1" + chunks(*frames)
    vnet, frame = V4.super_frame(20)
    to_there = THERE + HERE + frame[12:]
    port = {
        "super_frame": [vnet.pack() + to_there], "plain": [Vnet().pack() + THERE + HERE + V4.build()[12:]],
        "group": [Vnet().pack() + b"\xff" * 6 + HERE + b"\x08\6" + bytes(28)], "cut_off": [vnet.pack() + to_there[:60]],
        "unknown_destination": [vnet.pack() + bytes([2, 9, 9, 9, 9, 9]) + HERE + frame[12:]],
        "looped": [Vnet().pack() + HERE + THERE + b"\x08\0" + bytes(40)], "nothing": [Vnet().pack(), b""],
        "control_mac": [Vnet().pack() + bytes.fromhex("036f6d6e6900") + HERE + b"\x88\xb5"],
        "too_long": [Vnet().pack() + to_there[:54] + bytes(9300)],
    }  # fmt: skip
    for name, frames in port.items():
        yield f"port_{name}", b"\2" + chunks(*frames)

    group, announced = bytes.fromhex("01005e010203"), b"RTPS" + bytes(20)
    udp = replace(V4, protocol=UDP, macs=group + HERE, ports=(9, 7400), payload=announced)
    udp6 = replace(V6, protocol=UDP, macs=bytes.fromhex("3333ff000009") + HERE, ports=(9, 7650), payload=announced)
    report = replace(udp6, extensions=((HOP_BY_HOP, bytes.fromhex("00050200000000")),)).build()
    groups = {
        "group_port": [udp.build()], "group_other_port": [replace(udp, ports=(9, 5000)).build()],
        "group_elsewhere": [replace(udp, macs=bytes.fromhex("01005e010204") + HERE).build()],
        "group_options": [replace(udp, ip_options=bytes(8)).build()],
        "group_fragment": [replace(udp, fragment=7).build()],
        "group_two_tags": [replace(udp, tags=((SERVICE_TAG, 1), (TAG, 2))).build()], "group_ipv6": [udp6.build()],
        "group_mld": [report[:20] + b"\0" + report[21:54] + b"\x3a" + report[55:62] + b"\x8f" + bytes(27)],
        "group_long_hop_by_hop": [report[:55] + b"\xff" + report[56:]], "group_cut_off": [udp.build()[:41]],
        "group_igmp": [group + HERE + bytes.fromhex("0800 46000020 00000000 0102") + bytes(14) + b"\x16" + bytes(7)],
    }  # fmt: skip
    for name, frames in groups.items():
        yield f"port_{name}", b"\2" + chunks(*(Vnet().pack() + frame for frame in frames))
    vnet, frame = udp.super_frame(8)
    yield "port_group_super_frame", b"\2" + chunks(vnet.pack() + frame)


def request_inputs() -> Iterator[tuple[str, bytes]]:
    def message(kind: int, body: bytes = b"") -> bytes:
        return bytes([kind]) + body

    u32, u64 = struct.Struct("<I").pack, struct.Struct("<Q").pack
    place = bytes(10) + b"\xff\xff" + bytes([127, 0, 0, 1]) + u32(0) + b"\xca\x6c" + bytes(2)
    session = u32(3) + u32(0) + u64(5) + u64(6) + u64(2**63) + bytes(range(64))
    frame = THERE + HERE + b"\x08\0" + bytes(50)
    entry = bytes.fromhex("01005e010203") + b"\x40\x1f" + u32(3) + u32(1) + u32(2) + u32(9)
    elsewhere = bytes(8) + u32(1) + u32(2)
    messages = {
        "configure": message(2, u64(10**9) + u32(4) + u32(8)), "forward": message(3, u32(1) + u32(0)),
        "add": message(4, session), "use": message(5, u64(6)), "remove": message(6, u64(SESSION)),
        "set_peer": message(7, u32(3) + u32(1500) + place + u32(0xFFFFFFFF) + u32(0)),
        "remove_peer": message(8, u32(1) + u32(0)), "flood": message(9, u32(1) + u32(3)),
        "pin": message(10, bytes([2, 0, 0, 0, 0, 9]) + b"\xff\xff" + u32(3) + u32(0)),
        "unpin": message(11, THERE + b"\xff\xff" + u32(1) + u32(0)),
        "remember": message(12, u64(SESSION) + u32(4) + u32(0) + b"note" + bytes(508)),
        "stats": message(13, u64(SESSION)), "sessions": message(14, bytes(8)), "fdb": message(15, bytes(8)),
        "counters": message(16), "retain": message(17, u32(1) + u32(1) + u64(SESSION) + u32(1)), "stop": message(18),
        "seal": message(32, u32(1) + u32(0) + frame), "port_frame": message(33, frame),
        "groups": message(19, u64(2**63) + u32(1) + u32(0) + entry + elsewhere + entry),
        "groups_more": message(19, u64(2**63) + u32(2) + u32(0) + entry), "groups_none": message(19, bytes(16)),
        "groups_same": message(19, u64(1) + u32(4) + u32(0)), "groups_cut": message(19, u64(1) + bytes(8) + entry[:-1]),
        "groups_of_everyone": message(19, u64(2**63) + bytes(8) + entry[:8] + b"\xff" * 4 + bytes(40)),
        "to_port": message(35, frame), "to_port_short": message(35, frame[:13]),
        "datagram": message(34, place + u64(SESSION) + bytes(60)), "nothing": b"", "unknown": message(31, bytes(9)),
    }  # fmt: skip
    for name, one in messages.items():
        yield name, chunks(one)
    yield "all", chunks(*messages.values())
    yield "twice", chunks(messages["add"], messages["add"], messages["use"], messages["remove_peer"], messages["add"])


def corpus() -> dict[str, bytes]:
    """Path below the corpus' directory -> content"""
    inputs = {f"segment/{name}": data for name, data in segment_inputs()}
    inputs |= {f"merge/{name}": data for name, data in merge_inputs()}
    inputs |= {f"packet/{name}": data for name, data in packet_inputs()}
    return inputs | {f"request/{name}": data for name, data in request_inputs()}


def main() -> None:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "corpus"
    for name, data in corpus().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main()
