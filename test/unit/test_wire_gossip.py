"""GOSSIP on the wire: golden bytes, and what is refused."""

from __future__ import annotations

import pytest

from omni_core.crypto.record import RECORD_MAX
from omni_core.drops import DropReason
from omni_core.errors import RemoteViolation
from omni_core.wire import cbor
from omni_core.wire.gossip import (
    AGE_END,
    ENDPOINTS_MAX,
    ENTRIES_MAX,
    HEAD_SIZE,
    RECORD_END,
    WANTED_MAX,
    WANTED_SIZE,
    GossipEntry,
    GossipMessage,
    decode_gossip,
    encode_gossip,
    entry_size,
)

FOUR, SIX = bytes([10, 0, 0, 1, 0x6C, 0xCA]), bytes(15) + b"\1\1\0"
ENTRY = GossipEntry(b"record", (FOUR,), 5)
KEY = bytes(range(32))

GOLDEN = [
    (GossipMessage(), "a0"),
    (GossipMessage((ENTRY,)), "a1 01 81 83 46 7265636f7264 81 46 0a0000016cca 05"),
    (GossipMessage(wanted=(KEY,), answer=True), "a2 02 81 5820" + KEY.hex() + "03 f5"),
    (
        GossipMessage((GossipEntry(b"", (), 0), GossipEntry(b"r", (SIX, FOUR), 300))),
        "a1 01 82 83 40 80 00 83 41 72 82 52" + SIX.hex() + "46 0a0000016cca 19 012c",
    ),
]


@pytest.mark.parametrize(("message", "hexadecimal"), GOLDEN)
def test_golden_bytes(message: GossipMessage, hexadecimal: str) -> None:
    assert encode_gossip(message).hex() == hexadecimal.replace(" ", "")
    assert decode_gossip(encode_gossip(message)) == message


def test_a_later_version_may_say_more() -> None:
    assert decode_gossip(cbor.encode({3: True, 9: [1]})) == GossipMessage(answer=True)


def test_sizes_are_bounds() -> None:
    assert RECORD_END > RECORD_MAX
    longest = GossipEntry(bytes(RECORD_END - 1), (SIX,) * ENDPOINTS_MAX, AGE_END - 1)
    message = GossipMessage((longest,) * ENTRIES_MAX, (KEY,) * WANTED_MAX, True)
    bound = HEAD_SIZE + ENTRIES_MAX * entry_size(longest) + WANTED_MAX * WANTED_SIZE
    assert bound - 2 * ENTRIES_MAX <= len(encode_gossip(message)) <= bound


@pytest.mark.parametrize(
    "value",
    [
        [],
        {1: 5},
        {1: [[b"", [], 0]] * (ENTRIES_MAX + 1)},
        {1: [[b"", []]]},
        {1: [[b"", [], 0, 0]]},
        {1: [["", [], 0]]},
        {1: [[bytes(RECORD_END), [], 0]]},
        {1: [[b"", [FOUR] * (ENDPOINTS_MAX + 1), 0]]},
        {1: [[b"", [FOUR[1:]], 0]]},
        {1: [[b"", [5], 0]]},
        {1: [[b"", [], AGE_END]]},
        {1: [[b"", [], True]]},
        {2: [KEY] * (WANTED_MAX + 1)},
        {2: [KEY[1:]]},
        {2: KEY},
        {3: 1},
        {3: b"x"},
    ],
)
def test_malformed(value: cbor.Value) -> None:
    with pytest.raises(RemoteViolation) as caught:
        decode_gossip(cbor.encode(value))
    assert caught.value.reason is DropReason.CONTROL_MALFORMED
