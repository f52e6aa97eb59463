"""One registered edge, as the Nucleus keeps it."""

from __future__ import annotations

from dataclasses import dataclass

from omni_core.signaling.endpoints import PackedEndpoint
from omni_core.signaling.messages import PeerEntry
from omni_core.types import Mac, PublicKey


@dataclass(slots=True, eq=False)
class Edge:
    key: PublicKey
    cluster: str
    record: bytes  # signed; forwarded as it is
    version: int  # of the record, ns
    vip4: bytes  # 4 bytes, or none
    vip6: bytes  # 16 bytes
    mac: Mac
    observed: PackedEndpoint
    local: tuple[PackedEndpoint, ...]
    name: str = ""  # of the record
    change: int = 0  # number of its latest change in the cluster's log
    changed: float = 0.0  # when that was
    deadline: float = 0.0  # it has departed when no heartbeat came until then
    since: float = 0.0  # when it came; 0: not known
    nucleus: str = ""  # where it is registered, with a store that several Nuclei share

    @property
    def addresses(self) -> tuple[bytes, ...]:
        """What it is found by. The lengths differ (4, 16, 6, 32), so that one table holds all kinds."""
        return (self.vip4, self.vip6, self.mac, self.key) if self.vip4 else (self.vip6, self.mac, self.key)

    def entry(self) -> PeerEntry:
        return PeerEntry(self.record, (self.observed, *self.local))
