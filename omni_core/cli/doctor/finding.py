"""One line of `omni doctor`, and the machine that a check looks at (a test gives it another one)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path

from omni_core.errors import OmniError


class Level(Enum):
    OK = "ok"
    NOTE = "note"  # worth knowing; nothing suffers now
    WARNING = "warning"  # omni runs; robots will suffer
    PROBLEM = "problem"  # omni cannot run


@dataclass(frozen=True)
class Finding:
    check: str
    level: Level
    text: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        return {**asdict(self), "level": self.level.value}


def ok(check: str, text: str) -> Finding:
    return Finding(check, Level.OK, text)


def note(check: str, text: str, fix: str = "") -> Finding:
    return Finding(check, Level.NOTE, text, fix)


def warning(check: str, text: str, fix: str) -> Finding:
    return Finding(check, Level.WARNING, text, fix)


def problem(check: str, text: str, fix: str) -> Finding:
    return Finding(check, Level.PROBLEM, text, fix)


@dataclass(frozen=True)
class Machine:
    """Where files and environment variables are read."""

    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    def path(self, absolute: str) -> Path:
        return self.root / absolute.lstrip("/")

    def read(self, absolute: str) -> str | None:
        """A small text file, stripped; None when it is missing or unreadable."""
        try:
            return self.path(absolute).read_text(errors="replace").strip()
        except OSError:
            return None


def refused(check: str, error: OmniError) -> Finding:
    """What `omni up` would stop at."""
    text, fix = getattr(error, "problem", str(error)), getattr(error, "fix", "")
    field = getattr(error, "field", check)
    return problem(check, text if field == check else f"{field}: {text}", fix)
