"""The userspace engine in python."""

from __future__ import annotations

from bench.omni import OmniSubject


def create() -> OmniSubject:
    return OmniSubject("python", "userspace engine (TAP, python)")
