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


def corpus() -> dict[str, bytes]:
    """Path below the corpus' directory -> content"""
    inputs = {f"segment/{name}": data for name, data in segment_inputs()}
    return inputs | {f"merge/{name}": data for name, data in merge_inputs()}


def main() -> None:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "corpus"
    for name, data in corpus().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


if __name__ == "__main__":
    main()
