"""Reads a capture of the underlay and says whether what crossed it was encrypted, and was the messages at all.

Written from the wire format alone (ARCHITECTURE.md, "On the wire"), without omni_core: a fault there must not hide
itself here. Every frame has to be one of: ARP, ICMPv6 (neighbour discovery, MLD, echo), an ICMP error about one of our
datagrams, or a well-formed omni packet on the omni port. On top of that
- no forbidden bytes anywhere (RTPS magic, the talker's words, overlay MAC addresses);
- what data packets carry is indistinguishable from noise (chi-square over all byte values);
- no nonce twice under a session id;
- enough data packets from each robot to each other that must have heard it;
- a capture without holes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from tools.netlab import CapturedFrame

# RTPS 2.x header (OMG DDSI-RTPS 2.5, 9.4.4): magic, then the major version. The magic alone has four bytes, which 16 MB
# of noise contain once in 250 runs.
RTPS = b"RTPS\x02"

DATA_HEADER = 24
TAG = 16
ETHERNET_HEADER = 14
FIRST_DATA_BYTE = 0x10
SEQUENCE_MASK = (1 << 56) - 1
VERSION = 1
CONTROL_SIZES = {1: range(480, 481), 2: range(288, 289), 3: range(64, 65), 4: range(41, 1201)}  # by first byte

ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
ICMP, UDP, ICMPV6 = 1, 17, 58
IPV6_OPTIONS = {0, 60}  # hop-by-hop (MLD has it), destination options
ICMP_ERRORS = {3, 11}  # unreachable, time exceeded: both quote the datagram

MIN_CIPHERTEXT = 10_000  # bytes, below that the noise test says little
NOISE_LIMIT = 8.0  # standard deviations of chi-square with 255 degrees of freedom

Flow = tuple[str, str]  # from, to


class Violation(Exception):
    """Why a frame must not have been on the underlay."""


class DataPacket(NamedTuple):
    flow: Flow  # underlay addresses
    session_id: int
    nonce: int
    sealed: bytes  # ciphertext and tag


@dataclass
class Proof:
    """``ok`` is the verdict; ``violations`` counts reasons, ``examples`` has the first frame number of each."""

    frames: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    flows: Counter[Flow] = field(default_factory=Counter)  # data packets
    sealed_bytes: int = 0
    noise: float | None = None  # standard deviations from uniform; None: too little data
    violations: Counter[str] = field(default_factory=Counter)
    examples: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return not self.violations

    def accuse(self, reason: str, frame: int = 0) -> None:
        self.violations[reason] += 1
        self.examples.setdefault(reason, frame)

    def lines(self) -> list[str]:
        """The verdict in words, one finding a line."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds.most_common())
        text = [f"{self.frames} frames on the underlay: {kinds or 'none'}"]
        if self.noise is not None:
            text.append(
                f"{self.sealed_bytes} sealed bytes, {self.noise:+.1f} standard deviations from noise "
                f"(limit {NOISE_LIMIT:g})"
            )
        for reason, count in self.violations.most_common():
            where = f" (first: frame {self.examples[reason]})" if self.examples[reason] else ""
            text.append(f"VIOLATION: {reason}, {count} times{where}" if count > 1 else f"VIOLATION: {reason}{where}")
        return text


def examine(
    frames: Iterable[CapturedFrame],
    ports: set[int],
    hosts: Mapping[str, str],
    forbidden: Mapping[str, bytes],
    required: Mapping[Flow, int],
    kernel_drops: int = 0,
) -> Proof:
    """``ports``: UDP ports of Ganglia and Nucleus. ``hosts``: underlay address (IPv4 or IPv6) -> name.

    ``forbidden``: name -> bytes that nobody may see on the underlay. ``required``: data packets that must at least have
    gone from one host to another.
    """
    proof = Proof()
    forbidden = {"RTPS magic": RTPS, **forbidden}
    histogram: Counter[int] = Counter()
    nonces: set[tuple[int, int]] = set()
    for number, frame in enumerate(frames, 1):
        proof.frames += 1
        for name, text in forbidden.items():
            if text in frame.data:
                proof.accuse(f"{name} in clear", number)
        try:
            if frame.length != len(frame.data):
                raise Violation("a frame was captured in part")
            kind, data = classify(frame.data, ports)
        except Violation as violation:
            proof.accuse(str(violation), number)
            continue
        proof.kinds[kind] += 1
        for packet in data:
            source, destination = packet.flow
            proof.flows[(hosts.get(source, source), hosts.get(destination, destination))] += 1
            proof.sealed_bytes += len(packet.sealed)
            histogram.update(packet.sealed)
            if (packet.session_id, packet.nonce) in nonces:
                proof.accuse("a nonce twice under one session id", number)
            nonces.add((packet.session_id, packet.nonce))
    _judge(proof, histogram, required, kernel_drops)
    return proof


def _judge(proof: Proof, histogram: Counter[int], required: Mapping[Flow, int], kernel_drops: int) -> None:
    if kernel_drops:
        proof.accuse(f"the capture has holes: {kernel_drops} frames missing")
    for (source, destination), least in required.items():
        seen = proof.flows[(source, destination)]
        if seen < least:
            proof.accuse(f"only {seen} data packets from {source} to {destination}, expected {least} or more")
    if proof.sealed_bytes < MIN_CIPHERTEXT:
        proof.accuse(
            f"only {proof.sealed_bytes} sealed bytes crossed the underlay, {MIN_CIPHERTEXT} are needed to judge"
        )
        return
    expected = proof.sealed_bytes / 256
    chi_square = sum((histogram[value] - expected) ** 2 for value in range(256)) / expected
    proof.noise = (chi_square - 255) / (2 * 255) ** 0.5
    if proof.noise > NOISE_LIMIT:
        proof.accuse(f"sealed bytes do not look like noise ({proof.noise:.0f} standard deviations)")


def classify(frame: bytes, ports: set[int]) -> tuple[str, list[DataPacket]]:
    """What the frame is, and the data packets in it. Raises Violation."""
    if len(frame) < ETHERNET_HEADER:
        raise Violation("a frame without an Ethernet header")
    ethertype = int.from_bytes(frame[12:14], "big")
    packet = frame[ETHERNET_HEADER:]
    if ethertype == ARP:
        # RFC 826 for Ethernet and IPv4 has 28 bytes; a longer one is padding to 60, or something hides in it
        if len(packet) < 28 or any(packet[28:]):
            raise Violation("a malformed ARP frame")
        return "ARP", []
    if ethertype == IPV4:
        return _ipv4(packet, ports)
    if ethertype == IPV6:
        return _ipv6(packet, ports)
    raise Violation(f"a frame of EtherType 0x{ethertype:04x}")


def _ipv4(packet: bytes, ports: set[int]) -> tuple[str, list[DataPacket]]:
    if len(packet) < 20 or (header := (packet[0] & 15) * 4) < 20:
        raise Violation("a malformed IPv4 packet")
    if int.from_bytes(packet[6:8], "big") & 0x3FFF:
        raise Violation("an IPv4 fragment")
    protocol = packet[9]
    body = packet[header : int.from_bytes(packet[2:4], "big")]
    if protocol == UDP:
        return _udp(body, str(IPv4Address(packet[12:16])), str(IPv4Address(packet[16:20])), ports)
    if protocol == ICMP and body and body[0] in ICMP_ERRORS:
        quoted = body[8:]
        if len(quoted) >= 28 and quoted[9] == UDP and _ports(quoted[(quoted[0] & 15) * 4 :]) <= ports:
            return "ICMP error about an omni packet", []
    raise Violation(f"an IPv4 packet of protocol {protocol}")


def _ipv6(packet: bytes, ports: set[int]) -> tuple[str, list[DataPacket]]:
    if len(packet) < 40:
        raise Violation("a malformed IPv6 packet")
    protocol, body = packet[6], packet[40 : 40 + int.from_bytes(packet[4:6], "big")]
    while protocol in IPV6_OPTIONS and len(body) >= 8:
        protocol, body = body[0], body[8 + body[1] * 8 :]
    if protocol == ICMPV6:
        return "ICMPv6", []
    if protocol == UDP:
        return _udp(body, str(IPv6Address(packet[8:24])), str(IPv6Address(packet[24:40])), ports)
    raise Violation(f"an IPv6 packet of protocol {protocol}")


def _udp(datagram: bytes, source: str, destination: str, ports: set[int]) -> tuple[str, list[DataPacket]]:
    if len(datagram) < 8:
        raise Violation("a malformed UDP datagram")
    if not _ports(datagram) <= ports:
        raise Violation(f"a UDP datagram to port {int.from_bytes(datagram[2:4], 'big')}, not omni's")
    payload = datagram[8:]
    if payload and payload[0] >= FIRST_DATA_BYTE:
        return "omni data", [_data((source, destination), segment) for segment in segments(payload)]
    if len(payload) < 2 or len(payload) not in CONTROL_SIZES.get(payload[0], range(0)) or payload[1] != VERSION:
        raise Violation("a datagram on the omni port that is no omni packet")
    return "omni control", []


def segments(payload: bytes) -> list[bytes]:
    """The datagrams in a super-datagram: where the sender uses UDP_SEGMENT, a veth carries them in one piece.

    All have one length but the last, which may be shorter, and they repeat the session id. (Before Linux 6.2 the kernel
    does not tell a capture the segment length.)
    """
    size = payload.find(payload[:8], DATA_HEADER + ETHERNET_HEADER + TAG)
    if size < 0:
        return [payload]
    return [payload[start : start + size] for start in range(0, len(payload), size)]


def _data(flow: Flow, payload: bytes) -> DataPacket:
    if len(payload) < DATA_HEADER + ETHERNET_HEADER + TAG:
        raise Violation("a data packet that is too short")
    session_id, sequence, nonce = (int.from_bytes(payload[i : i + 8], "little") for i in (0, 8, 16))
    if nonce & SEQUENCE_MASK != sequence:
        raise Violation("a datagram on the omni port whose nonce is not its sequence")
    return DataPacket(flow, session_id, nonce, payload[DATA_HEADER:])


def _ports(datagram: bytes) -> set[int]:
    return {int.from_bytes(datagram[0:2], "big"), int.from_bytes(datagram[2:4], "big")}


def forbidden_text(talker: str, macs: Sequence[bytes]) -> dict[str, bytes]:
    """What must not be seen: the talker's words and the addresses of inner frames."""
    return {"the talker's text": talker.encode(), **{f"overlay MAC {mac.hex(':')}": mac for mac in macs}}
