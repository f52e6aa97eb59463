"""The native engine beside the python one: the same sessions, frames and datagrams for both, step by step.

After each step both must have sealed the same bytes for the same places, delivered the same frames, told the same and
dropped for the same reasons.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bpf.test_oracle import OWN, Twins
from support.native_rig import DrivenNative, NativeRig

from bpf import test_oracle
from omni_core.constants import MAX_FRAME
from omni_core.drops import DropReason
from omni_core.io.native.protocol import Way

pytestmark = [pytest.mark.netns, pytest.mark.usefixtures("network", "engine_built")]

STEPS = 5000


class NativeTwins(Twins):
    kernel: Any  # the native one

    def held(self) -> set[int]:
        return set(self.kernel.native._sessions)

    def compare(self) -> None:
        for take in ("take_datagrams", "take_frames", "take_events", "drops"):
            mine, expected = (getattr(each, take)() for each in (self.kernel, self.python))
            assert mine == expected, take
            if take == "take_events":
                self.seen.update(type(event).__name__ for event in expected)


def test_both_do_the_same(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_oracle, "MAX_FRAME", MAX_FRAME)
    monkeypatch.setattr(test_oracle, "SIZES", [*test_oracle.SIZES[:-1], MAX_FRAME])
    rig = NativeRig(tmp_path)
    try:
        twins = NativeTwins(DrivenNative(rig, OWN), seed)
        for number in range(STEPS):
            twins.step()
            if number % 50 == 0:
                twins.compare_all()
        twins.compare_all()
        assert set(twins.python.drops()) >= {
            DropReason.TOO_SHORT, DropReason.TOO_LONG, DropReason.UNKNOWN_SESSION, DropReason.BAD_NONCE,
            DropReason.REPLAYED, DropReason.BAD_TAG, DropReason.SESSION_EXPIRED, DropReason.BAD_INNER_FRAME,
            DropReason.SOURCE_MAC_REFUSED,
            DropReason.SPLIT_HORIZON, DropReason.RESERVED_DESTINATION, DropReason.NO_SESSION,
            DropReason.FRAME_TOO_LONG, DropReason.NO_PATH,
        }  # fmt: skip
        assert {"Confirmed", "EndpointMoved", "ControlFrame", "Unresolved", "groups", "to_port"} <= set(twins.seen)
        assert set(twins.kernel.native.ways()) >= {Way.TX_GROUP, Way.TX_NOBODY, Way.TX_WATCHED, Way.RX_LOCAL}
    finally:
        rig.close()
