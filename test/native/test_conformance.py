"""The python engine's tests, with the native engine at one end: what a rule of the port means, it means for both.

Each test runs twice, with the native engine as A (which mostly seals) and as B (which mostly opens); the other end is
the python one, so every frame also crosses from one engine to the other.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from support.planes import MAC_A, MAC_B, PEER_A, Pair, frame
from unit import test_userspace_groups, test_userspace_sessions, test_userspace_switching
from unit.test_userspace_switching import BEHIND_A, owners

from omni_core.dataplane.port import FdbEntry

pytestmark = pytest.mark.netns

# Why a test of the python engine says nothing about the native one.
LEFT_OUT = {
    "test_packet_by_another_implementation": "makes a python engine",
    "test_nothing_is_opened_or_sealed_past_the_message_limit": "looks into the python engine",
    "test_keys_are_wiped_on_removal_and_on_close": "watches python's ciphers",
    "test_a_peer_without_a_path_gets_one_from_its_first_packet": "makes a python engine",
    "test_limits_reach_the_table": "makes a python engine",
    "test_fdb_shows_ages_and_tick_drops_the_old": "the engine looks every two seconds; below with more time",
    "test_setters_are_idempotent": "digests the python engine",
}


@pytest.fixture(params=["native is A", "native is B"])
def pair(request: pytest.FixtureRequest, make_driven: Callable[..., Any], seed: int) -> Pair:
    if request.param == "native is A":
        return Pair(random.Random(seed), a=make_driven(MAC_A))
    return Pair(random.Random(seed), b=make_driven(MAC_B))


def _tests_of(module: object) -> dict[str, Callable[..., None]]:
    return {name: test for name, test in vars(module).items() if name.startswith("test_") and callable(test)}


MODULES = (test_userspace_sessions, test_userspace_switching, test_userspace_groups)
ALL = {name: test for module in MODULES for name, test in _tests_of(module).items()}
globals().update({name: test for name, test in ALL.items() if name not in LEFT_OUT})


def test_what_is_left_out_exists() -> None:
    assert set(LEFT_OUT) <= set(ALL)


def test_ages_are_shown_and_the_old_are_dropped(pair: Pair) -> None:
    pair.into_b(pair.sealed_by_a([frame(MAC_B, BEHIND_A)]))
    assert set(pair.b.fdb(pair.now + 10.0)) == {
        FdbEntry(MAC_B, None, None, True, 0.0),
        FdbEntry(MAC_A, None, PEER_A, True, 0.0),
        FdbEntry(BEHIND_A, 0, PEER_A, False, 10.0),
    }
    pair.b.tick(pair.now + 298.0)
    assert (BEHIND_A, 0) in owners(pair.b)
    pair.b.tick(pair.now + 300.0)
    assert (BEHIND_A, 0) not in owners(pair.b)
