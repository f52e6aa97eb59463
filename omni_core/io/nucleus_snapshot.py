"""What metrics and health are made of: taken on the Nucleus's event loop, then for any thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from omni_core.engines.nucleus_status import NucleusStatus
from omni_core.io.meter import Histogram, Traffic


@dataclass(frozen=True)
class Snapshot:
    status: NucleusStatus
    active: bool
    traffic: Traffic
    lags: Histogram


@dataclass(frozen=True)
class Readiness:
    """``reason``: why the Nucleus is not ready; "" when it is. A shared store that is away is none: it serves on."""

    reason: str
    state: str
    draining: bool
    store: Mapping[str, object]
