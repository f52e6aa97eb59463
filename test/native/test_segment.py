"""The cutter: from what a TAP gives to frames for the wire, against a naive one and against literal bytes."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from support.inner_frames import (
    ACK,
    CWR,
    DESTINATION,
    ECE,
    FIN,
    GSO_ECN,
    GSO_TCPV4,
    GSO_TCPV6,
    GSO_UDP_L4,
    GSO_UFO,
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
    checksum,
    cut,
    draw_packet,
    finish,
    internet_sum,
    is_right,
    parse,
)
from support.native_frames import NativeFrames

HERE_6, THERE_6 = bytes.fromhex("fd00" + "00" * 13 + "01"), bytes.fromhex("fd00" + "00" * 13 + "02")
ANY_SIZE = 1 << 20  # a frame_max that limits nothing
V6 = Packet(version=6, source=HERE_6, destination=THERE_6)


def cut_right(native: NativeFrames, vnet: Vnet, frame: bytes, frame_max: int = ANY_SIZE, shift: int = 0) -> list[bytes]:
    """Frames of a super-frame, when they are what the naive cutter makes."""
    result = native.cut(vnet, frame, frame_max, shift=shift)
    assert result is not None
    expected = cut(vnet, frame, frame_max)
    assert [each.hex() for each in result.frames] == [each.hex() for each in expected]
    assert result.frame_bytes == max(len(each) for each in expected)
    return result.frames


# --- literal bytes ---


def test_golden_tcp_over_ipv4(native: NativeFrames) -> None:
    """10 bytes in segments of 4: a tag, timestamps; CWR on the first, PSH and FIN on the last; id and sequence wrap."""
    ethernet, addresses, options = (
        "020000000002 020000000001 8100 0064 0800",
        "0a000001 0a000002",
        "0101080a0000000100000002",
    )
    frame = bytes.fromhex(
        f"{ethernet} 4502003e ffff4000 400626b6 {addresses}"
        f"04d20050 fffffffc 01020304 80990200 14330000 {options} 6162636465666768696a"
    )
    result = native.cut(Vnet(NEEDS_CSUM, GSO_TCPV4 | GSO_ECN, 0, 4, 38, 16), frame, 1518)
    assert result is not None and result.frame_bytes == 74
    assert result.frames == [
        bytes.fromhex(
            f"{ethernet} 45020038 ffff4000 400626bc {addresses}"
            f"04d20050 fffffffc 01020304 80900200 92480000 {options} 61626364"
        ),
        bytes.fromhex(
            f"{ethernet} 45020038 00004000 400626bc {addresses}"
            f"04d20050 00000000 01020304 80100200 8abd0000 {options} 65666768"
        ),
        bytes.fromhex(
            f"{ethernet} 45020036 00014000 400626bd {addresses}"
            f"04d20050 00000004 01020304 80190200 ee160000 {options} 696a"
        ),
    ]


def test_golden_tcp_over_ipv6(native: NativeFrames) -> None:
    """7 bytes in segments of 4: traffic class and flow label, PSH on the last."""
    ethernet, addresses = "020000000002 020000000001 86dd", HERE_6.hex() + THERE_6.hex()
    frame = bytes.fromhex(
        f"{ethernet} 6b812345 001b0640 {addresses} 01bbc350 00000010 00000020 5018ffff fa250000 41424344454647"
    )
    result = native.cut(Vnet(NEEDS_CSUM, GSO_TCPV6, 74, 4, 54, 16), frame, 1514)
    assert result is not None and result.frame_bytes == 78
    assert result.frames == [
        bytes.fromhex(
            f"{ethernet} 6b812345 00180640 {addresses} 01bbc350 00000010 00000020 5010ffff 6c0a0000 41424344"
        ),
        bytes.fromhex(f"{ethernet} 6b812345 00170640 {addresses} 01bbc350 00000014 00000020 5018ffff 643f0000 454647"),
    ]


# --- one frame ---


def test_a_frame_that_asks_for_nothing_is_copied(native: NativeFrames, seed: int) -> None:
    draw = random.Random(seed)
    for length in (14, 15, 60, 1514, 9014, 65550, 70000):
        frame = draw.randbytes(length)
        for vnet in (Vnet(), Vnet(hdr_len=9999, gso_size=77, csum_start=3, csum_offset=1), Vnet(flags=2)):
            assert native.cut(vnet, frame, 1514) == (length, [frame])


def test_less_than_an_ethernet_header_is_refused(native: NativeFrames) -> None:
    for length in range(14):
        assert native.cut(Vnet(), bytes(length), 1514) is None


@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("version", [4, 6])
def test_open_checksum_is_finished(native: NativeFrames, seed: int, version: int, protocol: int) -> None:
    draw = random.Random(seed)
    for size in (*range(140), 1400, 1401, 8999, 65000):
        packet = draw_packet(draw, version=version, protocol=protocol, size=size)
        vnet = Vnet(NEEDS_CSUM, 0, 0, 0, packet.transport, packet.checksum_offset)
        frame = packet.build_open()
        result = native.cut(vnet, frame, 1514, shift=size % 8)
        assert result == (len(frame), [packet.build()])
        assert result.frames[0] == finish(vnet, frame)
        padded = frame + bytes(60 - min(len(frame), 60))
        assert native.cut(vnet, padded, 1514) == (len(padded), [packet.build() + padded[len(frame) :]])


@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_open_checksum_that_comes_out_as_zero(native: NativeFrames, protocol: int) -> None:
    """In UDP 0 means that there is none, so it is sent as 0xffff."""
    packet = Packet(protocol=protocol, payload=b"\0\0")
    packet = replace(packet, payload=checksum(packet.pseudo_header() + packet.transport_header(0)).to_bytes(2, "big"))
    vnet = Vnet(NEEDS_CSUM, 0, 0, 0, packet.transport, packet.checksum_offset)
    result = native.cut(vnet, packet.build_open(), 1514)
    assert result is not None
    at = packet.transport + packet.checksum_offset
    assert result.frames[0][at : at + 2] == (b"\xff\xff" if protocol == UDP else b"\0\0")
    # The same as datagram or segment of a super-frame.
    super_frame = replace(packet, payload=packet.payload * 2).super_frame(2)
    assert packet.build() in cut_right(native, *super_frame) or protocol == TCP
    assert cut_right(native, *super_frame)[0][at : at + 2] == (b"\xff\xff" if protocol == UDP else b"\0\0")


def test_a_checksum_that_was_begun_wrong_stays_wrong(native: NativeFrames, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(50):
        packet = draw_packet(draw, size=draw.randrange(200))
        right = internet_sum(packet.pseudo_header())
        frame = packet.build((right + draw.randrange(1, 65535)) % 65536)
        if internet_sum(frame[packet.transport + 16 : packet.transport + 18]) == right:
            continue  # 0 and 0xffff are the same
        result = native.cut(Vnet(NEEDS_CSUM, 0, 0, 0, packet.transport, 16), frame, 1514)
        assert result is not None and not is_right(result.frames[0], packet)


def test_open_checksum_anywhere_in_the_frame(native: NativeFrames) -> None:
    """As far as the checksum lies inside; what header it is of is not looked at (ICMPv6, SCTP in UDP, ...)."""
    frame = bytes(range(64))
    for start in range(66):
        for offset in (0, 2, 6, 16, 65535):
            vnet = Vnet(NEEDS_CSUM, 0, 0, 0, start, offset)
            result = native.cut(vnet, frame, 1514)
            if start + offset + 2 > len(frame):
                assert result is None
            else:
                assert result == (64, [finish(vnet, frame)])


# --- super-frames ---

SIZES = [*range(1, 40), 63, 64, 65, 127, 128, 129, 1365, 1366, 1367, 2731, 2732, 2733, 9000, 32767, 32768, 65000]
SIZES += [65440, 65483, 65495, 65535, 65536, 69999, 70000]


@pytest.mark.parametrize("protocol", [TCP, UDP])
@pytest.mark.parametrize("version", [4, 6])
def test_every_size(native: NativeFrames, seed: int, version: int, protocol: int) -> None:
    draw = random.Random(seed)
    for size in SIZES:
        for gso_size in {1 if size < 200 else 536, draw.randint(1, 1400) if size < 3000 else 1366, size // 2 or 1}:
            packet = draw_packet(draw, version=version, protocol=protocol, size=size)
            vnet, frame = packet.super_frame(gso_size, hdr_len=draw.getrandbits(16))
            frames = cut_right(native, vnet, frame, shift=draw.randrange(8))
            assert len(frames) == -(-size // gso_size)


def test_without_wide_vectors(seed: int, tmp_path: Path) -> None:
    """The checksum for processors that have no AVX2."""
    portable, draw = NativeFrames(tmp_path, ["-DCHECKSUM_PORTABLE"]), random.Random(seed)
    for size in SIZES:
        packet = draw_packet(draw, size=size)
        cut_right(portable, *packet.super_frame(min(size, 1 + draw.randrange(1400) + size // 64)), shift=size % 8)
    portable.close()


def test_random_super_frames(native: NativeFrames, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(300):
        protocol = draw.choice((TCP, TCP, UDP))
        packet = draw_packet(draw, protocol=protocol, size=draw.choice((draw.randrange(20), draw.randrange(20000))))
        vnet, frame = packet.super_frame(draw.randint(1 if len(packet.payload) < 500 else 200, 1500))
        frame_max = draw.choice((ANY_SIZE, 1518, packet.headers + draw.randint(100, 1400)))
        frames = cut_right(native, vnet, frame, frame_max, draw.randrange(8))
        if protocol == TCP:
            assert max(map(len, frames)) <= frame_max
        for each in frames:
            part = parse(each)
            assert part is not None and is_right(each, part)


def test_segments_are_smaller_where_they_would_not_fit(native: NativeFrames) -> None:
    packet = Packet(payload=bytes(1000), options=bytes(12))
    vnet, frame = packet.super_frame(300)
    for room in (1, 2, 99, 299, 300, 301):
        frames = cut_right(native, vnet, frame, packet.headers + room)
        assert len(frames[0]) == packet.headers + min(room, 300)
    assert native.cut(vnet, frame, packet.headers) is None
    assert native.cut(vnet, frame, 14) is None
    assert native.cut(vnet, frame, 0) is None


def test_datagrams_keep_their_size(native: NativeFrames) -> None:
    vnet, frame = Packet(protocol=UDP, payload=bytes(3000)).super_frame(1400)
    assert [len(each) for each in cut_right(native, vnet, frame, 500)] == [1442, 1442, 242]


def test_datagrams_without_checksum_get_none(native: NativeFrames) -> None:
    packet = Packet(protocol=UDP, payload=bytes(range(100)))
    vnet, _ = packet.super_frame(40, flags=0)
    result = native.cut(vnet, packet.build(0), ANY_SIZE)
    assert result is not None
    parts = (packet.payload[:40], packet.payload[40:80], packet.payload[80:])
    expected = [replace(packet, payload=part, id=i).build(0) for i, part in enumerate(parts)]
    assert result.frames == expected


def test_flags_of_first_and_last_segment(native: NativeFrames) -> None:
    vnet, frame = Packet(payload=bytes(50), flags=ACK | PSH | FIN | CWR | ECE).super_frame(10)
    flags = [part.flags for part in map(parse, cut_right(native, vnet, frame)) if part]
    assert flags == [ACK | CWR | ECE, *3 * [ACK | ECE], ACK | PSH | FIN | ECE]
    vnet, frame = Packet(payload=bytes(10), flags=ACK | PSH | FIN | CWR).super_frame(10)
    (only,) = cut_right(native, vnet, frame)
    assert parse(only) == Packet(payload=bytes(10), flags=ACK | PSH | FIN | CWR)


@pytest.mark.parametrize("tags", [((TAG, 5),), ((SERVICE_TAG, 7), (TAG, 0x2005))], ids=["one tag", "two tags"])
@pytest.mark.parametrize("version", [4, 6])
def test_tags_are_in_every_segment(native: NativeFrames, version: int, tags: tuple[tuple[int, int], ...]) -> None:
    packet = replace(Packet() if version == 4 else V6, payload=bytes(range(200)), tags=tags)
    vnet, frame = packet.super_frame(64)
    assert vnet.csum_start == 14 + 4 * len(tags) + (20 if version == 4 else 40)
    assert all(each[:12] == packet.macs and each[12:14] == frame[12:14] for each in cut_right(native, vnet, frame))


def test_extension_headers(native: NativeFrames) -> None:
    """They count in the payload length. A routing header has the address that the checksum is made with."""
    hop_by_hop, destination = (HOP_BY_HOP, bytes([0]) + bytes(6)), (DESTINATION, bytes([2]) + bytes(22))
    routing = (ROUTING, bytes([2, 2, 1, 0, 0, 0, 0]) + bytes(range(16)))
    for protocol in (TCP, UDP):
        for extensions in [(hop_by_hop,), (destination,), (routing,), (hop_by_hop, routing, destination)]:
            packet = replace(V6, protocol=protocol, payload=bytes(range(250)), extensions=extensions)
            vnet, frame = packet.super_frame(100)
            frames = cut_right(native, vnet, frame)
            assert [each[18:20] for each in frames[:1]] == [(packet.headers - 54 + 100).to_bytes(2, "big")]
            assert native.cut(replace(vnet, flags=0), frame, ANY_SIZE) is None  # the checksum's begin is needed
            assert native.cut(replace(vnet, csum_start=54), frame, ANY_SIZE) is None


def test_lengths_in_the_headers_do_not_count(native: NativeFrames) -> None:
    """BIG TCP leaves 0 in the IP header, or what is left of a number that does not fit."""
    for packet in (Packet(payload=bytes(5000)), replace(V6, payload=bytes(5000)), Packet(payload=bytes(70000))):
        vnet, frame = packet.super_frame(1366)
        at = 16 if packet.version == 4 else 18
        for length in (b"\0\0", b"\0\x30", b"\xff\xff"):
            cut_right(native, vnet, frame[:at] + length + frame[at + 2 :])


def test_checksum_without_a_begin_is_made_from_nothing(native: NativeFrames, seed: int) -> None:
    """What came as a super-frame without an open checksum, as GSO does it in the kernel."""
    packet = replace(draw_packet(random.Random(seed), size=3000))
    vnet, frame = packet.super_frame(1000, flags=0, csum_start=0, csum_offset=0)
    cut_right(native, vnet, frame)


# --- contradictions ---

TCP_4, TCP_6, UDP_4 = (
    Packet(payload=bytes(300)),
    replace(V6, payload=bytes(300)),
    Packet(protocol=UDP, payload=bytes(300)),
)
WRONG_VNET: dict[str, tuple[Packet, dict[str, int]]] = {
    "no size": (TCP_4, {"gso_size": 0}),
    "no size of datagrams": (UDP_4, {"gso_size": 0}),
    "IPv4 said to be IPv6": (TCP_4, {"gso_type": GSO_TCPV6}),
    "IPv6 said to be IPv4": (TCP_6, {"gso_type": GSO_TCPV4}),
    "TCP said to be UDP": (TCP_4, {"gso_type": GSO_UDP_L4, "csum_offset": 6}),
    "UDP said to be TCP": (UDP_4, {"gso_type": GSO_TCPV4, "csum_offset": 16}),
    "UFO": (UDP_4, {"gso_type": GSO_UFO}),
    "UDP with ECN": (UDP_4, {"gso_type": GSO_UDP_L4 | GSO_ECN}),
    "only ECN": (TCP_4, {"gso_type": GSO_ECN}),
    "type 2": (TCP_4, {"gso_type": 2}),
    "tunnel": (TCP_4, {"gso_type": GSO_TCPV4 | 0x20}),
    "checksum starts early": (TCP_4, {"csum_start": 32}),
    "checksum starts late": (TCP_6, {"csum_start": 56}),
    "checksum starts behind the frame": (TCP_6, {"csum_start": 60000}),
    "checksum elsewhere": (TCP_4, {"csum_offset": 6}),
    "checksum of UDP elsewhere": (UDP_4, {"csum_offset": 16}),
}


@pytest.mark.parametrize("what", WRONG_VNET)
def test_contradicting_vnet_header(native: NativeFrames, what: str) -> None:
    packet, changes = WRONG_VNET[what]
    vnet, frame = packet.super_frame(100)
    assert native.cut(vnet, frame, ANY_SIZE)
    assert native.cut(replace(vnet, **changes), frame, ANY_SIZE) is None


def changed(frame: bytes, at: int, value: int) -> bytes:
    return frame[:at] + bytes([value]) + frame[at + 1 :]


WRONG_FRAME: dict[str, tuple[Packet, int, int]] = {  # packet, offset, value
    "EtherType": (TCP_4, 13, 0x06),
    "IP version": (TCP_4, 14, 0x65),
    "IP version 6": (TCP_6, 14, 0x45),
    "IP header too short": (TCP_4, 14, 0x44),
    "IP header longer": (TCP_4, 14, 0x46),
    "protocol": (TCP_4, 23, UDP),
    "next header": (TCP_6, 20, UDP),
    "next header is an extension": (TCP_6, 20, HOP_BY_HOP),
    "next header is a fragment": (TCP_6, 20, 44),
    "fragment offset": (TCP_4, 21, 1),
    "more fragments": (TCP_4, 20, MORE_FRAGMENTS >> 8),
    "TCP header too short": (TCP_4, 46, 0x40),
}


@pytest.mark.parametrize("what", WRONG_FRAME)
def test_contradicting_frame(native: NativeFrames, what: str) -> None:
    packet, at, value = WRONG_FRAME[what]
    vnet, frame = packet.super_frame(100)
    assert native.cut(vnet, changed(frame, at, value), ANY_SIZE) is None
    assert native.cut(replace(vnet, flags=0), changed(frame, at, value), ANY_SIZE) is None or "IP header longer" in what


def test_a_jumbogram_is_refused(native: NativeFrames) -> None:
    jumbo = replace(V6, payload=bytes(70000), extensions=((HOP_BY_HOP, bytes.fromhex("00c20400011174")),))
    vnet, frame = jumbo.super_frame(1000)
    assert native.cut(vnet, frame[:18] + b"\0\0" + frame[20:], ANY_SIZE) is None


def test_segments_are_no_longer_than_ip_allows(native: NativeFrames) -> None:
    for packet, headers in ((TCP_4, 40), (TCP_6, 20)):
        vnet, frame = replace(packet, payload=bytes(65535)).super_frame(65535)
        result = native.cut(vnet, frame, ANY_SIZE)
        assert result is not None
        assert [len(each) - packet.headers for each in result.frames] == [65535 - headers, headers]


@pytest.mark.parametrize("udp", [UDP_4, replace(V6, protocol=UDP)], ids=["IPv4", "IPv6"])
def test_the_longest_datagram(native: NativeFrames, udp: Packet) -> None:
    longest = 65535 - 8 - (20 if udp.version == 4 else 0)
    vnet, frame = replace(udp, payload=bytes(longest)).super_frame(65535)
    assert len(cut_right(native, vnet, frame)) == 1
    vnet, frame = replace(udp, payload=bytes(longest + 1)).super_frame(65535)
    assert native.cut(vnet, frame, ANY_SIZE) is None


def test_headers_are_limited(native: NativeFrames) -> None:
    """To 256 bytes: 14, 40, 20 and extension headers of whole 8 bytes."""
    for length, accepted in ((176, True), (184, False)):
        options = (DESTINATION, bytes([length // 8 - 1]) + bytes(length - 2))
        packet = replace(V6, payload=bytes(100), extensions=(options,), options=bytes(4))
        assert packet.headers == 78 + length
        vnet, frame = packet.super_frame(50)
        assert (native.cut(vnet, frame, ANY_SIZE) is not None) == accepted


@pytest.mark.parametrize("packet", [TCP_4, TCP_6, UDP_4, replace(TCP_6, tags=((TAG, 1), (TAG, 2)))])
def test_truncated_super_frames(native: NativeFrames, packet: Packet) -> None:
    """Headers that are not all there are refused; fewer bytes of payload are just that."""
    vnet, frame = packet.super_frame(100)
    for length in range(len(frame)):
        for flags in (NEEDS_CSUM, 0):
            result = native.cut(replace(vnet, flags=flags), frame[:length], ANY_SIZE)
            assert (result is None) == (length < packet.headers)


def test_random_bytes_do_no_harm(native: NativeFrames, seed: int) -> None:
    """The sanitizers look on. Whatever is accepted gives as many frames as were announced, none longer."""
    draw = random.Random(seed)
    for _ in range(2000):
        packet = draw_packet(draw, protocol=draw.choice((TCP, UDP)), size=draw.randrange(300))
        vnet, frame = packet.super_frame(draw.randrange(120), gso_type=draw.choice((0, 1, 3, 4, 5, 0x81, 0x84)))
        data = bytearray(vnet.pack() + frame)
        for _ in range(draw.randrange(4)):
            data[draw.randrange(min(len(data), 80))] = draw.getrandbits(8)
        data = data[: draw.choice((len(data), draw.randrange(10, len(data) + 1)))]
        result = native.cut(Vnet.unpack(bytes(data[:10])), bytes(data[10:]), draw.choice((60, 100, 1514)))
        if result is not None:
            assert all(0 < len(each) <= result.frame_bytes for each in result.frames)
