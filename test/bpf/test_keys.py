"""Key material: only in maps, gone from them with its session, and read by nobody."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from support.planes import key_pair
from support.synapse import MakeRig, Rig

from omni_core.errors import LocalMisuse
from omni_core.io.synapse import abi, slots, syscalls

pytestmark = pytest.mark.netns

ROOT = Path(__file__).parents[2]
SECRET_MAPS = ("session_keys", "sessions", "notes")  # and streams, which packets fill


def used_slots(rig: Rig, name: str) -> int:
    return sum(1 for _, value in rig.maps[name].items() if any(value))


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    return make_rig()


def test_keys_are_zeroed_with_the_session(rig: Rig, seed: int) -> None:
    draw = random.Random(seed)
    sessions = [key_pair(draw, peer)[0] for peer in range(1, 6)]
    for keys in sessions:
        rig.plane.add_session(keys, time.monotonic())
        rig.plane.use_session(keys.receive_id)
        rig.plane.remember(keys.receive_id, b"note")
    held = {bytes(keys.send_key + keys.receive_key) for keys in sessions}
    assert {value for _, value in rig.maps["session_keys"].items() if any(value)} == held
    for keys in sessions[:2]:
        rig.plane.remove_session(keys.receive_id)
    rig.plane.remove_peer(sessions[2].peer)
    syscalls.grace()
    rig.plane.detach()  # waits for the wipes; leaves the others
    assert [used_slots(rig, name) for name in SECRET_MAPS] == [2, 2, 2]


def test_nothing_is_left_after_close(rig: Rig, seed: int) -> None:
    draw = random.Random(seed)
    for peer in range(1, 9):
        keys, _ = key_pair(draw, peer)
        rig.plane.add_session(keys, time.monotonic())
        rig.plane.remember(keys.receive_id, b"note")
        if peer % 2:
            rig.plane.remove_session(keys.receive_id)
    for _ in range(2):
        rig.plane.close()
    assert [used_slots(rig, name) for name in SECRET_MAPS] == [0, 0, 0]
    assert rig.maps["session_slots"].keys() == []


def test_the_callers_keys_are_copied_and_the_copy_is_wiped(
    rig: Rig, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing in this process keeps them: neither the object that was given to the map, nor the map's buffer."""
    given: list[bytearray] = []
    original = syscalls.BpfMap.update_secret

    def watched(held: syscalls.BpfMap, key: bytes, value: bytearray) -> None:
        given.append(value)
        original(held, key, value)
        assert not any(held._value.raw)

    monkeypatch.setattr(syscalls.BpfMap, "update_secret", watched)
    keys, _ = key_pair(random.Random(seed))
    before = bytes(keys.send_key), bytes(keys.receive_key)
    rig.plane.add_session(keys, time.monotonic())
    assert given and not any(given[0])
    assert (keys.send_key, keys.receive_key) == before, "the caller's are the caller's to wipe"


def test_no_slot_is_left(rig: Rig, seed: int) -> None:
    draw = random.Random(seed)
    held = slots.SessionSlots(rig.maps)
    try:
        for number in range(abi.SESSIONS):
            held.add(1, number, number + 1, bytearray(64), 0)
        refused = bytearray(draw.randbytes(64))
        with pytest.raises(LocalMisuse, match="2048 sessions already"):
            held.add(1, 5, 1 << 40, refused, 0)
        assert not any(refused)
        held.remove(1)
        held.add(1, 5, 1 << 40, bytearray(64), 0)  # waits for the wipe of that one
        for receive_id in held.ids():
            held.remove(receive_id)
    finally:
        held.close()


def test_keys_are_read_for_a_new_engine_only() -> None:
    """``session_keys`` is named in one file besides the programs, and read in one place, by one caller."""
    paths = list((ROOT / "omni_core/io").rglob("*.py"))
    naming = [path for path in paths if "session_keys" in path.read_text()]
    assert [path.name for path in naming] == ["slots.py"]
    lines = [line.strip() for line in naming[0].read_text().splitlines() if "_keys." in line]
    assert lines == [
        "self._keys.update_secret(at, keys)",
        "both = self._keys.lookup_secret(_SLOT.pack(self.slot(receive_id)))",
    ]
    assert [path.name for path in paths if ".read_keys(" in path.read_text()] == ["bulk.py"]


def test_what_was_read_is_the_readers_only(rig: Rig, seed: int) -> None:
    keys, _ = key_pair(random.Random(seed))
    rig.plane.add_session(keys, time.monotonic())
    assert rig.plane._slots.read_keys(keys.receive_id) == (keys.send_key, keys.receive_key)
    assert not any(rig.maps["session_keys"]._value.raw)
