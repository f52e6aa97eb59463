"""The merger: from frames to super-frames, against a naive one, literal bytes and the cutter's reverse."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from support.inner_frames import (
    ACK,
    CWR,
    DATA_VALID,
    DESTINATION,
    ECE,
    FIN,
    GSO_TCPV4,
    GSO_TCPV6,
    HOP_BY_HOP,
    ICMP_V6,
    MERGE_FLOWS,
    MERGE_PIECES,
    MORE_FRAGMENTS,
    NEEDS_CSUM,
    PSH,
    RST,
    SERVICE_TAG,
    SYN,
    TAG,
    UDP,
    URG,
    Emission,
    Packet,
    Vnet,
    draw_packet,
    is_right,
    merge,
    parse,
)
from support.native_frames import NativeFrames

HERE_6, THERE_6 = bytes.fromhex("fd00" + "00" * 13 + "01"), bytes.fromhex("fd00" + "00" * 13 + "02")
V4 = Packet(payload=b"4" * 100, sequence=5000, id=77)
V6 = Packet(version=6, payload=b"6" * 100, source=HERE_6, destination=THERE_6, sequence=7000)
BOTH = pytest.mark.parametrize("first", [V4, V6], ids=["IPv4", "IPv6"])


def next_one(packet: Packet, **changes: object) -> Packet:
    """The segment behind it in its flow."""
    sequence, id_ = (packet.sequence + len(packet.payload)) % 2**32, (packet.id + 1) % 2**16
    return replace(packet, sequence=sequence, id=id_, **changes)  # type: ignore[arg-type]


def stream(first: Packet, count: int) -> list[Packet]:
    packets = [first]
    while len(packets) < count:
        packets.append(next_one(packets[-1], payload=bytes([len(packets)]) * len(first.payload)))
    return packets


def merge_right(native: NativeFrames, frames: Sequence[bytes], shift: int = 0) -> list[Emission]:
    """Emissions, when they are what the naive merger makes."""
    frames = list(frames)
    result, expected = native.merge(frames, shift=shift), merge(frames)
    assert [(e.vnet, e.segments, e.frame.hex()) for e in result] == [
        (e.vnet, e.segments, e.frame.hex()) for e in expected
    ]
    assert sum(emission.segments for emission in result) == len(frames)
    return result


def shape(native: NativeFrames, packets: Sequence[Packet | bytes]) -> list[int]:
    """How many frames went into each emission."""
    frames = [packet if isinstance(packet, bytes) else packet.build() for packet in packets]
    return [emission.segments for emission in merge_right(native, frames)]


# --- literal bytes ---


def test_golden_tcp_over_ipv4(native: NativeFrames) -> None:
    """Two segments with a tag and timestamps. The checksum field is left as the sum of the pseudo-header."""
    ethernet, addresses, options = (
        "020000000002020000000001 8100 0064 0800",
        "0a0000010a000002",
        "0101080a0000000100000002",
    )
    frames = [
        f"{ethernet} 45020038 00004000 400626bc {addresses}"
        f"04d20050 00000000 01020304 80100200 8abd0000 {options} 65666768",
        f"{ethernet} 45020036 00014000 400626bd {addresses}04d20050 00000004 01020304 80180200 ee170000 {options} 696a",
    ]
    (emission,) = native.merge([bytes.fromhex(frame) for frame in frames])
    assert emission.vnet == Vnet(NEEDS_CSUM, GSO_TCPV4, 70, 4, 38, 16)
    assert emission.segments == 2
    assert emission.frame == bytes.fromhex(
        f"{ethernet} 4502003a 00004000 400626ba {addresses} 04d20050 00000000 01020304 80180200 142f0000 {options}"
        "65666768 696a"
    )


def test_golden_tcp_over_ipv6(native: NativeFrames) -> None:
    ethernet, addresses = "020000000002020000000001 86dd", HERE_6.hex() + THERE_6.hex()
    frames = [
        f"{ethernet} 6b812345 00180640 {addresses} 01bbc350 00000010 00000020 5010ffff 6c0a0000 41424344",
        f"{ethernet} 6b812345 00170640 {addresses} 01bbc350 00000014 00000020 5018ffff 643f0000 454647",
    ]
    (emission,) = native.merge([bytes.fromhex(frame) for frame in frames])
    assert emission.vnet == Vnet(NEEDS_CSUM, GSO_TCPV6, 74, 4, 54, 16)
    assert emission.segments == 2
    assert emission.frame == bytes.fromhex(
        f"{ethernet} 6b812345 001b0640 {addresses} 01bbc350 00000010 00000020 5018ffff fa250000 41424344454647"
    )


# --- what is merged ---


@BOTH
def test_segments_in_a_row_become_one(native: NativeFrames, first: Packet) -> None:
    for count in (2, 3, 46, MERGE_PIECES):
        (emission,) = merge_right(native, [packet.build() for packet in stream(first, count)])
        assert emission.segments == count and emission.vnet.gso_size == 100


@BOTH
def test_one_segment_stays_as_it_is(native: NativeFrames, first: Packet) -> None:
    assert merge_right(native, [first.build()]) == [Emission(Vnet(DATA_VALID), first.build())]


@BOTH
def test_pieces_are_limited(native: NativeFrames, first: Packet) -> None:
    assert shape(native, stream(first, 2 * MERGE_PIECES + 5)) == [MERGE_PIECES, MERGE_PIECES, 5]


@BOTH
def test_the_ip_packet_is_limited(native: NativeFrames, first: Packet) -> None:
    """To 65535 bytes, which headers of 40 or 60 bytes and 5 payloads can have exactly."""
    exact = (65535 - (first.headers - first.network)) // 5
    assert shape(native, stream(replace(first, payload=bytes(exact)), 6)) == [5, 1]
    assert shape(native, stream(replace(first, payload=bytes(exact + 1)), 6)) == [4, 2]
    one_too_many, count = (8187, 8) if first.version == 4 else (16369, 4)
    assert shape(native, stream(replace(first, payload=bytes(one_too_many)), count)) == [count - 1, 1]


@BOTH
def test_sequence_and_id_wrap(native: NativeFrames, first: Packet) -> None:
    assert shape(native, stream(replace(first, sequence=2**32 - 150, id=65534, fragment=0), 5)) == [5]


@BOTH
def test_a_smaller_one_closes(native: NativeFrames, first: Packet) -> None:
    packets = stream(first, 3)
    packets.append(next_one(packets[-1], payload=b"small"))
    packets.append(next_one(packets[-1], payload=b"s"))
    packets.append(next_one(packets[-1], payload=b"l"))
    assert shape(native, packets) == [4, 2]


@BOTH
def test_a_larger_one_begins_anew(native: NativeFrames, first: Packet) -> None:
    larger = next_one(next_one(first), payload=bytes(101))
    assert shape(native, [first, next_one(first), larger, next_one(larger)]) == [2, 2]


@BOTH
def test_push_closes(native: NativeFrames, first: Packet) -> None:
    packets = stream(first, 7)
    packets[0] = replace(packets[0], flags=ACK | PSH)
    packets[3] = replace(packets[3], flags=ACK | PSH)
    emissions = merge_right(native, [packet.build() for packet in packets])
    assert [emission.segments for emission in emissions] == [1, 3, 3]
    merged = parse(emissions[1].frame)
    assert merged is not None and merged.flags == ACK | PSH


def test_id_counts_only_where_fragments_are_allowed(native: NativeFrames) -> None:
    for fragment, expected in ((0, [1, 1]), (0x4000, [2])):
        first = replace(V4, fragment=fragment)
        for id_ in (first.id, first.id + 2, 0):
            assert shape(native, [first, replace(next_one(first), id=id_)]) == expected


@BOTH
@pytest.mark.parametrize("tag", [TAG, SERVICE_TAG])
def test_one_tag_is_merged_two_are_not(native: NativeFrames, first: Packet, tag: int) -> None:
    assert shape(native, stream(replace(first, tags=((tag, 5),)), 3)) == [3]
    emissions = merge_right(native, [p.build() for p in stream(replace(first, tags=((tag, 5), (TAG, 6))), 3)])
    assert [emission.vnet for emission in emissions] == [Vnet()] * 3


# --- what is not: it leaves behind what was open of its flow ---

NOT_THE_SAME: dict[str, Callable[[Packet], Packet]] = {
    "source MAC": lambda p: replace(p, macs=p.macs[:11] + b"\x77"),
    "destination MAC": lambda p: replace(p, macs=b"\x02" + b"\x77" * 5 + p.macs[6:]),
    "tag": lambda p: replace(p, tags=((TAG, 9),)),
    "traffic class": lambda p: replace(p, tos=1),
    "hop limit": lambda p: replace(p, ttl=63),
    "flow label": lambda p: replace(p, label=1) if p.version == 6 else replace(p, fragment=0),
    "acknowledgement": lambda p: replace(p, acknowledgement=1),
    "window": lambda p: replace(p, window=1001),
    "urgent pointer": lambda p: replace(p, urgent=1),
    "options": lambda p: replace(p, options=bytes.fromhex("0101080a0000000100000002")),
    "gap": lambda p: replace(p, sequence=p.sequence + 1),
    "again": lambda p: replace(p, sequence=p.sequence - 100),
    "larger": lambda p: replace(p, payload=p.payload + b"+"),
}


@BOTH
@pytest.mark.parametrize("what", NOT_THE_SAME)
def test_what_differs_begins_a_super_frame_of_its_own(native: NativeFrames, first: Packet, what: str) -> None:
    second = next_one(first)
    other = NOT_THE_SAME[what](next_one(second))
    frames = [packet.build() for packet in (first, second, other, next_one(other))]
    emissions = merge_right(native, frames)
    assert [emission.segments for emission in emissions] == [2, 2]


@BOTH
def test_options_differ_in_content_only(native: NativeFrames, first: Packet) -> None:
    options = bytes.fromhex("0101080a00000001000000")
    first = replace(first, options=options + b"\1")
    assert shape(native, [first, next_one(first), next_one(next_one(first), options=options + b"\2")]) == [2, 1]


@BOTH
@pytest.mark.parametrize("flags", [0, ACK | FIN, ACK | RST, SYN, ACK | SYN, ACK | URG, ACK | ECE, ACK | CWR, PSH])
def test_other_flags_are_alone(native: NativeFrames, first: Packet, flags: int) -> None:
    packets = stream(first, 5)
    packets[2] = replace(packets[2], flags=flags)
    emissions = merge_right(native, [packet.build() for packet in packets])
    assert [emission.segments for emission in emissions] == [2, 1, 2]
    assert emissions[1].vnet == Vnet(DATA_VALID)


@BOTH
def test_reserved_bits_and_no_payload_are_alone(native: NativeFrames, first: Packet) -> None:
    second = next_one(first)
    for other in (next_one(second, reserved=1), next_one(second, payload=b"")):
        assert shape(native, [first, second, other, next_one(other, reserved=0, payload=first.payload)]) == [2, 1, 1]


@BOTH
@pytest.mark.parametrize("where", ["payload", "checksum", "port", "address"])
def test_a_wrong_checksum_is_passed_on_untouched(native: NativeFrames, first: Packet, where: str) -> None:
    packets = stream(first, 5)
    bad = bytearray(packets[2].build())
    bad[{"payload": -1, "checksum": first.transport + 16, "port": first.transport, "address": 27}[where]] ^= 0x10
    frames = [packet.build() for packet in packets]
    frames[2] = bytes(bad)
    emissions = merge_right(native, frames)
    assert Emission(Vnet(), bytes(bad)) in emissions
    assert sorted(emission.segments for emission in emissions) == [1, 2, 2]
    if where in ("payload", "checksum"):
        assert [emission.segments for emission in emissions] == [2, 1, 2]


def test_a_wrong_ip_checksum_is_passed_on_untouched(native: NativeFrames) -> None:
    packets = [packet.build() for packet in stream(V4, 5)]
    packets[2] = packets[2][:24] + bytes([packets[2][24] ^ 1]) + packets[2][25:]
    emissions = merge_right(native, packets)
    assert [emission.segments for emission in emissions] == [2, 1, 2]
    assert emissions[1] == Emission(Vnet(), packets[2])


@BOTH
def test_what_may_hide_tcp_leaves_behind_everything(native: NativeFrames, first: Packet) -> None:
    obscure = [
        replace(first, tags=((TAG, 1), (TAG, 2))),
        first.build()[:50],
        first.build()[:30],
        bytes.fromhex("020000000002020000000001 0800"),
    ]
    if first.version == 4:
        obscure += [
            replace(first, fragment=MORE_FRAGMENTS),
            replace(first, fragment=3),
            replace(first, fragment=0x8000),
        ]
        obscure += [replace(first, ip_options=bytes(4))]
    else:
        obscure += [replace(first, extensions=((number, bytes(7)),)) for number in (HOP_BY_HOP, DESTINATION, 44, 51)]
    for frame in obscure:
        packets = stream(first, 3)
        assert shape(native, [*packets[:2], frame, packets[2]]) == [2, 1, 1]


@BOTH
def test_what_is_no_tcp_does_not_wait(native: NativeFrames, first: Packet) -> None:
    others = [
        replace(first, protocol=UDP),
        bytes.fromhex("ffffffffffff020000000001 0806") + bytes(46),
        bytes(5),
        b"",
        bytes.fromhex("020000000002020000000001 8100"),
        bytes.fromhex("020000000002020000000001") + bytes.fromhex("81000001") * 3 + bytes.fromhex("0800") + bytes(60),
    ]
    if first.version == 6:
        icmp = bytearray(first.build())
        icmp[20] = ICMP_V6
        others.append(bytes(icmp))
    for other in others:
        packets = stream(first, 3)
        frames = [p if isinstance(p, bytes) else p.build() for p in (*packets[:2], other, packets[2])]
        emissions = merge_right(native, frames)
        assert emissions[0] == Emission(Vnet(), frames[2])
        assert [emission.segments for emission in emissions] == [1, 3]


# --- lengths ---


@BOTH
def test_padding_is_not_payload(native: NativeFrames, first: Packet) -> None:
    """A frame that stays alone keeps it; in a super-frame it is gone."""
    packets = stream(replace(first, payload=b"x"), 4)
    padded = [packet.build() + bytes(9) for packet in packets]
    assert merge_right(native, padded[:1]) == [Emission(Vnet(DATA_VALID), padded[0])]
    (emission,) = merge_right(native, padded)
    assert emission.segments == 4
    assert emission.frame.endswith(b"x\1\2\3")


@BOTH
def test_ip_length_beyond_the_frame(native: NativeFrames, first: Packet) -> None:
    packets = stream(first, 3)
    for cut_off in (1, 60, 99, 100, 110):
        frame = packets[2].build()[:-cut_off]
        emissions = merge_right(native, [packets[0].build(), packets[1].build(), frame])
        assert [emission.segments for emission in emissions] == [2, 1]
        assert emissions[1] == Emission(Vnet(), frame)


@BOTH
def test_tcp_header_beyond_the_packet(native: NativeFrames, first: Packet) -> None:
    """Its checksums are right, but nobody can say what it is."""
    frame = replace(first, payload=b"1234").build()
    at = first.transport
    longer = frame[: at + 12] + b"\x70" + frame[at + 13 :]  # 28 bytes, of which 24 are there
    longer = longer[: at + 16] + ((int.from_bytes(frame[at + 16 : at + 18], "big") - 0x2000) % 65535).to_bytes(2, "big")
    longer += frame[at + 18 :]
    for last in (longer, longer + bytes(20)):
        assert merge_right(native, [first.build(), last])[1] == Emission(Vnet(), last)


@BOTH
def test_every_truncation(native: NativeFrames, first: Packet) -> None:
    frame = replace(first, tags=((TAG, 1),), options=bytes(40)).build()
    for length in range(len(frame)):
        assert merge_right(native, [frame[:length]]) == [Emission(Vnet(), frame[:length])]


# --- several flows ---


@BOTH
def test_flows_are_kept_apart(native: NativeFrames, first: Packet) -> None:
    address = b"\x0b" * (4 if first.version == 4 else 16)
    flows = [
        stream(first, 5),
        stream(replace(first, ports=(1000, 2001)), 5),
        stream(replace(first, ports=(1, 2000)), 5),
    ]
    flows += [stream(replace(first, source=address), 5), stream(replace(first, destination=address), 5)]
    frames = [packet for row in zip(*flows, strict=True) for packet in row]
    assert shape(native, frames) == [5] * 5


@BOTH
def test_the_oldest_makes_room(native: NativeFrames, first: Packet) -> None:
    flows = [stream(replace(first, ports=(port, 9)), 3) for port in range(MERGE_FLOWS + 1)]
    frames = [packet for row in zip(*(flow[:2] for flow in flows[:-1]), strict=True) for packet in row]
    emissions = merge_right(native, [packet.build() for packet in (*frames, flows[-1][0], *(f[2] for f in flows))])
    ports = [packet.ports[0] for packet in (parse(emission.frame) for emission in emissions) if packet]
    assert ports[0] == 0 and emissions[0].segments == 2
    assert len(emissions) > MERGE_FLOWS


def draw_frames(draw: random.Random, count: int) -> list[bytes]:
    """Of several flows, mostly in a row, with everything in between that can be."""
    flows = []
    for _ in range(draw.choice((1, 3, MERGE_FLOWS + 2))):
        packet = replace(draw_packet(draw, size=draw.randint(1, 300)), flags=ACK)
        packet = replace(packet, tags=packet.tags[:1], ip_options=b"" if draw.random() < 0.9 else packet.ip_options)
        flows.append(packet)
    frames = []
    while len(frames) < count:
        which = draw.randrange(len(flows))
        for _ in range(draw.choice((1, 1, 5, 30))):
            packet = flows[which]
            size = len(packet.payload) if draw.random() < 0.9 else draw.randint(0, 301)
            sent = replace(packet, payload=draw.randbytes(size), flags=ACK | (PSH if draw.random() < 0.08 else 0))
            if draw.random() < 0.08:
                sent = draw.choice(list(NOT_THE_SAME.values()))(replace(sent, sequence=(sent.sequence + 200) % 2**32))
                sent = replace(sent, sequence=sent.sequence % 2**32)
            flows[which] = next_one(packet, payload=packet.payload) if draw.random() < 0.98 else sent
            flows[which] = replace(flows[which], sequence=(packet.sequence + size) % 2**32)
            frame = sent.build()
            if draw.random() < 0.1:
                frame += bytes(draw.randrange(10))
            if draw.random() < 0.05:
                broken = bytearray(frame)
                broken[draw.randrange(len(broken))] ^= 1 << draw.randrange(8)
                frame = bytes(broken)
            if draw.random() < 0.02:
                frame = frame[: draw.randrange(len(frame))]
            frames.append(frame)
    return frames


def test_random_frames(native: NativeFrames, seed: int) -> None:
    draw = random.Random(seed)
    merged = 0
    for _ in range(100):
        frames = draw_frames(draw, draw.randint(1, 150))
        merged += sum(emission.segments > 1 for emission in merge_right(native, frames, draw.randrange(8)))
    assert merged > 100


def test_frames_of_a_flow_keep_their_order(native: NativeFrames, seed: int) -> None:
    """Bytes of payload come out once each, as they went in."""
    draw = random.Random(seed)
    for _ in range(30):
        frames = draw_frames(draw, 200)
        before: dict[object, bytes] = {}
        after: dict[object, bytes] = {}
        for sent, content in ((frames, before), ([emission.frame for emission in native.merge(frames)], after)):
            for frame in sent:
                packet = parse(frame)
                if packet is not None:
                    key = (packet.source, packet.destination, packet.ports)
                    content[key] = content.get(key, b"") + packet.payload
        assert before == after


# --- with the cutter ---


def test_cut_merged_and_cut_again(native: NativeFrames, seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(200):
        size = draw.choice((draw.randint(1, 300), draw.randint(1, 20000), 65000))
        packet = draw_packet(draw, size=size)
        packet = replace(packet, ip_options=b"", tags=packet.tags[:1])
        vnet, frame = packet.super_frame(draw.randint(max(1, size // 100), 1448))
        cut_once = native.cut(vnet, frame, draw.choice((1518, 700)))
        assert cut_once is not None
        again = []
        emissions = native.merge(cut_once.frames)
        for emission in emissions:
            result = native.cut(emission.vnet, emission.frame, 1 << 20)
            assert result is not None and len(result.frames) == emission.segments
            again += result.frames
        assert again == cut_once.frames
        if packet.flags & ~PSH == ACK:
            assert len(emissions) == -(-len(again) // MERGE_PIECES)
        for each in again:
            part = parse(each)
            assert part is not None and is_right(each, part)
