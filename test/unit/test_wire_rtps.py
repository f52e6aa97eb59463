"""Announcements of real DDS participants, and everything that is none."""

from __future__ import annotations

import random
import struct

import pytest
from support import announcements as captured
from support.announcing import GROUP, Speaker

from omni_core.wire.listening import listening_from
from omni_core.wire.rtps import DEFAULT_LEASE, LEASE_MAX, LEASE_MIN, parse_announcement

MAC = bytes.fromhex("72f30387f645")


@pytest.mark.parametrize(
    ("first", "again", "end", "domain", "lease"),
    [
        pytest.param(captured.FAST_DDS, captured.FAST_DDS_AGAIN, captured.FAST_DDS_ENDS, 3, 20.0, id="Fast DDS"),
        pytest.param(captured.CYCLONE, captured.CYCLONE_AGAIN, captured.CYCLONE_ENDS, 7, 10.0, id="Cyclone DDS"),
    ],
)
def test_captures(first: bytes, again: bytes, end: bytes, domain: int, lease: float) -> None:
    said, repeated, left = map(parse_announcement, (first, again, end))
    assert said is not None and repeated is not None and left is not None
    assert (said.domain, said.lease, said.ends) == (domain, lease, False)
    assert (said.group, said.source) == (bytes.fromhex("01005e7f0001"), MAC)
    assert repeated.name == said.name, "the same, said again"
    assert (left.prefix, left.ends, left.domain) == (said.prefix, True, domain)
    assert said.name[:12] == said.prefix == first[14 + 20 + 8 + 8 :][:12]


def test_the_name_changes_with_what_is_said_and_where() -> None:
    speaker = Speaker()
    names = [
        parse_announcement(frame)
        for frame in (speaker.says(), speaker.says(data=b"other"), speaker.says(domain=1), speaker.says(vlan=5))
    ]
    assert len({each.name for each in names if each is not None}) == 4
    assert parse_announcement(speaker.says(sequence=9)) == names[0], "the sequence says nothing"


@pytest.mark.parametrize("big", [False, True])
def test_both_byte_orders(big: bool) -> None:
    said = parse_announcement(Speaker(lease=7.5).says(domain=4, big=big))
    assert said is not None and (said.lease, said.domain) == (7.5, 4)


@pytest.mark.parametrize(("lease", "read"), [(0.0, LEASE_MIN), (0x7FFFFFFF, LEASE_MAX), (None, DEFAULT_LEASE)])
def test_leases_are_bounded(lease: float | None, read: float) -> None:
    said = parse_announcement(Speaker(lease=lease).says())
    assert said is not None and said.lease == read


def test_ipv6_and_tags() -> None:
    for changes in ({"group": "ff15::7f00:1"}, {"vlan": 7}):
        assert parse_announcement(Speaker().says(**changes)) is not None  # type: ignore[arg-type]


def swapped(frame: bytes, offset: int, new: bytes) -> bytes:
    return frame[:offset] + new + frame[offset + len(new) :]


FRAME = Speaker().says()
RTPS = FRAME.index(b"RTPS")
DATA = RTPS + 20 + 12  # behind the header and INFO_TS


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(swapped(FRAME, 0, MAC), id="to a station"),
        pytest.param(swapped(FRAME, RTPS, b"RTPX"), id="no RTPS"),
        pytest.param(swapped(FRAME, RTPS - 6, struct.pack("!H", 7401)), id="port of user data"),
        pytest.param(swapped(FRAME, RTPS - 6, struct.pack("!H", 7150)), id="port below the base"),
        pytest.param(swapped(FRAME, RTPS - 4, struct.pack("!H", 2000)), id="longer than the frame"),
        pytest.param(swapped(FRAME, 20, b"\x20"), id="first fragment"),
        pytest.param(swapped(FRAME, 21, b"\x01"), id="later fragment"),
        pytest.param(swapped(FRAME, DATA + 12, b"\x00\x01\x00\xc7"), id="another writer"),
        pytest.param(swapped(FRAME, DATA, b"\x07"), id="a heartbeat"),
        pytest.param(swapped(FRAME, DATA + 2, b"\xff\xff"), id="submessage past the end"),
        pytest.param(swapped(FRAME, DATA + 6, b"\xff\xff"), id="inline QoS past the end"),
        pytest.param(swapped(FRAME, DATA + 24, b"\x00\x01"), id="not a parameter list"),
        pytest.param(swapped(FRAME, RTPS + 8, bytes(12)), id="no GUID prefix"),
        pytest.param(swapped(FRAME, RTPS + 8, bytes([9])), id="for another participant"),
        pytest.param(swapped(FRAME, RTPS + 20, b"\x0e\x01\x08\x00\x01"), id="for one participant only"),
        pytest.param(FRAME[: RTPS + 24], id="no submessage"),
        pytest.param(captured.IGMP_REPORT, id="IGMP"),
    ],
)
def test_no_announcement(frame: bytes) -> None:
    assert parse_announcement(frame) is None


def test_any_bytes_are_answered(seed: int) -> None:
    """Cut, flipped and shuffled captures: None or sane, never an exception."""
    draw = random.Random(seed)
    frames = [getattr(captured, name) for name in dir(captured) if name.isupper()] + [FRAME]
    accepted = 0
    for _ in range(20_000):
        data = bytearray(draw.choice(frames))
        for _ in range(draw.randrange(6)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        if draw.random() < 0.4:
            del data[draw.randrange(len(data) + 1) :]
        said = parse_announcement(bytes(data))
        listening_from(bytes(data))
        if said is not None:
            accepted += 1
            assert len(said.prefix) == 12 and len(said.name) == 16 and 0 <= said.domain < 233
            assert LEASE_MIN <= said.lease <= LEASE_MAX
    assert accepted > 100


def test_reports_and_queries_have_a_sender() -> None:
    assert listening_from(captured.IGMP_REPORT) == MAC
    assert listening_from(FRAME) is None
    assert bytes.fromhex("01005e7f0001") == GROUP
