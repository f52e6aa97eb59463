"""The demo's verdict on a capture: it passes what an overlay looks like, and fails each thing that would be a leak."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from tools.demo_parts.proof import examine, forbidden_text
from tools.netlab import CapturedFrame, PcapWriter, read_pcap

A, B = "198.18.0.1", "198.18.0.2"
HOSTS = {A: "a", B: "b", "2001:db8::1": "a", "2001:db8::2": "b"}
PORT = 51820
TEXT = "Hello from robot1"
MAC = bytes.fromhex("02a1b2c3d4e5")


def ethernet(ethertype: int, payload: bytes) -> bytes:
    return bytes.fromhex("020000000002020000000001") + ethertype.to_bytes(2, "big") + payload


def ipv4(protocol: int, body: bytes, fragment: int = 0) -> bytes:
    addresses = bytes(int(part) for address in (A, B) for part in address.split("."))
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 1, fragment, 64, protocol, 0)
    return ethernet(0x0800, head + addresses + body)


def ipv6(next_header: int, body: bytes) -> bytes:
    addresses = bytes.fromhex("20010db800000000000000000000000120010db8000000000000000000000002")
    return ethernet(0x86DD, struct.pack(">IHBB", 6 << 28, len(body), next_header, 64) + addresses + body)


def datagram(payload: bytes, source: int = PORT, destination: int = PORT) -> bytes:
    return struct.pack(">HHHH", source, destination, 8 + len(payload), 0) + payload


def udp(payload: bytes, source: int = PORT, destination: int = PORT) -> bytes:
    return ipv4(17, datagram(payload, source, destination))


def data(sequence: int, sealed: bytes, nonce: int | None = None) -> bytes:
    return struct.pack("<QQQ", 0x1122334455667788, sequence, sequence if nonce is None else nonce) + sealed


def rtps(text: str = TEXT) -> bytes:
    return b"RTPS\x02\x03\x01\x0f" + bytes(12) + bytes.fromhex("15053000") + bytes(20) + text.encode() + b": 7\0"


@pytest.fixture
def good(seed: int) -> list[bytes]:
    """A run without fault: address resolution, handshakes, signaling and sixty data packets."""
    draw = random.Random(seed)
    arp = bytes.fromhex("00010800060400010200000000011200000102000000000212000002")
    return [
        ethernet(0x0806, arp),
        ethernet(0x0806, arp + bytes(18)),
        ipv6(58, b"\x87\0\0\0" + bytes(20)),
        ipv6(0, bytes.fromhex("3a00050200000000") + b"\x8f" + bytes(19)),  # MLD behind a hop-by-hop header
        udp(b"\x01\x01" + draw.randbytes(478)),
        udp(b"\x02\x01" + draw.randbytes(286)),
        udp(b"\x03\x01" + draw.randbytes(62)),
        udp(b"\x04\x01" + draw.randbytes(300)),
        ipv4(1, b"\x03\x03" + bytes(6) + udp(b"\x01\x01")[14:]),
        *(udp(data(n, draw.randbytes(200))) for n in range(60)),
    ]


def judge(frames: list[bytes], required: int = 60, drops: int = 0):
    captured = [CapturedFrame(n, frame, len(frame)) for n, frame in enumerate(frames)]
    return examine(captured, {PORT}, HOSTS, forbidden_text(TEXT, [MAC]), {("a", "b"): required}, drops)


def test_an_encrypted_run_passes(good):
    proof = judge(good)
    assert proof.ok, proof.lines()
    assert proof.kinds == {
        "ARP": 2, "ICMPv6": 2, "omni control": 4, "omni data": 60, "ICMP error about an omni packet": 1,
    }  # fmt: skip
    assert proof.flows == {("a", "b"): 60} and proof.sealed_bytes == 12_000 and abs(proof.noise) < 8


@pytest.mark.parametrize(
    ("leak", "reason"),
    [
        (udp(rtps(), 7412, 7400), "RTPS magic in clear"),
        (udp(rtps(), 7412, 7400), "the talker's text in clear"),
        (udp(rtps(), 7412, 7400), "a UDP datagram to port 7400, not omni's"),
        (ipv6(17, datagram(rtps(), 7412, 7400)), "a UDP datagram to port 7400, not omni's"),
        (udp(data(99, rtps("other words"))), "RTPS magic in clear"),  # a header of ours around a plain frame
        (udp(data(99, ethernet(0x0800, TEXT.encode() * 3))), "the talker's text in clear"),
        (udp(data(99, b"\xff" * 6 + MAC + bytes(40))), "overlay MAC 02:a1:b2:c3:d4:e5 in clear"),
        (ethernet(0x0806, bytes(28) + b"hidden"), "a malformed ARP frame"),
        (ethernet(0x88B5, bytes(50)), "a frame of EtherType 0x88b5"),
        (ipv4(6, bytes(20)), "an IPv4 packet of protocol 6"),
        (ipv4(2, bytes(8)), "an IPv4 packet of protocol 2"),
        (ipv4(1, b"\x08\0" + bytes(62)), "an IPv4 packet of protocol 1"),
        (ipv4(1, b"\x03\x03" + bytes(6) + udp(b"", 7400, 7400)[14:]), "an IPv4 packet of protocol 1"),
        (ipv4(17, datagram(data(99, bytes(60))), fragment=0x2000), "an IPv4 fragment"),
        (ipv6(44, bytes(40)), "an IPv6 packet of protocol 44"),
        (ipv6(6, bytes(20)), "an IPv6 packet of protocol 6"),
        (udp(b"\x05\x01" + bytes(60)), "a datagram on the omni port that is no omni packet"),
        (udp(b"\x01\x02" + bytes(478)), "a datagram on the omni port that is no omni packet"),
        (udp(b"\x01\x01" + bytes(479)), "a datagram on the omni port that is no omni packet"),
        (udp(b""), "a datagram on the omni port that is no omni packet"),
        (udp(data(99, bytes(10))), "a data packet that is too short"),
        (udp(data(99, bytes(60), nonce=98)), "a datagram on the omni port whose nonce is not its sequence"),
        (udp(data(7, bytes(60))), "a nonce twice under one session id"),
        (b"short", "a frame without an Ethernet header"),
        (ethernet(0x0800, b"\x45"), "a malformed IPv4 packet"),
        (ethernet(0x86DD, b"\x60"), "a malformed IPv6 packet"),
        (ipv4(17, b"1234"), "a malformed UDP datagram"),
    ],
)
def test_each_leak_fails_the_proof(good, leak, reason):
    for position in (0, len(good)):
        proof = judge([*good[:position], leak, *good[position:]])
        assert not proof.ok
        assert reason in proof.violations
        if position == 0 and reason != "a nonce twice under one session id":
            assert proof.examples[reason] == 1


def test_segments_of_one_super_datagram_are_judged_each(good, seed):
    draw = random.Random(seed + 1)  # not the fixture's bytes again
    packets = [data(1000 + n, draw.randbytes(1434)) for n in range(20)] + [data(1020, draw.randbytes(700))]
    proof = judge([*good, udp(b"".join(packets))], required=81)
    assert proof.ok, proof.lines()
    assert proof.sealed_bytes == 12_000 + 20 * 1434 + 700
    repeated = data(1004, draw.randbytes(1434))
    bad = data(1006, draw.randbytes(1434), nonce=1007)
    for wrong, reason in (
        (repeated, "a nonce twice under one session id"),
        (bad, "a datagram on the omni port whose nonce is not its sequence"),
        (data(1006, rtps().ljust(1434, b"x")), "RTPS magic in clear"),
        (b"x" * 1458, "a datagram on the omni port whose nonce is not its sequence"),
    ):
        proof = judge([*good, udp(b"".join([*packets[:6], wrong, *packets[7:]]))])
        assert reason in proof.violations


def test_both_families_count_as_one_flow(good):
    over_ipv6 = ipv6(17, datagram(data(1000, random.Random(1).randbytes(200))))
    assert judge([*good, over_ipv6], required=61).ok


def test_plain_frames_behind_our_header_do_not_pass_for_noise():
    plain = ethernet(0x0800, bytes(28) + b"nothing that is searched for by name " * 5)
    proof = judge([udp(data(n, plain)) for n in range(60)])
    assert list(proof.violations) == [f"sealed bytes do not look like noise ({proof.noise:.0f} standard deviations)"]


def test_silence_is_no_proof(good):
    assert judge([]).violations.keys() == {
        "only 0 data packets from a to b, expected 60 or more",
        "only 0 sealed bytes crossed the underlay, 10000 are needed to judge",
    }
    assert "only 60 data packets from a to b, expected 61 or more" in judge(good, required=61).violations


def test_a_capture_with_holes_is_no_proof(good):
    assert list(judge(good, drops=3).violations) == ["the capture has holes: 3 frames missing"]
    cut = [CapturedFrame(0, good[-1], len(good[-1]) + 1)]
    assert "a frame was captured in part" in examine(cut, {PORT}, {}, {}, {}).violations


def test_the_verdict_names_the_first_frame_and_the_count(good):
    leak = udp(rtps(), 7412, 7400)
    lines = judge([*good, leak, leak]).lines()
    assert f"VIOLATION: RTPS magic in clear, 2 times (first: frame {len(good) + 1})" in lines


def test_a_capture_file_is_read_as_it_was_written(good, tmp_path: Path):
    path = tmp_path / "run.pcap"
    with path.open("wb") as stream:
        writer = PcapWriter(stream)
        for n, frame in enumerate([*good, udp(rtps(), 7412, 7400)]):
            writer.write(frame, 1_700_000_000_123_456_789 + n)
    frames = list(read_pcap(path))
    assert frames[1].time_ns == 1_700_000_000_123_456_790
    assert "RTPS magic in clear" in examine(frames, {PORT}, HOSTS, {}, {("a", "b"): 60}).violations


@pytest.mark.parametrize("cut", [1, 30])
def test_a_cut_capture_file_is_refused(good, tmp_path: Path, cut: int):
    path = tmp_path / "run.pcap"
    with path.open("wb") as stream:
        PcapWriter(stream).write(good[0], 0)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ValueError, match="cut"):
        list(read_pcap(path))


@pytest.mark.parametrize("content", [b"", b"\xd4\xc3\xb2\xa1", b"not a capture file at all, truly"])
def test_another_file_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "run.pcap"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="pcap"):
        list(read_pcap(path))
