"""The engine python on the devices of the engine kernel, after a switch at run time: omni0 stays.

The programs stay loaded but hang nowhere; sessions were ended with the engine before, so no key is used by two engines.
"""

from __future__ import annotations

import contextlib

from omni_core.errors import SystemRefused
from omni_core.io.journal import SynapseRuns
from omni_core.io.local_port import PortRequest, PythonPort, userspace_plane
from omni_core.io.netlink import Netlink
from omni_core.io.pump import taken_away
from omni_core.io.synapse import devices
from omni_core.io.synapse.attachments import detach_programs
from omni_core.io.synapse.devices import SynapseDevices
from omni_core.io.synapse.kernel_port import KernelPort, agreement
from omni_core.io.synapse.loader import Loaded
from omni_core.io.underlay import Underlay


class PatchedPort(PythonPort):
    def __init__(self, request: PortRequest, loaded: Loaded, made: SynapseDevices) -> None:
        super().__init__(made.tap, userspace_plane(request), made.mtu)
        self._loaded = loaded
        self._devices = made

    @classmethod
    def take_over(cls, port: KernelPort, request: PortRequest, netlink: Netlink) -> PatchedPort:
        """``port`` is used up. Frames of the local port get here from now on. Raises SystemRefused."""
        for peer in {session.peer for session in port.plane.adopted()}:  # of an earlier process, not taken up
            port.plane.remove_peer(peer)
        loaded, made = port.let_go()  # the programs drop everything now
        request.journal.replace([step for step in request.journal.steps if not isinstance(step, SynapseRuns)])
        devices.patch_through(made, loaded, netlink)
        detach_programs(_on_underlay(loaded), netlink)
        return cls(request, loaded, made)

    def give_back(self, request: PortRequest, netlink: Netlink) -> KernelPort:
        """The other way. Raises SystemRefused; then this port is as before, and may be used."""
        with contextlib.ExitStack() as undo:
            port = KernelPort(request, self._loaded, self._devices, adopt=False)
            undo.callback(port.let_go)
            undo.callback(devices.patch_through, self._devices, self._loaded, netlink)
            devices.attach_programs(self._devices, self._loaded, netlink)
            request.journal.add(agreement(request, self._loaded.build, self._devices.mtu))
            undo.pop_all()
        self.plane.close()
        return port

    def look_around(self, underlay: Underlay, netlink: Netlink) -> SystemRefused | None:
        missing = devices.missing_device(self._devices, netlink)
        return taken_away(missing) if missing else None

    def close(self, keep: bool) -> None:
        super().close(keep)
        self._loaded.close()


def _on_underlay(loaded: Loaded) -> list[int]:
    return [loaded.programs[name].id for name in KernelPort.ON_UNDERLAY]
