"""Kernel settings that DDS wants for large messages: the ROS 2 DDS tuning guide, and that of Cyclone DDS."""

from __future__ import annotations

from typing import NamedTuple


class Setting(NamedTuple):
    key: str  # as sysctl(8) has it
    wanted: int
    at_least: bool  # more is as good; else less is
    why: str

    def is_good(self, value: int) -> bool:
        return value >= self.wanted if self.at_least else value <= self.wanted

    @property
    def path(self) -> str:
        return "/proc/sys/" + self.key.replace(".", "/")


SETTINGS = (
    Setting("net.ipv4.ipfrag_time", 3, False, "one lost fragment blocks reassembly for that many seconds"),
    Setting("net.ipv4.ipfrag_high_thresh", 134_217_728, True, "large messages on a lossy link fill it up"),
    Setting("net.core.rmem_max", 16_777_216, True, "DDS asks for large receive buffers for images and point clouds"),
)
