"""Every function of wire/ethernet.py is total, and agrees with a parser written the slow way."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from omni_core.wire import ethernet

TAGS = (0x8100, 0x88A8)
macs = st.binary(min_size=6, max_size=6)
tags = st.lists(st.tuples(st.sampled_from(TAGS), st.integers(0, 0xFFFF)), max_size=2)
plain_types = st.integers(0, 0xFFFF).filter(lambda value: value not in TAGS)


def build(destination: bytes, source: bytes, stack: list[tuple[int, int]], ethertype: int, payload: bytes) -> bytes:
    tagged = b"".join(tpid.to_bytes(2, "big") + tci.to_bytes(2, "big") for tpid, tci in stack)
    return destination + source + tagged + ethertype.to_bytes(2, "big") + payload


@given(macs, macs, tags, plain_types, st.binary(max_size=100))
def test_parse_undoes_build(
    destination: bytes, source: bytes, stack: list[tuple[int, int]], ethertype: int, payload: bytes
) -> None:
    frame = build(destination, source, stack, ethertype, payload)
    header = ethernet.parse(frame)
    assert header is not None
    assert (header.destination, header.source, header.ethertype) == (destination, source, ethertype)
    assert header.vlan == ethernet.vlan_id(frame) == (stack[0][1] & 0xFFF if stack else 0)
    assert frame[header.payload :] == payload


@given(tags, st.ip_addresses(v=4), st.ip_addresses(v=4), st.binary(max_size=40))
def test_arp_request(stack: list[tuple[int, int]], sender: IPv4Address, target: IPv4Address, padding: bytes) -> None:
    body = bytes.fromhex("0001080006040001") + bytes(6) + sender.packed + bytes(6) + target.packed + padding
    found = ethernet.arp_target(build(b"\xff" * 6, bytes(6), stack, 0x0806, body))
    asks = sender != target and not (target.is_multicast or target.is_loopback or target.is_unspecified)
    assert found == (target if asks and target != IPv4Address("255.255.255.255") else None)


@given(tags, st.ip_addresses(v=6), st.binary(max_size=40))
def test_neighbour_solicitation(stack: list[tuple[int, int]], target: IPv6Address, options: bytes) -> None:
    body = bytes.fromhex("60000000 0018 3aff") + bytes(32) + bytes.fromhex("8700000000000000") + target.packed + options
    frame = build(b"\x33" * 6, bytes(6), stack, 0x86DD, body)
    asks = not (target.is_multicast or target.is_loopback or target.is_unspecified)
    assert ethernet.solicited_target(frame) == (target if asks else None)
    assert ethernet.target_address(frame) == (target if asks else None)


@given(tags, st.ip_addresses(), st.binary(max_size=40))
def test_ip_destination(stack: list[tuple[int, int]], address: IPv4Address | IPv6Address, rest: bytes) -> None:
    if address.version == 4:
        frame = build(bytes(6), bytes(6), stack, 0x0800, b"\x45" + bytes(15) + address.packed + rest)
    else:
        frame = build(bytes(6), bytes(6), stack, 0x86DD, b"\x60" + bytes(23) + address.packed + rest)
    assert ethernet.ip_destination(frame) == address


def try_all(data: bytes) -> None:
    header = ethernet.parse(data)
    assert (header is None) == (len(data) < 14)
    if header is not None:
        assert 14 <= header.payload <= len(data)
        assert header.vlan == ethernet.vlan_id(data)
    assert 0 <= ethernet.vlan_id(data) <= 4095
    assert ethernet.is_control(data) in (True, False)
    for answer in (ethernet.arp_target(data), ethernet.solicited_target(data), ethernet.target_address(data)):
        assert answer is None or not (answer.is_multicast or answer.is_unspecified)
    assert ethernet.ip_destination(data) is None or len(data) >= 34


@given(st.binary(max_size=120))
def test_any_bytes(data: bytes) -> None:
    try_all(data)


def test_100_000_cut_and_flipped_frames(seed: int) -> None:
    """Near-valid frames go deeper than random ones: real headers, cut anywhere, with a few bytes changed."""
    draw = random.Random(seed)
    arp = bytes.fromhex("0001080006040001") + bytes(range(20))
    solicitation = bytes.fromhex("6000000000183aff") + bytes(32) + b"\x87" + bytes(7) + bytes(range(16))
    bodies = [
        (ethertype, stack, body)
        for ethertype, body in ((0x0806, arp), (0x86DD, solicitation), (0x0800, b"\x45" + bytes(range(40))), (0, b""))
        for stack in ([], [(0x8100, 5)], [(0x88A8, 5), (0x8100, 6)])
    ]
    whole = [build(draw.randbytes(6), draw.randbytes(6), stack, ethertype, body) for ethertype, stack, body in bodies]
    for _ in range(100_000):
        data = bytearray(draw.choice(whole))
        for _ in range(draw.randrange(3)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        try_all(bytes(data[: draw.randrange(len(data) + 1)]))
