"""The userspace engine in python."""

from __future__ import annotations

from bench.omni import OmniSubject


def create() -> OmniSubject:
    return OmniSubject("python", engine="python", number=0, description="userspace engine (TAP, python)")
