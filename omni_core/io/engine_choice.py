"""Which engine moves the frames here: the one in the kernel where this machine allows it, else the native one in a
process of its own, else the one in python."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from omni_core.errors import ConfigError, OmniError, SystemRefused
from omni_core.io.journal import Journal, NativeRuns, SynapseRuns
from omni_core.io.local_port import LocalPort, PortRequest, PythonPort
from omni_core.io.native.port import NativePort
from omni_core.io.netlink import Netlink
from omni_core.io.synapse.kernel_port import KernelPort
from omni_core.io.synapse.patched_port import PatchedPort
from omni_core.io.undo import undo

logger = logging.getLogger(__name__)

_BEST_FIRST = ("kernel", "native", "python")


class Opened(NamedTuple):
    port: LocalPort
    reason: str  # why not a better one that might have been; "" when it is the best, or nobody asked for better
    adopted: bool
    refused: str = ""  # why not the one that was asked for by its name


def what_runs(journal: Journal) -> SynapseRuns | NativeRuns | None:
    """What an earlier process has left running, by its journal."""
    return next((step for step in journal.steps if isinstance(step, (SynapseRuns, NativeRuns))), None)


def may_adopt(engine: str, journal: Journal) -> bool:
    """Whether an earlier process left an engine running that ``open_port`` could adopt."""
    left = what_runs(journal)
    return left is not None and engine in ("auto", "kernel" if isinstance(left, SynapseRuns) else "native")


def open_port(request: PortRequest, netlink: Netlink) -> Opened:
    """Adopt what runs, or make it. Raises ConfigError or SystemRefused; then the caller undoes the journal.

    Blocking: call it from a worker thread.
    """
    wanted = request.config.engine
    left = what_runs(request.journal)
    if left is not None and may_adopt(wanted, request.journal):
        try:
            if isinstance(left, SynapseRuns):
                return Opened(KernelPort.adopt(request, netlink), "", True)
            return Opened(NativePort.adopt(request, left, netlink), left.reason, True)
        except OmniError as error:
            what = "what runs in the kernel" if isinstance(left, SynapseRuns) else "the native engine that runs"
            logger.warning("%s is made anew: %s", what, _sentence(error))
    if request.journal.steps:
        undo(request.journal, netlink)
        request.udp.reopen()  # it may have been opened beside a native engine
    return _first_of(_BEST_FIRST if wanted == "auto" else (wanted,), request, netlink)


def switch_port(port: LocalPort, request: PortRequest, netlink: Netlink) -> Opened:
    """From ``port``, which is used up, to the engine that ``request.config`` names. Its sessions have ended.

    Between the engines kernel and python the overlay interface stays as it is where it was made for the kernel; else it
    is made anew. Where the engine is refused the one before goes on, and ``refused`` says why. Raises as
    ``open_port``; then nothing is left. Blocking.
    """
    wanted = request.config.engine
    if wanted == "python" and isinstance(port, KernelPort):
        return Opened(PatchedPort.take_over(port, request, netlink), "", False)
    if wanted in ("auto", "kernel") and isinstance(port, PatchedPort):
        try:
            return Opened(port.give_back(request, netlink), "", False)
        except OmniError as error:
            return Opened(port, _sentence(error), False, _sentence(error))
    logger.warning("%s is made anew: sockets that are bound to it have to be opened again", request.plan.name)
    before = port.plane.name
    _end(port, request, netlink)
    engines = _BEST_FIRST if wanted == "auto" else tuple(dict.fromkeys((wanted, before, "python")))
    return _first_of(engines, request, netlink)


def revive_port(port: LocalPort, request: PortRequest, netlink: Netlink) -> LocalPort:
    """The engine of ``port`` has ended by itself: the same again, on the same interface. Raises ConfigError or
    SystemRefused, and may be called again then. Blocking."""
    port.close(keep=False)
    return NativePort.revive(request, netlink)


def fall_back(port: LocalPort, request: PortRequest, netlink: Netlink, reason: str) -> Opened:
    """To the engine python, as ``port`` cannot be kept running. Raises as ``open_port``. Blocking."""
    _end(port, request, netlink)
    return Opened(PythonPort.make(request, netlink), reason, False)


def _end(port: LocalPort, request: PortRequest, netlink: Netlink) -> None:
    port.close(keep=False)
    undo(request.journal, netlink)


def _first_of(engines: Sequence[str], request: PortRequest, netlink: Netlink) -> Opened:
    """The first of them that this machine allows."""
    refused: dict[str, str] = {}
    for engine in engines:
        try:
            port = _make(engine, request, netlink, _why_not_better(refused))
            return Opened(port, _why_not_better(refused), False, refused.get(engines[0], ""))
        except OmniError as error:
            if engine == engines[-1]:
                raise
            undo(request.journal, netlink)
            refused[engine] = _sentence(error)
    raise AssertionError("there is always one to make")


def _make(engine: str, request: PortRequest, netlink: Netlink, reason: str) -> LocalPort:
    if engine == "kernel":
        return KernelPort.make(request, netlink)
    if engine == "native":
        return NativePort.make(request, netlink, reason)
    return PythonPort.make(request, netlink)


def _why_not_better(refused: dict[str, str]) -> str:
    """One sentence, as what follows "not in the kernel: "."""
    if "kernel" not in refused:
        return ""
    return add_reason(refused["kernel"], refused["native"]) if "native" in refused else refused["kernel"]


def add_reason(kernel: str, native: str) -> str:
    return f"{kernel}, nor native: {native}" if kernel else native


def _sentence(error: OmniError) -> str:
    if isinstance(error, SystemRefused):
        return f"{error.what}: {error.problem}"
    return error.problem if isinstance(error, ConfigError) else str(error)
