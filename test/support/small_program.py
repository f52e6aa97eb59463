"""A BPF program of two instructions, for what only has to be attached: it gives every packet the same verdict."""

from __future__ import annotations

import ctypes
import struct

from omni_core.io.synapse import bpf_call
from omni_core.io.synapse.syscalls import BpfProgram

XDP_DROP, XDP_PASS = 1, 2  # linux/bpf.h
_PROG_LOAD = 5
_XDP = 6  # BPF_PROG_TYPE_XDP


def small_program(verdict: int = XDP_PASS, name: str = "somebody_else") -> BpfProgram:
    """Loaded; gone when it is closed and nowhere attached."""
    code = struct.pack("=BBhi", 0xB7, 0, 0, verdict) + struct.pack("=BBhi", 0x95, 0, 0, 0)  # r0 = verdict; exit
    instructions, license = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    attributes = bpf_call.attributes(
        "IIQQIIQII16s",
        *(_XDP, len(code) // 8, ctypes.addressof(instructions), ctypes.addressof(license), 0, 0, 0, 0, 0),
        name.encode()[:15],
    )
    return BpfProgram(bpf_call.call(_PROG_LOAD, attributes))
