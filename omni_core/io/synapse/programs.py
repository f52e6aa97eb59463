"""The programs of the module: which there are, and how they reach each other."""

from __future__ import annotations

import os
import struct
from typing import Final

from omni_core.io.synapse import abi
from omni_core.io.synapse.loader import Loaded

_U32 = struct.Struct("=I")
_CPU = struct.Struct("=Ii")  # struct bpf_cpumap_val: queue size, program

QUEUE = 1024  # frames of one elephant that wait for a CPU; a core opens them in about 6 ms, less than HOLD of steer.h

RX_ON_CPU: Final = "synapse_rx_cpu"
ON_CPU: Final = {abi.Program.OPEN: "synapse_open_cpu", abi.Program.DELIVER: "synapse_deliver_cpu"}

KINDS: Final = {
    **{f"synapse_{program.name.lower()}": "xdp" for program in abi.Program},
    "synapse_tx": "xdp",
    "synapse_out": "sched_cls",
    "synapse_split": "sched_cls",
    "synapse_land": "sched_cls",
    RX_ON_CPU: "xdp_cpumap",
    **dict.fromkeys(ON_CPU.values(), "xdp_cpumap"),
}


def connect(loaded: Loaded) -> int:
    """Fills the program arrays and the CPU map; returns how many CPUs may open elephants (0: bcc or kernel cannot)."""
    for program in abi.Program:
        held = loaded.programs[f"synapse_{program.name.lower()}"]
        loaded.maps["programs"].update(_U32.pack(program), _U32.pack(held.fd))
    if RX_ON_CPU not in loaded.programs:
        return 0
    for program, name in ON_CPU.items():
        loaded.maps["cpu_programs"].update(_U32.pack(program), _U32.pack(loaded.programs[name].fd))
    count = 0
    for cpu in range(min(os.cpu_count() or 1, abi.CPUS)):
        try:
            loaded.maps["cpus"].update(_U32.pack(cpu), _CPU.pack(QUEUE, loaded.programs[RX_ON_CPU].fd))
        except OSError:  # not online, or a kernel without programs on CPU maps (before 5.9)
            break
        count += 1
    return count
