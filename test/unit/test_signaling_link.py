"""A signaling session: sealing, opening, replays and forgeries."""

from __future__ import annotations

import pytest

from omni_core.drops import DropReason
from omni_core.errors import LocalMisuse, RemoteViolation
from omni_core.session.keypair import Keypair
from omni_core.signaling.link import SignalingLink
from omni_core.wire.control import SIGNALING_MAX, SIGNALING_PAYLOAD, decode_signaling


def links() -> tuple[SignalingLink, SignalingLink]:
    a, b = bytearray(range(32)), bytearray(range(32, 64))
    one = Keypair(b"B" * 32, True, 0x1111, 0x2222, a, b, b"h" * 32, 0.0)
    two = Keypair(b"A" * 32, False, 0x2222, 0x1111, b, a, b"h" * 32, 0.0)
    return SignalingLink(one), SignalingLink(two)


def test_a_link_takes_the_keys_over() -> None:
    """The session's end must not leave a copy of them, nor make a link seal with a key of zeros."""
    keypair = Keypair(b"B" * 32, True, 1, 2, bytearray(range(32)), bytearray(range(32, 64)), b"h" * 32, 0.0)
    send, receive = keypair.send_key, keypair.receive_key
    link = SignalingLink(keypair)
    keypair.wipe()
    assert not keypair.send_key and not keypair.receive_key and any(send) and any(receive)
    link.wipe()
    assert not any(send) and not any(receive)
    with pytest.raises(LocalMisuse):
        link.seal(b"message")


def test_there_and_back() -> None:
    one, two = links()
    for n in range(3):
        packet = decode_signaling(one.seal(b"message %d" % n))
        assert (packet.session_id, packet.counter) == (two.receive_id, n)
        assert two.open(packet) == b"message %d" % n
        assert two.newest == n
    assert one.open(decode_signaling(two.seal(b"answer"))) == b"answer"


def test_the_largest_message_makes_the_largest_datagram() -> None:
    one, _ = links()
    assert len(one.seal(bytes(SIGNALING_PAYLOAD))) == SIGNALING_MAX


def test_any_order_but_each_once() -> None:
    one, two = links()
    packets = [decode_signaling(one.seal(bytes([n]))) for n in range(5)]
    for n in (3, 0, 4, 1, 2):
        assert two.open(packets[n]) == bytes([n])
    for packet in packets:
        with pytest.raises(RemoteViolation) as caught:
            two.open(packet)
        assert caught.value.reason is DropReason.SIGNALING_REPLAYED
    assert two.newest == 4


@pytest.mark.parametrize("at", [16, 22, 24, -1])
def test_a_forgery_changes_nothing(at: int) -> None:
    """Counter, ciphertext, tag: one bit each; then the true packet is still taken."""
    one, two = links()
    true = one.seal(b"message")
    forged = bytearray(true)
    forged[at] ^= 1
    with pytest.raises(RemoteViolation) as caught:
        two.open(decode_signaling(bytes(forged)))
    assert caught.value.reason is DropReason.SIGNALING_FORGED
    assert two.newest == -1
    assert two.open(decode_signaling(true)) == b"message"


def test_wiped() -> None:
    one, two = links()
    packet = decode_signaling(one.seal(b"message"))
    one.wipe()
    one.wipe()
    two.wipe()
    with pytest.raises(LocalMisuse):
        one.seal(b"message")
    with pytest.raises(LocalMisuse):
        two.open(packet)
