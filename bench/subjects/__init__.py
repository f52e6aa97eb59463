"""What can be measured: one file each, found by being here. A file has one function ``create() -> Subject``."""

from __future__ import annotations

import importlib
import pkgutil
from typing import NamedTuple, Protocol

from tools.netlab import Host, Lab


class Addresses(NamedTuple):
    """IP addresses that lead from one host to the other through the subject."""

    a: str
    b: str


class Subject(Protocol):
    @property
    def name(self) -> str:
        """Short, unique; names the row of the table. The reference is called ``raw``."""

    @property
    def description(self) -> str: ...

    def unavailable(self) -> str | None:
        """Why it cannot be measured on this machine, with the fix; None when it can."""

    def up(self, lab: Lab, a: Host, b: Host) -> Addresses:
        """Connect the hosts; returns when packets cross. Several subjects are up at once: use names of your own."""

    def down(self) -> None:
        """Undo ``up``. Idempotent."""


def find() -> dict[str, Subject]:
    """All subjects by name, ``raw`` first."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    subjects: list[Subject] = [module.create() for module in modules]
    return {subject.name: subject for subject in sorted(subjects, key=lambda s: (s.name != "raw", s.name))}
