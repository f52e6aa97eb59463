"""The reference: the two hosts over the lab's veth pairs and bridge, nothing in between."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from bench.subjects import Addresses, Kind
from tools.netlab import Host, Lab


class Raw:
    name = "raw"
    description = "veth and bridge, no overlay"
    kind: Kind = "reference"

    def missing_packages(self) -> Sequence[str]:
        return ()

    def version(self) -> str:
        return platform.release()

    def unavailable(self) -> str | None:
        return None

    def up(self, lab: Lab, a: Host, b: Host) -> Addresses:
        assert a.ipv4 is not None and b.ipv4 is not None
        return Addresses(a.ipv4, b.ipv4)

    def down(self) -> None:
        pass


def create() -> Raw:
    return Raw()
