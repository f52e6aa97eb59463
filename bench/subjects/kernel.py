"""Both lanes: Synapse in the kernel (XDP and TC programs), and the native engine for elephants."""

from __future__ import annotations

from bench.omni import OmniSubject


def create() -> OmniSubject:
    return OmniSubject("kernel", "in-kernel engine (Synapse: XDP and TC), elephants through the native engine")
