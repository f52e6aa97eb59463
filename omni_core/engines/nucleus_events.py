"""What a Nucleus reports to its owner, for logs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from omni_core.signaling.messages import Status
from omni_core.signaling.store import ChangeKind
from omni_core.types import Endpoint, PublicKey


@dataclass(frozen=True)
class EdgeChanged:
    """An edge came, moved or went, whichever Nucleus it was registered at."""

    kind: ChangeKind
    cluster: str
    key: PublicKey
    name: str  # from its record; "": it has none
    vip4: str  # "": none
    endpoint: Endpoint  # where it was seen


@dataclass(frozen=True)
class EdgeRefused:
    """A registration that was not taken. ``reason``: the sentence that the edge was told."""

    cluster: str  # as the edge wrote it
    key: PublicKey
    endpoint: Endpoint
    status: Status
    reason: str


@dataclass(frozen=True)
class StoreChanged:
    """The store that several Nuclei share is ``available`` again, or is not."""

    available: bool
    text: str


@dataclass(frozen=True)
class DrainChanged:
    """Draining began, or is over (``done``): the owner may stop."""

    done: bool
    edges: int  # that are still registered here


NucleusEvent: TypeAlias = EdgeChanged | EdgeRefused | StoreChanged | DrainChanged
