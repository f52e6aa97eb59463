"""The engine in the kernel without the bulk lane."""

from __future__ import annotations

from bench.omni import OmniSubject


def create() -> OmniSubject:
    return OmniSubject("kernel", "in-kernel engine alone", name="kernel-1-lane", bulk_lane="off")
