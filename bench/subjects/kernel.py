"""The engine in the kernel: Synapse, XDP and TC programs."""

from __future__ import annotations

from bench.omni import OmniSubject


def create() -> OmniSubject:
    return OmniSubject("kernel", "in-kernel engine (Synapse: XDP and TC)")
