"""One base error. Local misuse, the machine's refusals and remote violations are separate types.

``exit_code`` is what `omni` exits with; ``RemoteViolation.reason`` is the counter to raise. Exceptions of third-party
packages are translated where those packages are called and never cross that line.
"""

from __future__ import annotations

from omni_core.drops import DropReason


class OmniError(Exception):
    """Base of every error that omni_core raises on purpose."""

    exit_code = 1


class ConfigError(OmniError):
    """A value that a user gave is wrong. Names the field, the problem and the fix."""

    exit_code = 2

    def __init__(self, field: str, problem: str, fix: str) -> None:
        super().__init__(f"{field}: {problem}. Fix: {fix}")
        self.field = field
        self.problem = problem
        self.fix = fix


class SystemRefused(OmniError):
    """The machine does not allow what is needed (capability, device, port, interface). Same contract as ConfigError."""

    exit_code = 3

    def __init__(self, what: str, problem: str, fix: str) -> None:
        super().__init__(f"{what}: {problem}. Fix: {fix}")
        self.what = what
        self.problem = problem
        self.fix = fix


class RegistrationRefused(OmniError):
    """The Nucleus refused this edge; ``reason`` is the Nucleus's sentence."""

    exit_code = 4

    def __init__(self, reason: str) -> None:
        super().__init__(f"the Nucleus refused the registration: {reason}")
        self.reason = reason


class LocalMisuse(OmniError):
    """An engine was called in a way its docstring forbids: a bug in the caller."""


class RemoteViolation(OmniError):
    """Bytes from the network that are not what they should be. Never escapes an engine: it is counted and dropped."""

    reason: DropReason = DropReason.UNKNOWN_TYPE

    def __init__(self, reason: DropReason, detail: str = "") -> None:
        super().__init__(f"{reason.name.lower()}{': ' + detail if detail else ''}")
        self.reason = reason
