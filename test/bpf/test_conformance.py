"""The python engine's tests, with the kernel engine at one end: what a rule of the port means, it means for both.

Each test runs twice, with the kernel engine as A (which mostly seals) and as B (which mostly opens); the other end is
the python one, so every frame also crosses from one engine to the other.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from support.driven import DrivenPlane
from support.planes import MAC_A, MAC_B, PEER_B, Pair, frame
from support.synapse import MAX_FRAME, MakeRig
from unit import test_userspace_groups, test_userspace_sessions, test_userspace_switching

from omni_core.constants import DATA_OVERHEAD, REJECT_AFTER_TIME
from omni_core.dataplane import userspace
from omni_core.dataplane.port import Unresolved, UnresolvedReason
from omni_core.drops import DropReason
from omni_core.types import BROADCAST

pytestmark = pytest.mark.netns

MODULES = (test_userspace_sessions, test_userspace_switching, test_userspace_groups)

# Why a test of the python engine says nothing about the kernel one.
LEFT_OUT = {
    "test_nothing_is_opened_or_sealed_past_its_time": "tells of an expired session for a group frame; below without",
    "test_packet_by_another_implementation": "makes a python engine; test_transmit.py has every byte",
    "test_nothing_is_opened_or_sealed_past_the_message_limit": "looks into the python engine; rows have it",
    "test_keys_are_wiped_on_removal_and_on_close": "watches python's ciphers; test_keys.py",
    "test_a_peer_without_a_path_gets_one_from_its_first_packet": "makes a python engine; test_oracle.py",
    "test_peers_of_the_flood_set_without_a_session_are_named": "the kernel drops and counts such clones",
    "test_limits_reach_the_table": "makes a python engine; the bound is another, see test_transmit.py",
    "test_setters_are_idempotent": "digests the python engine; test_oracle.py",
}


@pytest.fixture(params=["kernel is A", "kernel is B"])
def pair(request: pytest.FixtureRequest, make_rig: MakeRig, seed: int, monkeypatch: pytest.MonkeyPatch) -> Pair:
    for module in (*MODULES, userspace):
        monkeypatch.setattr(module, "MAX_FRAME", MAX_FRAME)  # both engines have one limit
    monkeypatch.setattr(userspace, "_MAX_PACKET", DATA_OVERHEAD + MAX_FRAME)
    if request.param == "kernel is A":
        return Pair(random.Random(seed), a=DrivenPlane(make_rig(MAC_A), virtual=True))
    return Pair(random.Random(seed), b=DrivenPlane(make_rig(MAC_B), virtual=True))


def _tests_of(module: object) -> dict[str, Callable[..., None]]:
    return {name: test for name, test in vars(module).items() if name.startswith("test_") and callable(test)}


ALL = {name: test for module in MODULES for name, test in _tests_of(module).items()}
globals().update({name: test for name, test in ALL.items() if name not in LEFT_OUT})


def test_what_is_left_out_exists() -> None:
    assert set(LEFT_OUT) <= set(ALL)


def test_nothing_of_one_station_is_opened_or_sealed_past_its_time(pair: Pair) -> None:
    data = frame(MAC_B, MAC_A)
    in_time, late = pair.sealed_by_a([data, data])
    pair.now = 100.0 + REJECT_AFTER_TIME - 0.001
    assert pair.into_b([in_time]) == [data]
    assert len(pair.sealed_by_a([data])) == 1
    pair.now = 100.0 + REJECT_AFTER_TIME
    assert pair.into_b([late]) == []
    assert pair.b.drops() == {DropReason.SESSION_EXPIRED: 1}
    assert pair.sealed_by_a([data]) == []
    assert pair.a.take_events() == [Unresolved(data, UnresolvedReason.NO_SESSION, PEER_B)]
    pair.a.frames_to_peer(PEER_B, [data], pair.now)
    assert pair.a.take_datagrams() == []
    assert pair.a.drops() == {DropReason.SESSION_EXPIRED: 1}


@pytest.mark.parametrize("pair", ["kernel is A"], indirect=True)
def test_group_frames_for_peers_without_a_session_are_counted(pair: Pair) -> None:
    """The others get them. Python tells of such a peer; here the Ganglion keeps up the sessions of the flood set."""
    pair.a.set_flood([7, PEER_B, 9])
    sent = frame(BROADCAST, MAC_A)
    assert pair.into_b(pair.sealed_by_a([sent])) == [sent]
    assert pair.a.take_events() == []
    assert pair.a.drops() == {DropReason.NO_SESSION: 2}
    looked_for = frame(BROADCAST, MAC_A, 0x0806)
    assert pair.into_b(pair.sealed_by_a([looked_for])) == [looked_for]
    assert pair.a.take_events() == [Unresolved(looked_for, UnresolvedReason.NO_SESSION, peer) for peer in (7, 9)]
