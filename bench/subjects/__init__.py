"""What can be measured: one file each, found by being here. A file has one function ``create() -> Subject``."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias

from tools.netlab import Host, Lab

Kind: TypeAlias = Literal["reference", "ours", "peer"]
KINDS: tuple[Kind, ...] = ("reference", "ours", "peer")

# Inside every overlay: no two of them share a host.
ADDRESS_A, ADDRESS_B, PREFIX_LENGTH = "10.77.0.1", "10.77.0.2", 24


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

    @property
    def kind(self) -> Kind: ...

    def missing_packages(self) -> Sequence[str]:
        """Debian packages that ``make bench`` should install for it."""

    def version(self) -> str: ...

    def unavailable(self) -> str | None:
        """Why it cannot be measured on this machine, with the fix; None when it can."""

    def up(self, lab: Lab, a: Host, b: Host) -> Addresses:
        """Connect the hosts; returns when packets cross. Raises LabError when they do not.

        The hosts are this subject's only, so names and addresses inside are free; ``lab.logs`` is common to all.
        """

    def down(self) -> None:
        """Undo ``up``. Idempotent."""


def find() -> dict[str, Subject]:
    """All subjects by name: ``raw``, ours, peers."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    subjects: list[Subject] = [module.create() for module in modules]
    return {subject.name: subject for subject in sorted(subjects, key=lambda s: (KINDS.index(s.kind), s.name))}
