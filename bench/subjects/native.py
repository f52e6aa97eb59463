"""The native engine alone: no BPF."""

from __future__ import annotations

from bench.omni import OmniSubject


def create() -> OmniSubject:
    return OmniSubject("native", "native engine in userspace, alone")
