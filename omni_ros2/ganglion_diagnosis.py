"""All verdicts on one Ganglion, with what they need of the past: since when, how fast, what it warned of."""

from __future__ import annotations

import os

from rclpy.utilities import get_rmw_implementation_identifier

from omni_core.config.node_parameters import Limits
from omni_core.engines.status import GanglionStatus
from omni_ros2.diagnostics import (
    CLOCK,
    DROPS,
    NUCLEUS,
    DropRate,
    Verdict,
    clock_offset,
    data_plane_values,
    identity,
    nucleus_link,
    peer,
    peer_names,
    stale,
)
from omni_ros2.diagnostics_dds import DdsFacts, dds_setup, look, read_file

DDS_PERIOD = 10.0  # s between two looks at files and kernel settings
WARNING_KEPT = 60.0  # s that a warning of the Ganglion is shown


class GanglionDiagnosis:
    """Of one configuration."""

    def __init__(self, interface: str, *, judges_settings: bool = True) -> None:
        """``judges_settings``: kernel settings for DDS are the Ganglion's to make, so one that is bad is a trouble."""
        self._interface = interface
        self._judges_settings = judges_settings
        self.peers: list[str] = []  # tasks of the last verdicts
        self._drops = DropRate()
        self._nucleus_state = ""
        self._nucleus_since = 0.0
        self._warning = ("", 0.0)  # text and time
        self._facts: DdsFacts | None = None
        self._facts_taken = 0.0

    def warn(self, text: str, now: float) -> None:
        """The Ganglion warned of something. From any thread."""
        self._warning = text, now

    def verdicts(self, status: GanglionStatus, active: bool, limits: Limits, now: float) -> list[Verdict]:
        if status.nucleus_state != self._nucleus_state:
            self._nucleus_state, self._nucleus_since = status.nucleus_state, now
        warning, warned = self._warning
        vips = tuple(vip.partition("/")[0] for vip in (status.vip4, status.vip6) if vip)
        always = [
            identity(status, self._interface, warning if now - warned < WARNING_KEPT else ""),
            dds_setup(self._dds_facts(now), self._interface, vips, status.domains, self._judges_settings),
        ]
        names = peer_names(status.peers)
        if names or active:
            self.peers = list(names.values())
        if not active:
            self._drops.clear()
            return [*always, *stale([NUCLEUS, DROPS, CLOCK, *self.peers], "the node is inactive: nothing is forwarded")]
        return [
            *always,
            nucleus_link(status, now - self._nucleus_since, limits),
            self._drops.judge(status.drops, now, limits, data_plane_values(status)),
            clock_offset(names, status.peers, limits),
            *(peer(names[entry.public_key], entry, limits) for entry in status.peers),
        ]

    def _dds_facts(self, now: float) -> DdsFacts:
        if self._facts is None or now - self._facts_taken >= DDS_PERIOD:
            self._facts = look(os.environ, get_rmw_implementation_identifier(), read_file)
            self._facts_taken = now
        return self._facts
