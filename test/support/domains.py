"""DDS domains that Ganglia know of each other, for tests with real participants."""

from __future__ import annotations

from omni_core.engines.discovery.listening import SETTLE
from tools.dds_fleet import DdsRobot

SETTLED = SETTLE + 20.0  # s; a Ganglion that has just started does not know who is there


def apart(a: DdsRobot, b: DdsRobot, domain_a: int, domain_b: int) -> bool:
    """a knows in which domain b is; not in a's, if that is another."""
    told = a.peer(b.name).get("domains", [])
    return domain_b in told and (domain_a == domain_b or domain_a not in told)
