"""The compiler step: a short-lived process that compiles, loads and pins, so that LLVM is never in ours.

``python -m omni_core.io.synapse.compiler``: one request as JSON on standard input (``Request``), an answer as JSON on
standard output, messages of clang and of the verifier on standard error. Exit code 0: everything is pinned in
``directory``; 1: nothing is. The only module that imports bcc; besides that, standard library only.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import inspect
import json
import os
import platform
import signal
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypedDict

from omni_core.io.synapse import bpffs, syscalls
from omni_core.io.synapse.bpf_call import MapType, ProgramType

PROGRAM_TYPES = {"xdp": ProgramType.XDP, "xdp_cpumap": ProgramType.XDP, "sched_cls": ProgramType.SCHED_CLS}
ATTACH_TYPES = {"xdp_cpumap": 35}  # BPF_XDP_CPUMAP, linux/bpf.h; the others need none
BUILD_MAP = "map_build"
_PR_SET_PDEATHSIG = 1


class Request(TypedDict):
    text: str  # the whole source
    compat: str  # directory of our stand-ins for kernel headers
    defines: dict[str, int]
    programs: dict[str, str]  # function -> "xdp" or "sched_cls"
    directory: str  # in a bpffs; replaced
    build: str  # 32 bytes in hex, kept in the pinned map map_build
    bcc: str  # directory that holds the package bcc


def bcc_directory(path: Iterable[str]) -> str | None:
    """Where the package bcc is: in ``path``, or where distributions put it. PyPI's bcc is another library."""
    candidates = [*path, "/usr/lib/python3/dist-packages"]
    candidates += map(
        str, [*Path("/usr/lib").glob("python3*/site-packages"), *Path("/usr/local/lib").glob("python3*/*-packages")]
    )
    return next((where for where in candidates if where and Path(where, "bcc/libbcc.py").is_file()), None)


def system_headers() -> list[str] | None:
    """Directories of the system's UAPI headers, the machine's own first; None where they are not installed."""
    machine = [sysconfig.get_config_var("MULTIARCH"), f"{platform.machine()}-linux-gnu", "."]
    for name in machine:
        if name and Path("/usr/include", name, "asm/types.h").is_file():
            return list(dict.fromkeys([os.path.normpath(f"/usr/include/{name}"), "/usr/include"]))
    return None


def compile_and_pin(request: Request) -> dict[str, Any]:
    """Pins ``prog_<name>`` and ``map_<name>``, all or none. Raises what bcc or the kernel says."""
    os.environ["BCC_KERNEL_SOURCE"] = request["compat"]
    module = _import_bcc(request["bcc"])
    defines = {"PAGE_SIZE": os.sysconf("SC_PAGE_SIZE"), **request["defines"]}
    flags = [f"-D{name}={value}" for name, value in defines.items()]
    for directory in system_headers() or []:
        flags += ["-isystem", directory]
    loaded = module.BPF(text=request["text"].encode(), cflags=flags)
    library = module.lib
    functions = {}
    for name, kind in request["programs"].items():
        options = {"attach_type": ATTACH_TYPES[kind]} if kind in ATTACH_TYPES else {}
        if options and "attach_type" not in inspect.signature(loaded.load_func).parameters:
            continue  # bcc before 0.21: without this program
        functions[name] = loaded.load_func(name.encode(), int(PROGRAM_TYPES[kind]), **options).fd
    tables = _tables(library, loaded.module)
    final = Path(request["directory"])
    fresh = bpffs.staging(final)
    bpffs.remove_tree(fresh)
    fresh.mkdir(mode=0o700)
    try:
        for name, fd in functions.items():
            syscalls.obj_pin(fd, fresh / f"prog_{name}")
        for name, fd in tables.items():
            syscalls.obj_pin(fd, fresh / f"map_{name}")
        with syscalls.create_map("build", MapType.ARRAY, 4, 32, 1) as build:
            build.update(bytes(4), bytes.fromhex(request["build"]))
            syscalls.obj_pin(build.fd, fresh / BUILD_MAP)
        bpffs.replace_tree(fresh, final)
    except BaseException:
        bpffs.remove_tree(fresh)
        raise
    return {"programs": sorted(functions), "maps": sorted(tables)}


def _import_bcc(directory: str) -> Any:
    # Behind everything else: nothing but bcc is wanted from there.
    if importlib.machinery.PathFinder.find_spec("bcc", [directory]) is None:
        raise ImportError(f"no bcc in {directory}")
    sys.path.append(directory)
    import bcc

    return bcc


def _tables(library: Any, module: Any) -> dict[str, int]:
    """Name -> descriptor of every map of the module. bcc's python half has no list of them, its C half has."""
    for name, result in (("bpf_num_tables", ctypes.c_size_t), ("bpf_table_name", ctypes.c_char_p)):
        getattr(library, name).restype = result
    library.bpf_num_tables.argtypes = [ctypes.c_void_p]
    library.bpf_table_name.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    names = [library.bpf_table_name(module, i) for i in range(library.bpf_num_tables(module))]
    return {name.decode(): library.bpf_table_fd(module, name) for name in names}


def _end_with_parent() -> None:
    """Pins of a compiler step whose process was killed would turn up beside those of the next one (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def main() -> int:
    _end_with_parent()
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # bcc and clang write messages there
    request: Request = json.load(sys.stdin)
    try:
        json.dump(compile_and_pin(request), answer)
    except (
        BaseException
    ) as problem:  # bcc raises nothing more precise than Exception; and nobody reads a traceback here
        json.dump({"error": str(problem) or repr(problem), "errno": getattr(problem, "errno", 0) or 0}, answer)
        answer.flush()
        return 1
    answer.flush()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # without bcc's clean-up at exit: the kernel does that
