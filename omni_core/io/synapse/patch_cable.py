"""A patch cable between omni0-syn and omni0-tap, for the engine python on the devices of the engine kernel.

Whatever arrives at one leaves by the other, so omni0-tap is to this process what a TAP named omni0 would be, and omni0
itself stays as it is: addresses, routes, multicast memberships. One TC program of four instructions on each side, in
the place of synapse_out; put together here, as it is too short for a compiler.
"""

from __future__ import annotations

import ctypes
import struct
from typing import Final

from omni_core.io.synapse import bpf_call
from omni_core.io.synapse.bpf_call import Command, ProgramType
from omni_core.io.synapse.syscalls import BpfProgram

NAME: Final = "synapse_patch"

_INSTRUCTION = struct.Struct("=BBhi")  # opcode; registers, destination in the low half; offset; immediate
_MOV_IMMEDIATE, _CALL, _EXIT = 0xB7, 0x85, 0x95  # bpf(2), linux/bpf.h
_REDIRECT = 23  # bpf_redirect(ifindex in r1, flags in r2)


def patch_program(ifindex: int) -> BpfProgram:
    """Sends every packet out of this interface. Gone when it is closed and nowhere attached. Raises SystemRefused."""
    code = b"".join(
        _INSTRUCTION.pack(*each)
        for each in (
            (_MOV_IMMEDIATE, 1, 0, ifindex),
            (_MOV_IMMEDIATE, 2, 0, 0),
            (_CALL, 0, 0, _REDIRECT),
            (_EXIT, 0, 0, 0),
        )
    )
    instructions = ctypes.create_string_buffer(code, len(code))
    license = ctypes.create_string_buffer(b"Apache-2.0")
    attributes = bpf_call.attributes(
        "IIQQIIQII16s",
        *(ProgramType.SCHED_CLS, len(code) // _INSTRUCTION.size),
        *(ctypes.addressof(instructions), ctypes.addressof(license)),
        *(0, 0, 0, 0, 0),  # no log, any kernel version
        NAME.encode(),
    )
    with bpf_call.translated(NAME):
        return BpfProgram(bpf_call.call(Command.PROG_LOAD, attributes))
