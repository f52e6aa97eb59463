"""Robots with Ganglia and real DDS participants in a lab of namespaces: for tests, benchmark and demo.

    with Lab("fleet") as lab:
        fleet = DdsFleet(lab, 5)
        fleet.start()
        talkers = Participants.fast(robot.host, "talk", fleet.environment(robot))
        talkers.new("alice", "talk", "chatter", domain=3)

The Ganglia are `omni up`, lighter than ROS nodes. Many participants share a process (see inside/), because to start an
interpreter costs more than to make a participant.
"""

from __future__ import annotations

from tools.dds_fleet.participants import Participants
from tools.dds_fleet.robots import DdsFleet, DdsRobot

__all__ = ["DdsFleet", "DdsRobot", "Participants"]
