"""groups.py against a parser written the slow way, on frames that are cut and flipped; and targets() against sets."""

from __future__ import annotations

import random

from support.group_frames import ROWS, cut_or_flipped

from omni_core.dataplane.groups import GroupKey, GroupPolicy, group_key, is_watched, targets


def slow(frame: bytes) -> tuple[GroupKey | None, bool]:
    """(key, watched), field by field. Where one is missing, IndexError says so."""
    rest = list(frame[12:])
    tags = 0
    while tags < 2 and len(rest) >= 6 and rest[0:2] in ([0x81, 0x00], [0x88, 0xA8]):
        rest, tags = rest[4:], tags + 1
    is_ip4, is_ip6 = rest[0:2] == [0x08, 0x00], rest[0:2] == [0x86, 0xDD]
    mac = frame[0:6].hex()
    port, watched, listening = 0, False, False
    try:
        packet = rest[2:]
        if is_ip4 and packet[0] >> 4 == 4 and packet[0] % 16 >= 5 and packet[packet[0] % 16 * 4 - 1] >= 0:
            protocol, body = packet[9], packet[packet[0] % 16 * 4 :]
            listening = protocol == 2
            has_udp = protocol == 17 and packet[6] % 32 * 256 + packet[7] == 0
        elif is_ip6 and packet[0] >> 4 == 6:
            protocol, body = packet[6], (packet[39], packet[40:])[1]
            if protocol == 0:
                protocol, body = (body[7], body[0])[1], body[8 * body[1] + 8 :]
            listening = protocol == 58 and body[0] in (130, 131, 132, 143)
            has_udp = protocol == 17
        else:
            has_udp = False
        if has_udp:
            port = (body[7], body[2] * 256 + body[3])[1]
            watched = port in range(7400, 65536, 250) and bytes(body[8:12]) == b"RTPS"
    except IndexError:
        pass
    v4 = is_ip4 and mac.startswith("01005e") and mac[6] in "01234567" and mac[6:10] != "0000"
    v6 = is_ip6 and mac.startswith("3333") and mac[4:6] != "ff" and mac[4:10] != "000000"
    pruned = (v4 or v6) and not listening
    return ((frame[0:6], port) if pruned else None), (watched or listening) and bool(frame[0] & 1)


def test_50_000_frames(seed: int) -> None:
    draw = random.Random(seed)
    seen = set()
    for _ in range(50_000):
        frame = cut_or_flipped(draw)
        expected = slow(frame)
        assert (group_key(frame), is_watched(frame)) == expected, frame.hex()
        seen.add((expected[0] is None, bool(expected[0] and expected[0][1]), expected[1]))
    assert len(seen) == 5, "pruned by port (watched or not), pruned without, and not pruned (watched or not)"


def test_any_bytes(seed: int) -> None:
    draw = random.Random(seed)
    for size in [*range(60), *range(60)]:
        frame = draw.randbytes(size)
        assert targets(frame, (1, 2), GroupPolicy()) in ((), (1, 2))
        assert is_watched(frame) in (True, False)
        assert is_watched(frame) <= bool(frame and frame[0] & 1)


def test_targets_are_those_of_the_flood_that_are_listed(seed: int) -> None:
    draw = random.Random(seed)
    peers = range(1, 9)

    def some() -> frozenset[int]:
        return frozenset(draw.sample(peers, draw.randrange(9)))

    keys = [row.key for row in ROWS if row.key is not None]
    for _ in range(3000):
        known = {key: some() for key in draw.sample(keys, draw.randrange(len(keys)))}
        known |= {(mac, 0): some() for mac, _ in draw.sample(keys, 5)}
        policy = GroupPolicy(known, some(), draw.random() < 0.5)
        flood = draw.sample(peers, draw.randrange(9))
        row = draw.choice(ROWS)
        got = targets(row.frame, flood, policy)
        if row.key is None:
            wanted = set(flood)
        elif row.key in known:
            wanted = set(flood) & known[row.key]
        else:
            wanted = set(flood) & known.get((row.key[0], 0), policy.elsewhere)
        assert set(got) == wanted
        assert list(got) == [peer for peer in flood if peer in wanted], "in the order of the flood set"
        assert list(targets(row.frame, flood, None)) == flood
