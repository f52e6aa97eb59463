"""Who gets group frames, in the maps: synapse_out clones one for each peer of the flood set."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping

from omni_core.io.synapse import abi
from omni_core.io.synapse.syscalls import BpfMap
from omni_core.types import PeerId

_U32 = struct.Struct("=I")


class KernelGroups:
    """``maps``: those of the module. ``config``: its entry, which ``write_config`` puts into its map. What the maps
    hold of an earlier process is taken over."""

    def __init__(self, maps: Mapping[str, BpfMap], config: abi.Config, write_config: Callable[[], None]) -> None:
        self._flood = maps["flood"]
        self._config = config
        self._write_config = write_config
        self.peers: tuple[PeerId, ...] = ()
        if config.flood_count != abi.FLOOD_SLOW:
            flood = (self._flood.lookup(_U32.pack(index)) for index in range(config.flood_count))
            self.peers = tuple(_U32.unpack(value)[0] for value in flood if value is not None)

    def set_flood(self, peers: Iterable[PeerId]) -> None:
        """More than abi.FLOOD of them: the Ganglion floods."""
        self.peers = tuple(dict.fromkeys(peers))
        fits = len(self.peers) <= abi.FLOOD
        if fits:
            for index, peer in enumerate(self.peers):
                self._flood.update(_U32.pack(index), _U32.pack(peer))
        self._config.flood_count = len(self.peers) if fits else abi.FLOOD_SLOW
        self._write_config()

    def remove_peer(self, peer: PeerId) -> None:
        if peer in self.peers:
            self.set_flood([each for each in self.peers if each != peer])
