"""Which engine moves the frames here: the one in the kernel where this machine allows it, else the one in python."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import NamedTuple

from omni_core.errors import ConfigError, OmniError, SystemRefused
from omni_core.io.journal import Journal
from omni_core.io.local_port import LocalPort, PortRequest, PythonPort
from omni_core.io.netlink import Netlink
from omni_core.io.synapse.kernel_port import KernelPort, what_runs
from omni_core.io.synapse.patched_port import PatchedPort
from omni_core.io.undo import undo

logger = logging.getLogger(__name__)


class Opened(NamedTuple):
    port: LocalPort
    reason: str  # why not the kernel; "" when it is, or nobody asked for it
    adopted: bool


def may_adopt(engine: str, journal: Journal) -> bool:
    """Whether an earlier process left an engine running that ``open_port`` could adopt."""
    return engine != "python" and what_runs(journal) is not None


def open_port(request: PortRequest, netlink: Netlink) -> Opened:
    """Adopt what runs, or make it. Raises ConfigError or SystemRefused; then the caller undoes the journal.

    Blocking: call it from a worker thread.
    """
    wanted = request.config.engine
    if may_adopt(wanted, request.journal):
        try:
            return Opened(KernelPort.adopt(request, netlink), "", True)
        except OmniError as error:
            logger.warning("what runs in the kernel is made anew: %s", _sentence(error))
    if request.journal.steps:
        undo(request.journal, netlink)
    if wanted == "python":
        return Opened(PythonPort.make(request, netlink), "", False)
    try:
        return Opened(KernelPort.make(request, netlink), "", False)
    except OmniError as error:
        if wanted == "kernel":
            raise
        undo(request.journal, netlink)
        reason = _sentence(error)
    return Opened(PythonPort.make(request, netlink), reason, False)


def switch_port(port: LocalPort, request: PortRequest, netlink: Netlink) -> Opened:
    """From ``port``, which is used up, to the engine that ``request.config`` names. Its sessions have ended.

    Where it was made for the kernel the overlay interface stays as it is; else it is made anew. Where the kernel
    refuses the engine python goes on, and the reason says why. Raises as ``open_port``; then nothing is left. Blocking.
    """
    wanted = request.config.engine
    if wanted == "python" and isinstance(port, KernelPort):
        return Opened(PatchedPort.take_over(port, request, netlink), "", False)
    if wanted != "python" and isinstance(port, PatchedPort):
        try:
            return Opened(port.give_back(request, netlink), "", False)
        except OmniError as error:
            return Opened(port, _sentence(error), False)
    logger.warning("%s is made anew: sockets that are bound to it have to be opened again", request.plan.name)
    port.close(keep=False)
    if wanted == "kernel":
        request = replace(request, config=replace(request.config, engine="auto"))
    return open_port(request, netlink)


def _sentence(error: OmniError) -> str:
    if isinstance(error, SystemRefused):
        return f"{error.what}: {error.problem}"
    return error.problem if isinstance(error, ConfigError) else str(error)
